"""What 100 to a million recordings cost: python -m benchmarks.scaling [--seconds ...] [--price ...] ...

Per-recording costs are measured on this machine; the tables are arithmetic on them and on stated assumptions about
machines that were not measured.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import WavLMConfig, WavLMModel

from benchmarks.corpus import Corpus, write_noise
from benchmarks.ours import empty_cache, make_settings, train
from benchmarks.timing import measure
from lalia.data.audio import Preprocessing, scan_recordings
from lalia.data.log_mel import measure_log_mel
from lalia.training.cache import ActivationStore, content_key

RECORDINGS = (100, 1_000, 10_000, 100_000, 1_000_000)
GPUS = (1, 8, 64)
EPOCHS = 30
ENCODERS = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
}
DEPTHS = {"base": (13, 768), "large": (25, 1024)}
"""Depths with the stem's, and width."""
FRAMES_PER_SECOND = 49.95
"""Of the stems of WavLM, HuBERT and wav2vec 2.0."""


@dataclass(frozen=True)
class Assumed:
    """What is assumed of machines.

    Args:
        seconds: of a recording.
        tflops: of a GPU, in the arithmetic that is used, by its data sheet.
        utilisation: the share of it that a run reaches.
        price: of a GPU with its cores and disk for an hour.
        cores: of processors that come with a GPU.
    """

    seconds: float
    tflops: float
    utilisation: float
    price: float
    cores: int


@dataclass(frozen=True)
class Measured:
    """What one recording costs on this machine.

    Args:
        scan: seconds of one core to decode, measure and hash it.
        tflop: of one forward pass, by encoder.
        store: seconds to write an entry and to read it, by what is kept.
        entry_bytes: on the disk, by what is kept.
        head_epoch: seconds of one core for a recording in an epoch of a head on known vectors.
        epoch: seconds of an epoch besides.
    """

    scan: float
    tflop: dict[str, float]
    store: dict[str, tuple[float, float]]
    entry_bytes: dict[str, int]
    head_epoch: float
    epoch: float


def main() -> None:
    """Measure, and print what was measured and what follows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a recording")
    parser.add_argument("--tflops", type=float, default=67.0, help="of a GPU, as its data sheet has it")
    parser.add_argument("--utilisation", type=float, default=0.35, help="the share of them that is reached")
    parser.add_argument("--price", type=float, default=3.0, help="of a GPU with its cores for an hour")
    parser.add_argument("--cores", type=int, default=12, help="that come with a GPU")
    given = Assumed(**vars(parser.parse_args()))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="lalia-scaling-") as folder:
        measured = measure_costs(Path(folder), given.seconds)
    print(f"\nMeasured, for a recording of {given.seconds:g} s\n")
    print(describe_measured(measured))
    print(f"\nExtrapolated, assuming {given}\n")
    print(describe_costs(measured, given))


def measure_costs(folder: Path, seconds: float) -> Measured:
    """Measure what a recording of some length costs."""
    corpus = write_noise(folder / "corpus", 96, seconds=seconds)
    kept = entry_shapes(seconds)
    store = {name: _time_store(folder / "store" / name, shapes) for name, shapes in kept.items()}
    return Measured(
        _time_scan(corpus),
        {name: count_tflop(name, seconds) for name in ENCODERS},
        {name: times for name, (times, _) in store.items()},
        {name: size for name, (_, size) in store.items()},
        *_time_head(folder),
    )


def entry_shapes(seconds: float) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of what each mode of the cache keeps of a recording."""
    frames = round(seconds * FRAMES_PER_SECOND)
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, (depths, width) in DEPTHS.items():
        shapes[f"{name}, pooled vectors of all depths"] = [(depths, width)]
        shapes[f"{name}, frames of one depth"] = [(frames, width)]
        shapes[f"{name}, frames of all depths"] = [(frames, width)] * depths
    return shapes


def count_tflop(encoder: str, seconds: float) -> float:
    """Count the operations of one forward pass, without computing it; multiplying and adding are two."""
    with torch.device("meta"):
        model = WavLMModel(WavLMConfig(**ENCODERS[encoder])).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.zeros(1, round(seconds * 16_000)))
    return float(counter.get_total_flops()) / 1e12


def _time_scan(corpus: Corpus) -> float:
    rows = pd.DataFrame({"recording": corpus.table["id"], "path": [str(path) for path in corpus.paths]})
    preprocessing = Preprocessing(16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)

    def scan() -> None:
        scan_recordings(rows, preprocessing, min_seconds=0.1, describe=measure_log_mel, workers=1)

    scan()
    # one file after the other: the time of one core, in the process that decodes and in this one
    return min(measure(scan).wall for _ in range(3)) / len(rows)


def _time_store(folder: Path, shapes: Sequence[tuple[int, ...]], entries: int = 40) -> tuple[tuple[float, float], int]:
    store = ActivationStore(folder, max_gb=50.0)
    random = torch.Generator().manual_seed(0)
    tensors = {str(place): torch.randn(shape, generator=random) for place, shape in enumerate(shapes)}
    keys = [content_key(entry=number) for number in range(entries)]
    write = measure(lambda: [store.save(key, tensors) for key in keys]).wall / entries
    size = store.summary().size_bytes // entries
    again = ActivationStore(folder, max_gb=50.0)
    read = measure(lambda: [again.load(key) for key in keys]).wall / entries
    store.clear()
    return (write, read), size


