"""Renew the numbers of docs/audit.md: python -m benchmarks.audit [times|alarms] [RECORDINGS|TABLES [WIDTH]]."""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from lalia.data.table import Flow, RecordingTable
from lalia.evaluation.audit.confounds import probe_confounds
from lalia.evaluation.audit.identity import measure_identity_confound
from lalia.evaluation.audit.learning_curve import learning_curve
from lalia.evaluation.audit.nuisances import read_nuisances
from lalia.evaluation.audit.quality_differences import compare_quality
from lalia.evaluation.audit.result import flag_confounds
from lalia.scale import Scale


def make_table(speakers: int, per_speaker: int, traits: int, seed: int) -> RecordingTable:
    """Return recordings whose ratings and site have nothing to do with what was measured of them."""
    random = np.random.default_rng(seed)
    owner = np.repeat(np.arange(speakers), per_speaker)
    count = len(owner)
    recordings = pd.DataFrame(
        {
            "recording": [f"r{number:05d}" for number in range(count)],
            "speaker": [f"s{number:04d}" for number in owner],
            "duration_seconds": random.uniform(2, 6, count),
            "level_db": random.normal(-25, 3, speakers)[owner] + random.normal(0, 0.5, count),
            "silence_share": random.uniform(0, 0.4, count),
            "snr_db": random.normal(35, 4, count),
            "bandwidth_hz": random.normal(7900, 50, count),
            "clipping_share": 0.0,
            "rate_hz": 16_000,
            "site": random.choice(["north", "south"], speakers)[owner].astype(object),
        }
    )
    levels = {f"trait_{number}": random.permutation(np.arange(speakers) % 4)[owner] + 1.0 for number in range(traits)}
    single = pd.DataFrame(columns=["recording", "rater", "trait", "rating"])
    scale = Scale((1.0, 2.0, 3.0, 4.0), 2.0)
    return RecordingTable(recordings, pd.DataFrame(levels), single, scale, Flow(count, speakers), ("site",))


def time_checks(recordings: int = 10_000, width: int = 768) -> None:
    """Say how long each check takes on recordings of a tenth as many speakers, with four traits."""
    table = make_table(recordings // 10, 10, 4, seed=0)
    random = np.random.default_rng(1)
    # as an encoder's: few directions hold most of what there is
    directions = random.normal(size=(width, width)) * np.linspace(1, 0, width)[:, np.newaxis] ** 4
    vectors = random.normal(size=(recordings, width)) @ directions
    parts = ["train"] * recordings
    checks: dict[str, Callable[[], object]] = {
        "differences": lambda: compare_quality(table, parts),
        "nuisance variables": lambda: probe_confounds(table, read_nuisances(table), covariates=table.covariates),
        "identity, one trait": lambda: measure_identity_confound(vectors, table, "trait_0"),
        "learning curve": lambda: learning_curve(vectors, table),
    }
    for name, check in checks.items():
        begun, cpu = time.perf_counter(), time.process_time()
        check()
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        print(f"{name}, {recordings} recordings: {seconds:.1f} s ({cpu:.1f} s in processor time)", flush=True)


def count_alarms(tables: int = 80) -> None:
    """Say in how many tables without any difference or confound the audit tells of one."""
    for speakers in (20, 60):
        differences, confounds = 0, 0
        for seed in range(tables):
            table = make_table(speakers, 3, 2, seed)
            differences += bool(compare_quality(table, ["train"] * len(table.recordings), seed=seed)["is_found"].any())
            found = probe_confounds(table, read_nuisances(table), covariates=table.covariates, seed=seed)
            confounds += bool(list(flag_confounds(found, speakers)))
        print(f"{speakers} speakers: {differences} of {tables} tables a difference, {confounds} a confound", flush=True)


if __name__ == "__main__":
    what, numbers = sys.argv[1:2] or ["times"], map(int, sys.argv[2:])
    if what == ["alarms"]:
        count_alarms(*numbers)
    else:
        time_checks(*numbers)
