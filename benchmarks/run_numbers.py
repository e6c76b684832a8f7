"""Time all numbers of a run: python -m benchmarks.run_numbers [RECORDINGS [TRAITS [SPEAKERS]]]."""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from lalia.data.flow import Flow
from lalia.data.log_mel import LOG_MEL_COLUMN
from lalia.data.splits import split_speakers
from lalia.data.table import RecordingTable
from lalia.evaluation.run_numbers import score_baselines, write_numbers
from lalia.progress import Progress
from lalia.scale import Scale
from lalia.settings import RunSettings

# what the numbers of 36 traits and 2,000 recordings may take on two cores
MOST_SECONDS = 180
SCALE = Scale((1.0, 2.0, 3.0, 4.0), 2.0)
RATERS = ("r1", "r2", "r3")


def make_table(recordings: int, traits: int, speakers: int) -> RecordingTable:
    """Return recordings of two tasks with three raters, two covariates and what baselines need."""
    random = np.random.default_rng(0)
    speaker = np.arange(recordings) % speakers
    names = [f"r{number:05d}" for number in range(recordings)]
    frame = pd.DataFrame(
        {
            "recording": names,
            "speaker": [f"s{number:03d}" for number in speaker],
            "path": names,
            "task": np.where(np.arange(recordings) // speakers % 2, "vowel", "reading"),
            "age": [str(20 + number % 60) for number in speaker],
            "sex": ["f" if number % 2 else "m" for number in speaker],
            "duration_seconds": random.uniform(2, 15, recordings),
            LOG_MEL_COLUMN: list(random.normal(size=(recordings, 80))),
        }
    )
    ratings, single = {}, []
    for trait in range(traits):
        latent = random.normal(size=speakers)[speaker] + random.normal(size=recordings)
        heard = [latent + random.normal(0, 0.5, recordings) for _ in RATERS]
        given = 1.0 + np.digitize(heard, [-0.5, 0.5, 1.2])
        ratings[f"trait_{trait}"] = np.median(given, axis=0)
        single += [
            pd.DataFrame({"recording": names, "rater": rater, "trait": f"trait_{trait}", "rating": values})
            for rater, values in zip(RATERS, given, strict=True)
        ]
    table = pd.DataFrame(ratings)
    flow = Flow(recordings, speakers)
    return RecordingTable(frame, table, pd.concat(single, ignore_index=True), SCALE, flow, ("age", "sex"))


def predict_with_noise(table: RecordingTable, parts: list[str]) -> pd.DataFrame:
    """Return the rows of predictions.csv of a model that hears the ratings through noise."""
    random = np.random.default_rng(1)
    known = table.recordings[["recording", "speaker"]].assign(part=parts)
    rows = []
    for trait in table.traits:
        rating = table.ratings[trait].to_numpy()
        score = np.clip(rating + random.normal(size=len(rating)), 1, 4)
        reach = {f"p_ge_{level}": 1 / (1 + np.exp(level - 0.5 - score)) for level in (2, 3, 4)}
        said = {"score": score, "level": SCALE.nearest_level(score), "probability": reach["p_ge_2"]}
        rows.append(known.assign(trait=trait, rating=rating, **said, **reach))
    return pd.concat(rows, ignore_index=True)


def main(recordings: int = 2000, traits: int = 36, speakers: int = 80) -> None:
    """Write predictions.csv and metrics.json of a made-up run, and say how long that takes."""
    table = make_table(recordings, traits, speakers)
    settings = RunSettings.model_validate({"data": {"metadata": "metadata.csv"}, "model": {"encoder": "random:wavlm"}})
    split = split_speakers(table, settings.split, 0)
    predictions = predict_with_noise(table, list(split.part_of(list(table.recordings["recording"]))))
    with tempfile.TemporaryDirectory() as folder:
        begun, begun_cpu = time.perf_counter(), time.process_time()
        write_numbers(
            predictions,
            table,
            split,
            Path(folder),
            Progress(),
            thresholds=dict.fromkeys(table.traits, 0.5),
            baselines=score_baselines(table, split),
            seed=0,
        )
        seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        size = (Path(folder) / "metrics.json").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"{traits} traits, {recordings} recordings of {speakers} speakers, 2 tasks, 3 raters, 5 baselines:"
        f" {seconds:.0f} s ({cpu:.0f} s in processor time, target {MOST_SECONDS} s on two cores), {peak:.1f} GiB,"
        f" metrics.json of {size / 1e6:.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
