"""Audits of whole corpora on disk: a clean one in which nothing is found, and the same with faults planted in it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from lalia.config import load_config
from lalia.data.synth import STYLES
from lalia.data.voice import RATE_HZ, TRAITS, Voice, speak
from lalia.errors import SplitError
from lalia.evaluation.audit.confounds import probe_confounds
from lalia.evaluation.audit.nuisances import read_nuisances
from lalia.evaluation.audit.result import flag_confounds
from lalia.run_audit import run_audit
from lalia.run_probe import run_probe
from toy_audit import make_table
from toy_speech import encode

SPEAKERS = 24
PART = ["train"] * 3 + ["test"]
SETTINGS = """\
name: made
data:
  metadata: metadata.csv
  audio_dir: audio
  columns: {recording: id, speaker: speaker}
  covariates: [site, age]
  traits: [hoarse]
split: {kind: column, column: part}
model:
  encoder: {random: whisper, layers: 2, width: 16, heads: 2, config: {max_source_positions: 200}}
  layers: last
audio: {window_seconds: 4, hop_seconds: 4}
"""


def write_corpus(folder):
    """Write speech of 24 speakers, made alike; a rating that nothing but the voice could tell, and it does not."""
    (folder / "audio").mkdir(parents=True)
    random = np.random.default_rng(5)
    levels = random.permutation(np.arange(SPEAKERS) % 4 + 1)
    rows = []
    for speaker in range(SPEAKERS):
        voice = Voice(f0_hz=random.uniform(100, 220), formant_factor=random.uniform(1, 1.2), syllable_seconds=0.19)
        for number in range(2):
            speech = speak(voice, dict.fromkeys(TRAITS, 0.0), STYLES["sentence_repetition"], random)
            name = f"s{speaker:02}_{number}"
            noisy = 0.04 * (speech + 0.01 * random.normal(size=len(speech)))
            soundfile.write(folder / "audio" / f"{name}.wav", noisy, RATE_HZ, subtype="PCM_16")
            row = {"id": name, "speaker": f"s{speaker:02}", "part": PART[speaker % 4], "hoarse": levels[speaker]}
            rows.append({**row, "site": "ab"[speaker % 2], "age": 40 + speaker})
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    (folder / "run.yaml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("clean") / "corpus")


@pytest.fixture
def corpus(clean, tmp_path):
    """Return a copy to plant faults in."""
    return shutil.copytree(clean, tmp_path / "corpus")


def audit(corpus, *overrides):
    settings = load_config(
        corpus / "run.yaml",
        [
            f"data.metadata={corpus / 'metadata.csv'}",
            f"data.audio_dir={corpus / 'audio'}",
            f"runs={corpus / 'runs'}",
            f"cache={{dir: {corpus / 'cache'}}}",
            "audit.folds=4",
            *overrides,
        ],
    )
    return run_audit(settings), settings


def read_waveform(corpus, name):
    return soundfile.read(corpus / "audio" / f"{name}.wav", dtype="float32")[0]


def change_table(corpus, change):
    table = pd.read_csv(corpus / "metadata.csv", dtype={"speaker": str})
    change(table).to_csv(corpus / "metadata.csv", index=False)


def sentences(result):
    return [finding.sentence for finding in result.findings]


@pytest.fixture(scope="module")
def of_clean(clean):
    return audit(clean)


def test_in_a_clean_corpus_nothing_is_found(of_clean):
    assert sentences(of_clean[0]) == []


def test_the_files_say_what_python_returns(of_clean, clean):
    result, _ = of_clean
    folder = clean / "runs" / "made-audit"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["audit.json", *(f"{name}.csv" for name in result.tables)]
    )
    written = json.loads((folder / "audit.json").read_text())
    assert written == json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert len(pd.read_csv(folder / "quality.csv")) == 2 * SPEAKERS


def test_every_file_is_decoded_once(corpus, monkeypatch):
    import lalia.data.audio

    decoded, before = [], lalia.data.audio.decode
    monkeypatch.setattr(
        lalia.data.audio, "decode", lambda path, limits: decoded.append(path.name) or before(path, limits)
    )
    audit(corpus)
    assert len(decoded) == len(set(decoded)) == 2 * SPEAKERS


def test_a_speaker_in_two_parts_is_named_where_other_commands_refuse(corpus):
    change_table(corpus, lambda table: table.assign(part=["test", *table["part"][1:]]))
    result, settings = audit(corpus)
    assert sentences(result) == ["Speaker 's00' is in train and test: the model is tested on them."]
    with pytest.raises(SplitError, match="more than one part"):
        run_probe(settings)


def test_a_speaker_in_two_parts_of_a_file_is_named(corpus):
    parts = pd.read_csv(corpus / "metadata.csv").rename(columns={"id": "recording"})[["recording", "speaker", "part"]]
    parts.loc[0, "part"] = "test"
    parts.to_csv(corpus / "split.csv", index=False)
    result, _ = audit(corpus, f"split={{kind: file, path: {corpus / 'split.csv'}}}")
    assert result.shared_speakers.to_numpy().tolist() == [["s00", "train and test", 2]]


def test_a_copied_recording_under_another_speaker_and_part_is_found(corpus):
    shutil.copy(corpus / "audio" / "s00_0.wav", corpus / "audio" / "s03_1.wav")
    assert sentences(audit(corpus)[0]) == [
        "Recordings 's00_0' and 's03_1' are the same file: under two speakers, 's00' and 's03'; in two parts, train and"
        " test."
    ]


def test_a_re_encoded_cut_and_softer_copy_is_found(corpus):
    waveform = read_waveform(corpus, "s05_0")[round(0.1 * RATE_HZ) + 31 :]
    changed, rate_hz = encode(0.5 * waveform, "MP3", "MPEG_LAYER_III", 22_050)
    soundfile.write(corpus / "audio" / "s10_1.wav", changed, rate_hz)
    result, _ = audit(corpus)
    pairs = result.duplicates[["recording", "other", "kind", "is_across_speakers"]]
    assert pairs.to_numpy().tolist() == [["s05_0", "s10_1", "sound", True]]
    assert result.findings[0].check == "duplicates"
    assert result.findings[0].recordings == ("s05_0", "s10_1")


def test_a_level_that_tells_severity_is_found(corpus):
    # the fault of a clinic that moved the microphone nearer to severe speakers
    table = pd.read_csv(corpus / "metadata.csv")
    for name, level in zip(table["id"], table["hoarse"], strict=True):
        soundfile.write(
            corpus / "audio" / f"{name}.wav", read_waveform(corpus, name) * 1.5 ** (level - 1), RATE_HZ, "PCM_16"
        )
    result, _ = audit(corpus)
    found = {finding.check: finding.sentence for finding in result.findings}
    assert "level is higher where the rating of hoarse is higher" in found["quality"]
    assert any(sentence.startswith("The level alone predicts hoarse (AUC 1.00") for sentence in sentences(result))


def test_a_telephone_clipping_an_offset_and_stereo_are_found(corpus):
    waveform = read_waveform(corpus, "s01_0")
    soundfile.write(corpus / "audio" / "s01_0.wav", np.column_stack([waveform, waveform]), RATE_HZ, "PCM_16")
    soundfile.write(corpus / "audio" / "s02_0.wav", read_waveform(corpus, "s02_0") + 0.03, RATE_HZ, "PCM_16")
    soundfile.write(corpus / "audio" / "s03_0.wav", read_waveform(corpus, "s03_0").clip(-0.05, 0.05), RATE_HZ, "PCM_16")
    call, _ = encode(read_waveform(corpus, "s06_0"), "WAV", "ULAW", 8_000)
    from soxr import resample

    soundfile.write(corpus / "audio" / "s06_0.wav", resample(call, 8_000, RATE_HZ), RATE_HZ, "PCM_16")
    result, _ = audit(corpus)
    named = {finding.recordings: finding.sentence for finding in result.findings if finding.recordings}
    assert "several channels" in named["s01_0",]
    assert "offset" in named["s02_0",]
    assert "clipping" in named["s03_0",]
    assert "telephone" in named["s06_0",]


def test_levels_that_few_speakers_have_are_named_and_the_number_is_a_setting(of_clean, clean):
    assert of_clean[0].few_speakers is None
    result, _ = audit(clean, "audit.min_speakers=7")
    assert result.few_speakers.startswith("Few people: hoarse at 1 (6), hoarse at 2 (6), hoarse at 3 (6)")


def test_voices_are_compared_with_what_the_probe_left_in_the_cache(corpus):
    result, settings = audit(corpus)
    assert (result.vectors, len(result.like_voices), len(result.notes)) == ("log-mel statistics", 0, 1)
    run_probe(settings.model_copy(update={"probe": settings.probe.model_copy(update={"folds": 2})}))
    partly, _ = audit(corpus)
    assert partly.vectors == "log-mel statistics"  # the probe leaves the test part out
    encoded, _ = audit(corpus, "audit.encode=true")
    again, _ = audit(corpus)
    assert again.vectors == encoded.vectors == "random:whisper, depth 1"
    pd.testing.assert_frame_equal(again.like_voices, encoded.like_voices)
    assert len(again.like_voices) == 20


def test_tables_without_a_confound_seldom_tell_of_one():
    told = 0
    for seed in range(20):
        table = make_table(speakers=40, seed=100 + seed)
        trees = probe_confounds(table, read_nuisances(table), covariates=table.covariates, replicates=100)
        told += bool(list(flag_confounds(trees, 40)))
    assert told <= 3
