"""The built-in demo corpus: babble of made-up speakers whose traits are true by construction, rated by three raters.

The folder looks as a user's would: ``audio/<id>.wav``, ``metadata.csv`` and the settings of a run, ``run.yaml``.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from lalia.data.voice import RATE_HZ, TRAITS, Style, Voice, speak

Array = NDArray[np.float64]

STYLES = {
    "sentence_repetition": Style(seconds=(2.5, 3.1), pauses=0, accent_every=3),
    "picture_description": Style(seconds=(2.7, 3.5), pauses=1, accent_every=4),
}
# of the speakers, how many have a trait to the levels 1 to 4
_LEVEL_SHARES = (0.55, 0.15, 0.15, 0.15)
# what the recorder of each site adds: noise in dB below the speech of an average speaker
_SITES_NOISE_DB = {"north": -62.0, "south": -57.0, "east": -52.0}
_RATER_BIASES = (-0.1, 0.0, 0.15)
_MISSING_SHARE = 0.05

_SETTINGS = f"""\
name: demo
seed: 1
data:
  metadata: metadata.csv
  audio_dir: audio
  columns: {{recording: id, speaker: speaker, date: date, task: task}}
  covariates: [age, sex, site]
  traits:
{"".join(f"    - {trait}{chr(10)}" for trait in TRAITS)}\
  scale: {{levels: [1, 2, 3, 4], present_from: 2, missing: [-1], recode: {{1.5: 1}}}}
  raters: "{{trait}}_r{{rater}}"
split: {{kind: random, train: 0.5, validation: 0.15, test: 0.35}}
audio: {{window_seconds: 4, hop_seconds: 4}}
model:
  # small enough to learn from scratch, in windows of 4 s; for real recordings name a pretrained encoder here
  encoder:
    random: whisper
    layers: 1
    width: 96
    heads: 4
    config: {{max_source_positions: 200, num_mel_bins: 80, init_std: 0.1, dropout: 0.0}}
  layers: last
  adapt: {{kind: full}}
  pooling: {{kind: attention, hidden: 64}}
  head: {{kind: ordinal, dropout: 0.1}}
train:
  epochs: 16
  batch_seconds: 36
  learning_rate: 1.0e-3
  encoder_learning_rate: 1.0e-3
  early_stopping: {{metric: loss, patience: 6}}
