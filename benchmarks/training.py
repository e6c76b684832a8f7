"""Rows of runs in which a part of the encoder trains: an epoch of each side, in turns."""

from collections.abc import Callable
from typing import Any

from benchmarks.bench import Bench
from benchmarks.corpus import Corpus
from benchmarks.hugging_face import Epochs, wavlm_epochs, whisper_epochs
from benchmarks.ours import Clock, empty_cache, make_settings, train
from benchmarks.results import Row
from benchmarks.timing import Seconds, median

# Hugging Face's WavLM hands the weights of its projections on without calling them: adapters there change nothing and
# get no gradient. Those of the feed-forward layers do, so that both sides compute updates in every block.
WAVLM_LORA = ("q_proj", "v_proj", "intermediate_dense", "output_dense")
WHISPER_LORA = ("q_proj", "v_proj")


def measure_last_block(bench: Bench) -> list[Row]:
    """Compare epochs in which the last block trains."""
    adapt = {"kind": "partial", "last": 1}
    return [_compare_wavlm(bench, "last block training, an epoch after the first", "last", adapt, 5.0)]


def measure_half(bench: Bench) -> list[Row]:
    """Compare epochs in which the upper half of the blocks trains."""
    adapt = {"kind": "partial", "last": 0.5}
    return [_compare_wavlm(bench, "half the blocks training, an epoch after the first", "half", adapt, 1.7)]


def measure_lora(bench: Bench) -> list[Row]:
    """Compare epochs in which adapters train in all blocks."""
    adapt = {"kind": "lora", "rank": 8, "alpha": 16, "targets": WAVLM_LORA}
    return [_compare_wavlm(bench, "LoRA in all blocks, mixed lengths, an epoch", "lora", adapt, 1.3)]


def measure_full(bench: Bench) -> list[Row]:
    """Compare epochs in which all blocks train, the stem being frozen."""
    adapt = {"kind": "full", "train_stem": False}
    return [_compare_wavlm(bench, "all blocks training, mixed lengths, an epoch", "all", adapt, 1.3)]


def measure_whisper(bench: Bench) -> list[Row]:
    """Compare epochs of LoRA on Whisper with short clips, which the other side pads to 30 s."""
    corpus = bench.corpus(bench.sizes.clips, 5.0, 5.0)
    trainer = whisper_epochs(bench.whisper, corpus, bench.scratch, lora=WHISPER_LORA)
    model = {"context": "clip", "adapt": {"kind": "lora", "rank": 8, "alpha": 16, "targets": WHISPER_LORA}}
    what = "Whisper, LoRA, clips of 5 s, context: clip, an epoch"
    return [_compare(corpus, str(bench.whisper), model, trainer, what, 5.0, bench.sizes.repeats)]


def _compare_wavlm(bench: Bench, what: str, trains: str, adapt: dict[str, Any], target: float) -> Row:
    corpus = bench.corpus(bench.sizes.training)
    trainer = wavlm_epochs(bench.wavlm, corpus, bench.scratch, train=trains, lora=WAVLM_LORA)
    repeats = bench.sizes.repeats if trains == "last" else bench.sizes.heavy_repeats
    return _compare(corpus, str(bench.wavlm), {"adapt": adapt}, trainer, what, target, repeats)


def _compare(
    corpus: Corpus, encoder: str, model: dict[str, Any], trainer: Epochs, what: str, target: float, repeats: int
) -> Row:
    theirs: list[Seconds] = []
    run_trainer: Callable[[], object] = lambda: theirs.append(trainer.run())  # noqa: E731
    with empty_cache() as cache:
        settings = make_settings(corpus, encoder, cache, model=model, train={"epochs": repeats + 1})
        run = train(settings, Clock(before_epoch=run_trainer))
    first, later, epoch = run.epochs[0], median(run.epochs[1:]), median(theirs)
    before = run.total.wall - sum(each.wall for each in run.epochs)
    ratio = epoch / later
    note = (
        f"lalia {later.wall:.2f} s an epoch (the first {first.wall:.2f} s, all before it {before:.2f} s), Trainer"
        f" {epoch.wall:.2f} s; {repeats} epochs of each in turns"
    )
    return Row(what, "Trainer", ratio.wall, target, "times less", note, ratio.cpu)