def _time_head(folder: Path) -> tuple[float, float]:
    """Return what a recording adds to an epoch, steps of 24 recordings, and what an epoch takes besides."""
    encoder = {"random": "wavlm", "layers": 12, "width": 48, "heads": 2}
    sizes, seconds = (240, 960), []
    for size in sizes:
        corpus = write_noise(folder / f"head-{size}", size, seconds=0.25)
        with empty_cache() as cache:
            changes = {"model": {"layers": "weighted"}, "train": {"batch_seconds": 24 * 0.25}}
            run = train(make_settings(corpus, encoder, cache, **changes))
        # the time of the processor: another program on the machine changes it less
        seconds.append(float(np.median([epoch.cpu for epoch in run.epochs])))
    slope = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
    return slope, max(0.0, seconds[0] - slope * sizes[0])


# --- tables -----------------------------------------------------------------------------------------------------------


def describe_measured(measured: Measured) -> str:
    """Return the measured costs as a table."""
    rows = [
        ("decoding, measuring, hashing", f"{measured.scan * 1e3:.1f} ms of a core", ""),
        *((f"one forward, {name}", f"{tflop:.2f} TFLOP", "") for name, tflop in measured.tflop.items()),
        *(
            (f"cache, {name}", f"{write * 1e3:.1f} ms to write, {read * 1e3:.1f} ms to read", _bytes(size))
            for name, (write, read), size in (
                (name, times, measured.entry_bytes[name]) for name, times in measured.store.items()
            )
        ),
        ("an epoch of the head on known vectors", f"{measured.head_epoch * 1e6:.0f} us of a core", ""),
        ("an epoch besides, however many recordings", f"{measured.epoch * 1e3:.0f} ms", ""),
    ]
    return _table(["of one recording", "time", "bytes"], rows)


def describe_costs(measured: Measured, given: Assumed) -> str:
    """Return what numbers of recordings cost on numbers of GPUs, and what each of them waits for."""
    rows = []
    for encoder in ENCODERS:
        for kind in ("frozen", "LoRA"):
            for recordings in RECORDINGS:
                parts = [split_hours(measured, given, encoder, kind, recordings, gpus) for gpus in GPUS]
                cells = []
                for gpus, hours in zip(GPUS, parts, strict=True):
                    total = sum(hours.values())
                    cells.append(f"{_hours(total)}, {total * gpus * given.price:,.2f}")
                longest = [max(hours, key=hours.__getitem__) for hours in parts]
                kept = recordings * _kept_bytes(measured, encoder, kind)
                said = ", ".join(f"{name} ({gpus})" for name, gpus in zip(longest, GPUS, strict=True))
                said = longest[0] if len(set(longest)) == 1 else said
                rows.append((f"{encoder}, {kind}", f"{recordings:,}", *cells, _bytes(kept) if kept else "-", said))
    header = ["run", "recordings", *(f"{gpus} GPU{'s' * (gpus > 1)}: time, price" for gpus in GPUS)]
    return _table([*header, "cache", "longest part (on so many GPUs)"], rows)


def split_hours(
    measured: Measured, given: Assumed, encoder: str, kind: str, recordings: int, gpus: int
) -> dict[str, float]:
    """Return the hours of each part of a run, one after the other, recordings shared evenly.

    A frozen run encodes each recording once and trains its head on one core, which more GPUs do not help. LoRA in all
    blocks runs the encoder in every epoch, forward and backward, which is taken for three forwards, and decodes beside
    it: what that takes longer is waited for. The scan is one process's, with the cores of one GPU.
    """
    flops = given.tflops * 1e12 * given.utilisation * gpus
    scan = measured.scan / given.cores
    forward = measured.tflop[encoder] * 1e12 / flops
    parts = {"scan": scan * recordings}
    if kind == "frozen":
        write, read = measured.store[_kept(encoder)]
        parts["encoding"] = forward * recordings
        parts["cache"] = (write + read) / gpus * recordings
        parts["head"] = EPOCHS * (measured.head_epoch * recordings + measured.epoch)
    else:
        parts["training"] = EPOCHS * (3 * forward * recordings + measured.epoch)
        parts["decoding"] = max(0.0, EPOCHS * scan / gpus * recordings - parts["training"])
    return {name: seconds / 3600 for name, seconds in parts.items()}


def _kept(encoder: str) -> str:
    return f"{encoder}, pooled vectors of all depths"


def _kept_bytes(measured: Measured, encoder: str, kind: str) -> int:
    return measured.entry_bytes[_kept(encoder)] if kind == "frozen" else 0


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.1f} s"
    return f"{hours * 60:.1f} min" if hours < 1 else f"{hours:.1f} h"


def _bytes(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} KB"


if __name__ == "__main__":
    main()