"""


class _Speaker(NamedTuple):
    name: str
    voice: Voice
    level_db: float
    severity: dict[str, float]
    age: int
    sex: str
    site: str
    first_visit: date


def write_corpus(folder: str | Path, *, speakers: int = 160, recordings_per_speaker: int = 4, seed: int = 0) -> None:
    """Write a corpus of recordings of 2 to 4 s at 16 kHz, with its table and the settings of a run on it.

    The severity of each trait is drawn for each speaker independently of all else, varies a little from recording to
    recording, and is set in the audio by :func:`lalia.data.voice.speak`. Three raters hear it with a bias each and miss
    by a level now and then; -1 is a rating not given, 1.5 one between two levels. The same seed gives the same bytes.

    Args:
        folder: is made where it does not exist; files in it are replaced.
        speakers: how many speakers.
        recordings_per_speaker: alternately of two tasks.
        seed: of the speakers, their babble and their ratings.
    """
    folder = Path(folder)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    people_seed, speech_seed, ratings_seed = np.random.SeedSequence(seed).spawn(3)
    rows: list[dict[str, object]] = []
    severities: list[list[float]] = []
    people = _draw_speakers(speakers, np.random.default_rng(people_seed))
    for speaker, speaker_seed in zip(people, speech_seed.spawn(speakers), strict=True):
        for number, recording_seed in enumerate(speaker_seed.spawn(recordings_per_speaker)):
            rng = np.random.default_rng(recording_seed)
            row, severity = _describe(speaker, number, rng)
            waveform = _record(speaker, severity, STYLES[str(row["task"])], rng)
            soundfile.write(folder / "audio" / f"{row['id']}.wav", waveform, RATE_HZ, subtype="PCM_16")
            rows.append(row)
            severities.append([severity[trait] for trait in TRAITS])
    ratings = _rate(np.array(severities), np.random.default_rng(ratings_seed))
    pd.concat([pd.DataFrame(rows), ratings], axis=1).to_csv(folder / "metadata.csv", index=False, lineterminator="\n")
    (folder / "run.yaml").write_text(_SETTINGS, encoding="utf-8")


def _draw_speakers(count: int, rng: np.random.Generator) -> list[_Speaker]:
    """Return speakers with every trait equally often at each level, in whatever company."""
    quota = np.searchsorted(np.cumsum(_LEVEL_SHARES), (np.arange(count) + 0.5) / count)
    severity = np.stack([rng.permutation(quota) for _ in TRAITS], axis=1) + rng.normal(0, 0.15, (count, len(TRAITS)))
    speakers = []
    for number in range(count):
        sex = str(rng.choice(["female", "male"]))
        age = int(rng.integers(25, 86))
        voice = Voice(
            f0_hz=rng.normal(200, 18) if sex == "female" else rng.normal(118, 14),
            formant_factor=rng.normal(1.15, 0.03) if sex == "female" else rng.normal(1.0, 0.03),
            syllable_seconds=rng.uniform(0.17, 0.21) + 0.0003 * (age - 55),
        )
        speakers.append(
            _Speaker(
                name=f"S{number + 1:03d}",
                voice=voice,
                level_db=rng.uniform(-36, -28),
                severity=dict(zip(TRAITS, severity[number].clip(0).tolist(), strict=True)),
                age=age,
                sex=sex,
                site=str(rng.choice(list(_SITES_NOISE_DB))),
                first_visit=date(2024, 1, 8) + timedelta(days=int(rng.integers(500))),
            )
        )
    return speakers


def _describe(speaker: _Speaker, number: int, rng: np.random.Generator) -> tuple[dict[str, object], dict[str, float]]:
    """Return the row of a speaker's recording, without ratings, and what is true of it."""
    severity = {trait: max(0.0, value + rng.normal(0, 0.1)) for trait, value in speaker.severity.items()}
    task = list(STYLES)[number % len(STYLES)]
    row = {
        "id": f"{speaker.name}_{number + 1}",
        "speaker": speaker.name,
        "date": (speaker.first_visit + timedelta(days=180 * (number // 2))).isoformat(),
        "task": task,
        "age": speaker.age,
        "sex": speaker.sex,
        "site": speaker.site,
    }
    return row, severity


def _record(speaker: _Speaker, severity: dict[str, float], style: Style, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return what the site's recorder keeps of an utterance."""
    speech = speak(speaker.voice, severity, style, rng)
    speech *= min(10 ** (speaker.level_db / 20), 0.9 / np.abs(speech).max())
    room = rng.normal(0, 1, len(speech)) * 10 ** ((_SITES_NOISE_DB[speaker.site] - 32) / 20)
    return np.round(np.clip(speech + room, -1, 1) * 32767).astype(np.int16)


def _rate(severities: Array, rng: np.random.Generator) -> pd.DataFrame:
    """Return what three raters give, (recordings, traits), as columns ``{trait}_r1`` to ``{trait}_r3``."""
    columns = {}
    for trait, severity in zip(TRAITS, severities.T, strict=True):
        unrated = int(rng.integers(len(severity)))
        for rater, bias in enumerate(_RATER_BIASES, start=1):
            heard = 1 + severity + bias + rng.normal(0, 0.25, len(severity))
            level = np.clip(np.round(heard), 1, 4)
            level[(np.abs(heard - 1.5) < 0.1) & (rng.random(len(level)) < 0.2)] = 1.5
            level[rng.random(len(level)) < _MISSING_SHARE] = -1
            level[unrated] = -1
            columns[f"{trait}_r{rater}"] = [f"{value:g}" for value in level]
    return pd.DataFrame(columns)
