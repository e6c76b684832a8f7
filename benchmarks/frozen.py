"""Rows of an encoder that is wholly frozen: one run, and a grid of runs that share a cache."""

from itertools import product

from benchmarks.bench import Bench
from benchmarks.floor import find_floor
from benchmarks.hugging_face import wavlm_epochs
from benchmarks.ours import Clock, Trained, empty_cache, make_settings, train
from benchmarks.results import Row
from benchmarks.timing import NOTHING, median

EPOCHS = 30
POOLINGS = ({"kind": "mean"}, {"kind": "max"}, {"kind": "statistics"})
HEADS = (
    {"kind": "binary"},
    {"kind": "ordinal", "method": "cumulative"},
    {"kind": "ordinal", "method": "corn"},
    {"kind": "regression"},
)


def measure_frozen(bench: Bench) -> list[Row]:
    """Compare one frozen run with a Trainer's, whose first epoch stands for all, and with one forward."""
    corpus = bench.corpus(bench.sizes.frozen)
    floor = find_floor(bench.wavlm, corpus)
    trainer = wavlm_epochs(bench.wavlm, corpus, bench.scratch, train="none", weighted=True)
    clock = Clock(after_recording=floor.beside(corpus))
    epochs = [trainer.run()]
    with empty_cache() as cache:
        run = train(make_settings(corpus, str(bench.wavlm), cache, model={"layers": "weighted"}), clock)
    if bench.sizes.repeats > 1:
        epochs.append(trainer.run())
    total, floor_total, epoch = run.total, clock.others, median(epochs)
    what = f"everything frozen, {EPOCHS} epochs, mean pooling, weighted layers: total time"
    against = (epoch * EPOCHS) / total
    over = total / floor_total
    note = _describe(run) + f"; Trainer {epoch.wall:.1f} s an epoch, of which {len(epochs)} ran, times {EPOCHS}"
    tried = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in floor.tried.items())
    floor_note = _describe(run) + f"; one forward {floor_total.wall:.1f} s ({floor.name}'s; a few recordings: {tried})"
    return [
        Row(what, "Trainer", against.wall, 20.0, "times less", note, against.cpu),
        Row(what, "one forward", over.wall, 1.2, "times", floor_note, over.cpu),
    ]


def measure_configurations(bench: Bench) -> list[Row]:
    """Compare a grid of frozen runs on one cache, empty at first, with one forward."""
    corpus = bench.corpus(bench.sizes.frozen)
    floor = find_floor(bench.wavlm, corpus)
    grid = list(product(POOLINGS, HEADS, range(bench.sizes.seeds)))
    clock = Clock(after_recording=floor.beside(corpus))
    runs = []
    with empty_cache() as cache:
        for pooling, head, seed in grid:
            model = {"layers": "last", "pooling": pooling, "head": head}
            runs.append(train(make_settings(corpus, str(bench.wavlm), cache, model=model, seed=seed), clock))
    total, floor_total = sum((run.total for run in runs), NOTHING), clock.others
    ratio = total / floor_total
    later, building = median([run.total for run in runs[1:]]), median([run.building for run in runs])
    note = (
        f"lalia {total.wall:.1f} s, of which the first run {runs[0].total.wall:.1f} s and each later one"
        f" {later.wall:.2f} s (and building its model {building.wall:.2f} s, not counted);"
        f" one forward {floor_total.wall:.1f} s"
    )
    what = f"{len(grid)} frozen configurations (poolings x losses x seeds) x {EPOCHS} epochs"
    return [Row(what, "one forward", ratio.wall, 2.0, "times", note, ratio.cpu)]


def _describe(run: Trained) -> str:
    return (
        f"lalia {run.total.wall:.1f} s, of which {median(run.epochs).wall * 1000:.0f} ms an epoch (building the model"
        f" {run.building.wall:.1f} s, not counted)"
    )
