"""A corpus is the same data in whichever folder it comes, up to what training makes of it."""

from pathlib import Path

import pandas as pd
import pytest

from lalia.config import identity_json
from lalia.data.table import read_table
from lalia.errors import TableError
from lalia.prepare import prepare
from lalia.run import train
from lalia.settings import DataSettings
from other_folders import NAMED, WRITERS
from toy_run import quick_settings, write_toy_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("plain") / "corpus")


@pytest.fixture(scope="module")
def settings_of(corpus, tmp_path_factory):
    """The settings of a quick run on the corpus as each kind of folder."""
    found = {}

    def make(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            overrides = [f"runs={folder / 'runs'}"]
            if kind != "plain":
                data = WRITERS[kind](corpus, folder / "data")
                overrides = [f"data.metadata={data}", "data.audio_dir=null", *overrides]
                overrides.append(f"data.columns.recording={NAMED.get(kind, 'id')}")
            found[kind] = quick_settings(corpus, folder / "runs", *overrides)
        return found[kind]

    return make


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_of_another_tool_holds_the_same_data_as_the_plain_table(settings_of, kind):
    plain, other = prepare(settings_of("plain")), prepare(settings_of(kind))
    assert other.table.recordings.drop(columns=["path", "log_mel"]).equals(
        plain.table.recordings.drop(columns=["path", "log_mel"])
    )
    assert other.data_hash == plain.data_hash
    assert other.split.sha256 == plain.split.sha256


@pytest.fixture(scope="module")
def plain_scores(settings_of):
    return pd.read_csv(train(settings_of("plain")) / "predictions.csv")


@pytest.mark.parametrize(
    "kind", [each if each == "datasets" else pytest.param(each, marks=pytest.mark.slow) for each in WRITERS]
)
def test_training_on_it_gives_the_same_scores(settings_of, plain_scores, kind):
    scores = pd.read_csv(train(settings_of(kind)) / "predictions.csv")
    pd.testing.assert_frame_equal(scores, plain_scores)


def test_what_a_folder_is_can_be_said_where_it_might_be_two_things(settings_of):
    settings = settings_of("kaldi").data
    (folder := Path(settings.metadata)).joinpath("db.yaml").write_text("name: x\n")
    try:
        with pytest.raises(TableError, match="might be audformat or kaldi. Say which in data.format"):
            read_table(settings)
        assert len(read_table(settings.model_copy(update={"format": "kaldi"})).recordings) == 16
    finally:
        (folder / "db.yaml").unlink()


def test_a_folder_of_nothing_known_is_refused_with_what_is_known(tmp_path):
    with pytest.raises(TableError, match=r"is a folder, but none of these: audformat \(db.yaml\); kaldi \(wav.scp\)"):
        read_table(DataSettings(metadata=str(tmp_path)))
    with pytest.raises(TableError, match=r"is a folder. Name the table in it"):
        read_table(DataSettings(metadata=str(tmp_path), format="table"))


def test_a_table_is_not_read_as_a_folder(corpus):
    with pytest.raises(TableError, match=r"is not a folder, as data.format kaldi has it"):
        read_table(DataSettings(metadata=str(corpus / "metadata.csv"), format="kaldi"))


def test_what_a_folder_is_does_not_change_the_name_of_a_run(settings_of):
    settings = settings_of("kaldi")
    given = settings.model_copy(update={"data": settings.data.model_copy(update={"format": "kaldi"})})
    assert identity_json(given) == identity_json(settings)
