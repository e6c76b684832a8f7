"""Rows of an encoder that is used as it is: prediction and the probe, against one forward."""

import pandas as pd

from benchmarks.bench import Bench
from benchmarks.floor import find_floor
from benchmarks.ours import ENCODING, Clock, build, empty_cache, make_settings
from benchmarks.results import Row
from lalia.evaluation.predict import predict
from lalia.evaluation.probe import probe
from lalia.model.rater import SpeechRater
from lalia.prepare import prepare
from lalia.settings import RunSettings
from lalia.training.cache import open_store


def measure_prediction(bench: Bench) -> list[Row]:
    """Compare rating new recordings from their files, twice decoded and nothing cached, with one forward."""
    corpus = bench.corpus(bench.sizes.scored)
    floor = find_floor(bench.wavlm, corpus)
    recordings = pd.DataFrame({"recording": corpus.table["id"], "path": [str(path) for path in corpus.paths]})
    with empty_cache() as cache:
        rater = build(make_settings(corpus, str(bench.wavlm), cache, model={"layers": "weighted"}))
    clock = Clock(after_recording=floor.beside(corpus))
    ours = clock.measure(lambda: predict(rater, recordings, progress=clock, title=ENCODING))
    share = clock.others / ours
    note = f"{corpus.seconds / ours.wall:.1f} s of audio a second, one forward {corpus.seconds / clock.others.wall:.1f}"
    return [Row("prediction: throughput", "one forward", share.wall, 0.9, "throughput", note, share.cpu)]


def measure_probe(bench: Bench) -> list[Row]:
    """Compare probes of all depths and traits, from the files on, with one forward."""
    corpus = bench.corpus(bench.sizes.probed)
    floor = find_floor(bench.wavlm, corpus)
    clock = Clock(after_recording=floor.beside(corpus))
    with empty_cache() as cache:
        settings = make_settings(corpus, str(bench.wavlm), cache, data={"traits": corpus.traits})
        rater = build(settings)
        ours = clock.measure(lambda: _probe(settings, rater, clock))
    ratio = ours / clock.others
    note = f"lalia {ours.wall:.1f} s, one forward {clock.others.wall:.1f} s; {len(corpus.paths)} recordings"
    what = f"probe, all depths x all traits ({len(corpus.traits)}), 5 folds"
    return [Row(what, "one forward", ratio.wall, 1.25, "times", note, ratio.cpu)]


def _probe(settings: RunSettings, rater: SpeechRater, clock: Clock) -> None:
    prepared = prepare(settings, rater=rater)
    probe(rater.encoder, prepared.table, rater.preprocessing, store=open_store(settings.cache), progress=clock)
