"""What is drawn depends on seed, recording and epoch or view alone."""

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lalia.data.augment import DISTORTIONS, Augmentation, Step, hash_ids

NOISE = Step("noise", options={"snr_db": (10.0, 30.0), "color": "pink"})
GAIN = Step("gain", options={"gain_db": (-6.0, 6.0)})
CODEC = Step("codec", options={"codecs": ("mp3", "vorbis", "opus"), "compression": (0.5, 0.95)})
CHAIN = (NOISE, GAIN, CODEC)
WAVEFORM = (0.1 * np.random.default_rng(0).standard_normal(4_000)).astype(np.float32)


def heard(augmentation, recording="a", epoch=1, waveform=WAVEFORM, **partner):
    return augmentation.apply(waveform, 16_000, recording, epoch, **partner)


def same(first, second):
    return first.tobytes() == second.tobytes()


def test_what_is_heard_depends_on_the_seed_the_recording_and_the_epoch():
    chain = Augmentation(CHAIN, seed=1)
    assert same(heard(chain), heard(Augmentation(CHAIN, seed=1)))
    others = [
        heard(chain),
        heard(chain, epoch=2),
        heard(chain, recording="b"),
        heard(Augmentation(CHAIN, seed=2)),
    ]
    assert not any(same(first, second) for number, first in enumerate(others) for second in others[:number])


def test_a_step_draws_the_same_whatever_stands_behind_it():
    assert same(heard(Augmentation((NOISE,), 1)), heard(Augmentation((NOISE, Step("gain", 0.0)), 1)))


@pytest.mark.parametrize("kind", sorted(set(DISTORTIONS) - {"mix"}))
def test_probability_0_is_never_and_leaves_every_byte(kind):
    assert heard(Augmentation((Step(kind, 0.0),), 1)) is WAVEFORM


def test_probability_1_is_always_and_a_half_is_half():
    def share(probability):
        chain = Augmentation((Step("polarity", probability),), 1)
        return np.mean([not same(heard(chain, epoch=epoch), WAVEFORM) for epoch in range(400)])

    assert share(1.0) == 1.0
    assert 0.4 < share(0.5) < 0.6


def test_an_empty_chain_changes_nothing():
    assert heard(Augmentation((), 1)) is WAVEFORM


# --- views ------------------------------------------------------------------------------------------------------------


def test_the_views_of_a_recording_differ_from_each_other_and_come_again():
    chain = Augmentation(CHAIN, seed=1, views=4)
    views = {chain.view_of("a", epoch): heard(chain, epoch=epoch) for epoch in range(1, 5)}
    assert sorted(views) == [0, 1, 2, 3]
    assert len({view.tobytes() for view in views.values()}) == 4
    for epoch in range(5, 13):
        assert same(heard(chain, epoch=epoch), views[chain.view_of("a", epoch)])


def test_the_epochs_take_the_views_in_turn_from_a_place_that_depends_on_the_recording():
    chain = Augmentation(CHAIN, seed=1, views=4)
    turns = {name: [chain.view_of(name, epoch) for epoch in range(1, 9)] for name in map(str, range(40))}
    assert all((after - before) % 4 == 1 for views in turns.values() for before, after in pairwise(views))
    assert {views[0] for views in turns.values()} == {0, 1, 2, 3}
    assert Augmentation(CHAIN, seed=1).view_of("a", 3) is None


def test_a_new_process_hears_the_same_views():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import hashlib, test_augment as t\n"
        "chain = t.Augmentation(t.CHAIN, seed=1, views=3)\n"
        "print(*[hashlib.sha256(t.heard(chain, 'é-1', epoch).tobytes()).hexdigest() for epoch in (1, 2, 3)])"
    )
    chain = Augmentation(CHAIN, seed=1, views=3)
    expected = [hashlib.sha256(heard(chain, "é-1", epoch).tobytes()).hexdigest() for epoch in (1, 2, 3)]
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == expected


# --- peak and length --------------------------------------------------------------------------------------------------


def test_nothing_is_clipped_and_the_peak_stays_within_full_scale():
    loud = (WAVEFORM / np.abs(WAVEFORM).max()).astype(np.float32)
    louder = heard(Augmentation((Step("gain", options={"gain_db": (6.0, 6.0)}),), 1), waveform=loud)
    assert louder == pytest.approx(loud, abs=1e-6)
    noisy = heard(Augmentation((Step("noise", options={"snr_db": (0.0, 0.0), "color": "white"}),), 1), waveform=loud)
    assert np.abs(noisy).max() <= 1.0
    assert (np.abs(noisy) > 0.999).sum() == 1


