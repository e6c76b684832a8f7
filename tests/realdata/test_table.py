import os
from pathlib import Path

import pytest

from lalia.data.table import read_table
from lalia.settings import DataSettings

FOLDER = Path(os.environ.get("LALIA_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speechocean762"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the real recordings are not here")


def test_speechocean762_has_five_raters_and_its_own_median() -> None:
    data = DataSettings.model_validate(
        {
            "metadata": str(FOLDER / "metadata.csv"),
            "layout": "path",
            "columns": {"recording": "utt", "path": "file", "speaker": "speaker", "task": "task"},
            "covariates": ["age", "gender"],
            "scale": {"levels": list(range(11)), "present_from": 1},
            "raters": "{trait}_r{rater}",
        }
    )
    table = read_table(data, part_column="split")
    plain = read_table(data.model_copy(update={"raters": None, "traits": ("accuracy", "fluency", "prosodic")}))

    assert table.traits == plain.traits
    assert (len(table.recordings), table.speakers, len(table.rater_ratings)) == (500, 250, 500 * 3 * 5)
    assert table.recordings.loc[0, "recording"] == "000010075"
    assert set(table.recordings["given_part"]) == {"train", "test"}
    assert (table.ratings == plain.ratings).all(axis=None)
    assert table.flow.dropped == () and table.flow.notes == ()
