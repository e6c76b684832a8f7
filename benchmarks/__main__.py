"""Print the table of costs: python -m benchmarks [--quick] [--row NAME ...] [--out FILE]."""

import argparse
import json
import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from benchmarks.bench import FULL, QUICK, Bench
from benchmarks.decoding import measure_decoding
from benchmarks.frozen import measure_configurations, measure_frozen
from benchmarks.growth import measure_growth
from benchmarks.inference import measure_prediction, measure_probe
from benchmarks.memory import measure_memory
from benchmarks.results import Row, write_table
from benchmarks.training import (
    measure_full,
    measure_half,
    measure_last_block,
    measure_lora,
    measure_whisper,
)

THREADS = 2
ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "decoding": measure_decoding,
    "frozen": measure_frozen,
    "configurations": measure_configurations,
    "last": measure_last_block,
    "half": measure_half,
    "lora": measure_lora,
    "full": measure_full,
    "whisper": measure_whisper,
    "prediction": measure_prediction,
    "memory": measure_memory,
    "probe": measure_probe,
    "growth": measure_growth,
}
PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy")


def main() -> None:
    """Measure the rows that are asked for, print each one as it is done and the table at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, in less than five minutes")
    parser.add_argument("--row", action="append", choices=list(ROWS), help="only this one; may be given again")
    parser.add_argument("--out", type=Path, help="write the rows and the machine here, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    _be_quiet()
    machine = describe_machine()
    print(f"{machine}\n", flush=True)
    begun = time.perf_counter()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lalia-benchmark-") as folder:
        bench = Bench(QUICK if given.quick else FULL, Path(folder))
        for name in given.row or ROWS:
            started = time.perf_counter()
            found = ROWS[name](bench)
            rows += found
            for row in found:
                print(f"{row.verdict:6} {row.what}: {row.measured_in_words} (target {row.target_in_words})")
                print(f"       {row.note}" + ("" if row.cpu is None else f"; in processor time {row.cpu:.2f}"))
            print(f"       measured in {time.perf_counter() - started:.0f} s\n", flush=True)
    minutes = (time.perf_counter() - begun) / 60
    print(f"{write_table(rows)}\n\n{minutes:.1f} minutes")
    if given.out:
        result = {"machine": machine, "quick": given.quick, "minutes": minutes, "rows": [row.to_json() for row in rows]}
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def describe_machine() -> str:
    """Return the processor, its cores, the threads that are used, what else runs on it, and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load:.1f} at the start;"
        f" {platform.system()}, Python {platform.python_version()}, {packages}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _be_quiet() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("lalia").setLevel(logging.ERROR)
    # of transformers' and peft's own calls
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")


if __name__ == "__main__":
    main()
