import numpy as np
import pandas as pd

from lalia.data.single_ratings import single_ratings
from lalia.data.table import Flow, RecordingTable
from lalia.scale import Scale

NAN = np.nan


def make_table(given):
    recordings = pd.DataFrame({"recording": ["a", "b"], "speaker": ["s", "t"]})
    ratings = pd.DataFrame({"hoarse": [2.0, NAN], "slow": [NAN, 3.0]})
    raters = pd.DataFrame(given, columns=["recording", "rater", "trait", "rating"])
    return RecordingTable(recordings, ratings, raters, Scale((1, 2, 3), present_from=2), Flow(2, 2))


GIVEN = [("a", "y", "hoarse", 1.0), ("a", "x", "hoarse", 3.0), ("a", "z", "hoarse", 3.0), ("b", "x", "slow", 3.0)]


def test_shares_say_how_many_raters_gave_each_level_and_are_missing_where_nobody_rated():
    shares = single_ratings(make_table(GIVEN)).level_shares()
    expected = [[[1 / 3, 0, 2 / 3], [NAN] * 3], [[NAN] * 3, [0, 0, 1]]]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)


def test_raters_are_known_by_their_sorted_names():
    single = single_ratings(make_table(GIVEN))
    assert single.names == ("x", "y", "z")
    assert [single.names[rater] for rater in single.raters] == ["y", "x", "z", "x"]


def test_a_table_without_raters_has_no_single_ratings():
    single = single_ratings(make_table([]))
    assert single.names == ()
    assert np.isnan(single.level_shares()).all()
