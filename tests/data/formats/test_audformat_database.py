"""Databases of audformat, written by its library."""

import audformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from lalia.data.table import read_table
from lalia.errors import TableError
from lalia.settings import DataSettings

FILES = ["wav/a.wav", "wav/b.wav"]


@pytest.fixture
def database(tmp_path):
    (tmp_path / "wav").mkdir()
    for number, file in enumerate(FILES):
        soundfile.write(tmp_path / file, np.full(16_000, 0.1 * (number + 1)), 16_000)
    made = audformat.Database("toy", source="synthesis", usage="research", languages=["eng"])
    made.schemes["speaker"] = audformat.Scheme("str", labels={"anna": {"age": 30}, "ben": {"age": 41}})
    made.schemes["level"] = audformat.Scheme("int", labels={1: "absent", 2: "mild"})
    made.splits["train"], made.splits["held out"] = audformat.Split("train"), audformat.Split("test")
    return made


def add(database, table, index, split=None, **columns):
    database[table] = audformat.Table(index, split_id=split)
    for name, values in columns.items():
        database[table][name] = audformat.Column(scheme_id=name if name in database.schemes else None)
        database[table][name].set(values)


def settings(folder, **more):
    return DataSettings(metadata=str(folder), **{"traits": ["level"], **more})


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_are_joined_and_labels_explained(database, tmp_path, form):
    index = audformat.filewise_index(FILES)
    add(database, "files", index, speaker=["anna", "ben"])
    add(database, "ratings", index, level=[1, None])
    database.save(tmp_path, storage_format=form)
    table = read_table(settings(tmp_path, covariates=["age"]))
    assert table.recordings.drop(columns=["date", "task"]).to_dict("list") == {
        "recording": FILES,
        "speaker": ["anna", "ben"],
        "path": [str(tmp_path / file) for file in FILES],
        "age": ["30", "41"],
    }
    assert table.ratings["level"].fillna(0).tolist() == [1, 0]


def test_tables_of_the_parts_become_one_with_their_splits(database, tmp_path):
    add(database, "x.train", audformat.filewise_index(FILES[:1]), "train", speaker=["anna"], level=[1])
    add(database, "x.test", audformat.filewise_index(FILES[1:]), "held out", speaker=["ben"], level=[2])
    database.save(tmp_path, storage_format="csv")
    table = read_table(settings(tmp_path), part_column="split")
    assert list(table.recordings["given_part"]) == ["train", "test"]
    assert table.ratings["level"].tolist() == [1, 2]


def test_a_column_that_two_tables_have_of_one_file_is_named_by_its_table(database, tmp_path):
    index = audformat.filewise_index(FILES)
    add(database, "files", index, speaker=["anna", "ben"])
    for rater, levels in {"r1": [1, 2], "r2": [2, 2]}.items():
        add(database, rater, index, level=levels)
    database.save(tmp_path, storage_format="csv")
    table = read_table(settings(tmp_path, raters="{rater}.{trait}"))
    assert table.raters == ("r1", "r2")
    assert table.ratings["level"].tolist() == [1.5, 2]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_segments_are_recordings_with_what_is_known_of_their_files(database, tmp_path, form):
    add(database, "files", audformat.filewise_index(FILES), speaker=["anna", "ben"])
    index = audformat.segmented_index([FILES[0], FILES[0], FILES[1]], ["0s", "0.5s", 0], ["0.5s", None, None])
    add(database, "segments", index, level=[1, 2, 2])
    database.save(tmp_path, storage_format=form)
    table = read_table(settings(tmp_path))
    assert list(table.recordings["recording"]) == ["wav/a.wav:0-0.5", "wav/a.wav:0.5-", "wav/b.wav"]
    assert list(table.recordings["speaker"]) == ["anna", "anna", "ben"]
    assert [soundfile.info(path).frames for path in table.recordings["path"]] == [8_000, 8_000, 16_000]
    # the whole of a file needs no copy
    assert table.recordings["path"][2] == str(tmp_path / FILES[1])


def test_a_person_who_stands_twice_in_a_table_of_people_is_named(database, tmp_path):
    people = pd.Index(["anna", "ben"], dtype="string", name="speaker")
    database.misc_tables["people"] = audformat.MiscTable(people)
    database.misc_tables["people"]["age"] = audformat.Column()
    database.misc_tables["people"]["age"].set(["30", "41"])
    database.schemes["speaker"] = audformat.Scheme("str", labels="people")
    add(database, "files", audformat.filewise_index(FILES), speaker=["anna", "ben"], level=[1, 2])
    database.save(tmp_path, storage_format="csv")
    (table := tmp_path / "db.people.csv").write_text(table.read_text().replace("ben", "anna"))
    with pytest.raises(TableError, match="The table 'people' has rows that stand twice: anna. Keep one of each"):
        read_table(settings(tmp_path))


def test_a_pickle_is_never_read(database, tmp_path):
    add(database, "files", audformat.filewise_index(FILES), speaker=["anna", "ben"], level=[1, 2])
    database.save(tmp_path, storage_format="pkl")
    with pytest.raises(TableError, match=r"'files' has neither .*Pickles are not read, because they can run code"):
        read_table(settings(tmp_path))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("name: x\n", "db.yaml has no tables"),
        ("[]", "is not the header of an audformat database"),
        ("a: [", "cannot be read as YAML"),
        ("a: &b {}\ntables: *b\n", "has aliases"),
        ("tables: {../x: {}}\n", "cannot be the name of a table"),
        ("tables: [files]\n", "tables must be entries by name"),
        ("a: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path, header, message):
    (tmp_path / "db.yaml").write_text(header)
    with pytest.raises(TableError, match=message):
        read_table(settings(tmp_path))