def test_a_recording_beyond_full_scale_keeps_its_own_peak():
    loud = (3 * WAVEFORM / np.abs(WAVEFORM).max()).astype(np.float32)
    louder = heard(Augmentation((Step("gain", options={"gain_db": (6.0, 6.0)}),), 1), waveform=loud)
    assert np.abs(louder).max() == pytest.approx(3.0)


def test_a_change_of_speed_that_would_be_too_short_for_the_encoder_is_left_out():
    faster = Step("speed", options={"factor": (1.25, 1.25)})
    assert len(heard(Augmentation((faster,), 1, min_samples=3_200))) == 3_200
    assert len(heard(Augmentation((faster,), 1, min_samples=3_201))) == 4_000


# --- mixing -----------------------------------------------------------------------------------------------------------


MIX = Step("mix", options={"snr_db": (10.0, 10.0)})
OTHERS = [f"r{number}" for number in range(20)]


def partner(chain, epoch, others, of="a"):
    place = chain.partner_of(of, epoch, hash_ids(others), np.ones(len(others), dtype=bool))
    return None if place is None else others[place]


def test_the_partner_is_drawn_for_each_recording_and_epoch_whatever_the_order():
    chain = Augmentation((MIX,), seed=1)
    drawn = [partner(chain, epoch, OTHERS) for epoch in range(30)]
    assert drawn == [partner(chain, epoch, OTHERS[::-1]) for epoch in range(30)]
    assert drawn != [partner(chain, epoch, OTHERS, of="b") for epoch in range(30)]
    assert len(set(drawn)) > 10
    assert partner(chain, 1, []) is None
    assert chain.partner_of("a", 1, hash_ids(OTHERS), np.array([False] * 20)) is None
    assert chain.partner_of("a", 1, hash_ids(OTHERS), np.arange(20) == 7) == 7


def test_every_recording_is_as_often_the_partner():
    chain = Augmentation((MIX,), seed=1)
    drawn = [partner(chain, epoch, OTHERS) for epoch in range(2_000)]
    counts = [drawn.count(other) for other in OTHERS]
    assert min(counts) > 60
    assert max(counts) < 140


def test_the_partner_stays_when_another_recording_goes():
    chain = Augmentation((MIX,), seed=1)
    for epoch in range(30):
        drawn = partner(chain, epoch, OTHERS)
        assert partner(chain, epoch, [each for each in OTHERS if each == drawn or each > "r15"]) == drawn


def test_the_partner_of_a_view_is_always_the_same():
    chain = Augmentation((MIX,), seed=1, views=3)
    drawn = [partner(chain, epoch, OTHERS) for epoch in range(6)]
    assert drawn[:3] == drawn[3:]


def test_a_partner_is_loaded_only_when_mixing_is_drawn():
    loaded = []

    def load():
        loaded.append(1)
        return WAVEFORM[::-1].copy()

    assert heard(Augmentation((Step("mix", 0.0, MIX.options),), 1), partner=load) is WAVEFORM
    assert not loaded
    assert not same(heard(Augmentation((MIX,), 1), partner=load), WAVEFORM)
    assert loaded == [1]
    assert same(heard(Augmentation((MIX,), 1)), WAVEFORM)
    assert (Augmentation((MIX,), 1).mixes, Augmentation(CHAIN, 1).mixes) == (True, False)


# --- description ------------------------------------------------------------------------------------------------------


def test_the_description_is_json_and_tells_all_that_changes_the_values():
    chains = [
        Augmentation(CHAIN, 1),
        Augmentation(CHAIN, 2),
        Augmentation(CHAIN, 1, views=2),
        Augmentation(CHAIN, 1, min_samples=400),
        Augmentation(CHAIN[:2], 1),
        Augmentation(CHAIN[::-1], 1),
        Augmentation((Step("noise", 0.5, NOISE.options), *CHAIN[1:]), 1),
        Augmentation((Step("noise", 1.0, {**NOISE.options, "color": "white"}), *CHAIN[1:]), 1),
    ]
    texts = [json.dumps(chain.describe(), allow_nan=False, sort_keys=True) for chain in chains]
    assert len(set(texts)) == len(chains)
    assert json.dumps(Augmentation(CHAIN, 1).describe(), sort_keys=True) == texts[0]


def test_the_description_of_a_view_is_that_of_its_draw_however_many_views_there_are():
    chain = Augmentation(CHAIN, 1, views=4)
    drawn = {json.dumps(chain.describe_draw("a", epoch)) for epoch in range(8)}
    assert len(drawn) == 4
    assert drawn < {json.dumps(Augmentation(CHAIN, 1, views=8).describe_draw("a", epoch)) for epoch in range(8)}
    assert not drawn & {json.dumps(chain.describe_draw("b", epoch)) for epoch in range(8)}
