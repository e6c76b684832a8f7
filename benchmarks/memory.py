"""The row of peak memory: each side trains the last block in a process of its own.

As a program: python -m benchmarks.memory (lalia | trainer) CHECKPOINT CORPUS prints its peak as JSON.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.bench import FULL, Bench
from benchmarks.corpus import Corpus
from benchmarks.results import Row

EPOCHS = 1


def measure_memory(bench: Bench) -> list[Row]:
    """Compare the peaks of both sides, with what the imports and the model itself take."""
    # of the full length in the quick table too: what is fixed would hide what grows
    corpus = bench.corpus(bench.sizes.training, longest=FULL.longest)
    peaks = {side: _run_child(side, bench.wavlm, corpus) for side in ("trainer", "lalia")}
    theirs, ours = peaks["trainer"], peaks["lalia"]
    ratio = ours["peak_mb"] / theirs["peak_mb"]
    beyond = {side: peak["peak_mb"] - peak["before_mb"] for side, peak in peaks.items()}
    note = (
        f"lalia {ours['peak_mb']:.0f} MB, Trainer {theirs['peak_mb']:.0f} MB; beyond imports and model"
        f" {beyond['lalia']:.0f} and {beyond['trainer']:.0f} MB ({beyond['lalia'] / beyond['trainer']:.2f} x)"
    )
    return [Row("peak memory of the process, last block training", "Trainer", ratio, 0.5, "times", note)]


def _run_child(side: str, checkpoint: Path, corpus: Corpus) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", side, str(checkpoint), str(corpus.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _peak_mb() -> float:
    # not getrusage where it can be helped: what Linux gives there begins with the peak of the process that started this
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    # in units of 1024 bytes, on macOS of 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _train_trainer(checkpoint: Path, corpus: Corpus, scratch: Path) -> float:
    from benchmarks.hugging_face import wavlm_epochs

    epochs = wavlm_epochs(checkpoint, corpus, scratch, train="last")
    before = _peak_mb()
    for _ in range(EPOCHS):
        epochs.run()
    return before


def _train_ours(checkpoint: Path, corpus: Corpus, scratch: Path) -> float:
    from benchmarks.ours import build, make_settings
    from lalia.prepare import prepare
    from lalia.run import fit_prepared

    model = {"adapt": {"kind": "partial", "last": 1}}
    settings = make_settings(corpus, str(checkpoint), scratch, model=model, train={"epochs": EPOCHS})
    rater = build(settings)
    before = _peak_mb()
    fit_prepared(settings, prepare(settings, rater=rater))
    return before


def main(side: str, checkpoint: str, corpus: str) -> None:
    """Train on one side and print the peak, and what it was before training, in MB."""
    torch.set_num_threads(2)
    train = {"trainer": _train_trainer, "lalia": _train_ours}[side]
    with tempfile.TemporaryDirectory(prefix="lalia-benchmark-") as scratch:
        before = train(Path(checkpoint), Corpus(Path(corpus)), Path(scratch))
    print(json.dumps({"before_mb": before, "peak_mb": _peak_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
