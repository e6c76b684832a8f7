"""On speechocean762: no recording passes for another, and copies are found among all of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from lalia.data.decoding import decode
from lalia.data.fingerprint import fingerprint
from lalia.data.quality import measure_quality
from lalia.evaluation.audit import duplicates
from lalia.evaluation.audit.duplicates import find_duplicates
from toy_speech import CHANGES

DATA = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speechocean762"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not here")


@pytest.fixture(scope="module")
def decoded():
    return {path.stem: decode(path) for path in sorted((DATA / "audio").glob("*.flac"))}


@pytest.fixture(scope="module")
def prints(decoded):
    return {name: fingerprint(each.waveform, each.rate_hz) for name, each in decoded.items()}


def test_no_two_of_500_recordings_are_near_the_limit(prints, monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_DIFFERENT_BITS", 0.35)
    assert find_duplicates(list(prints), list(prints), list(prints.values())).empty


def test_copies_of_20_recordings_are_found_whatever_was_done_to_them(decoded, prints):
    names = list(prints)[::25]
    for change in CHANGES:
        changed = {}
        for name in names:
            waveform, rate_hz = CHANGES[change](decoded[name].waveform)
            changed[f"copy of {name}"] = fingerprint(np.ascontiguousarray(waveform, np.float32), rate_hz)
        everything = {**prints, **changed}
        found = find_duplicates(list(everything), list(everything), list(everything.values()))
        assert found["other"].tolist() == [f"copy of {name}" for name in found["recording"]]
        assert sorted(found["recording"]) == names, change


def test_clean_readings_at_16_khz_have_their_bandwidth_and_no_clipping(decoded):
    found = [measure_quality(each) for each in list(decoded.values())[:100]]
    assert min(each["bandwidth_hz"] for each in found) > 7000
    assert max(each["clipping_share"] for each in found) < 0.001
