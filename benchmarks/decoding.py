"""Decoding recordings in other processes, beside decoding them in this one; both from threads, as a scan does."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.bench import Bench
from benchmarks.results import Row
from benchmarks.timing import Seconds, measure, median
from lalia.data.audio import read_audio
from lalia.data.decoder import decode_blocks
from lalia.data.decoder_pool import MOST_DECODERS
from lalia.limits import Limits

CLIPS = 60
# both ways in turn, so that what else runs on the machine slows both alike
ROUNDS = 9
THREADS_HERE = os.cpu_count() or 1


def measure_decoding(bench: Bench) -> list[Row]:
    """Return a row per format: how many files a second, as a share of those in the same process."""
    corpus = bench.corpus(CLIPS)
    return [_compare(name, _convert(corpus.paths, bench.scratch, name)) for name in ("wav", "flac", "mp3")]


def _convert(paths: list[Path], folder: Path, extension: str) -> list[Path]:
    if extension == "wav":
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    converted = [folder / path.with_suffix(f".{extension}").name for path in paths]
    for path, target in zip(paths, converted, strict=True):
        soundfile.write(target, *soundfile.read(path))
    return converted


def _compare(name: str, paths: list[Path]) -> Row:
    read_audio(paths[0])
    apart, here = zip(
        *[
            (_time(paths, _decode_apart, MOST_DECODERS), _time(paths, _decode_here, THREADS_HERE))
            for _ in range(ROUNDS)
        ],
        strict=True,
    )
    ratio = median([theirs / ours for ours, theirs in zip(apart, here, strict=True)])
    return Row(
        f"decoding {name} files in other processes",
        "the same process",
        ratio.wall,
        0.8,
        "throughput",
        note=f"{_milliseconds(apart, paths):.2f} ms a file, {_milliseconds(here, paths):.2f} in the same process",
    )


def _milliseconds(rounds: Sequence[Seconds], paths: list[Path]) -> float:
    return 1e3 * median(rounds).wall / len(paths)


def _time(paths: list[Path], read: Callable[[Path], object], threads: int) -> Seconds:
    # as a scan reads them
    with ThreadPoolExecutor(threads) as executor:
        return measure(lambda: list(executor.map(read, paths)))


def _decode_apart(path: Path) -> None:
    # nothing is kept, as in a scan: memory that is new each time takes longer than the samples in it
    read_audio(path)


def _decode_here(path: Path) -> None:
    blocks: list[NDArray[np.float32]] = []
    decode_blocks(str(path), Limits(), lambda *_: None, lambda block: blocks.append(block.copy()))
    waveform = np.concatenate(blocks)
    # what is looked at there too
    assert np.isfinite(np.maximum(waveform.max(), -waveform.min()))
