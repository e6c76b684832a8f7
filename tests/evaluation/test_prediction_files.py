"""Scores as files that other tools read."""

import audformat
import pandas as pd
import pytest

from lalia.evaluation.prediction_files import write_predictions

TABLE = pd.DataFrame(
    {
        "recording": ["b.wav", "b.wav", "a/ü.wav", "a/ü.wav"],
        "trait": ["slow", "hoarse, harsh"] * 2,
        "score": [1.25, 3.123456789012345, 1.0, 4.0],
        "level": [1.0, float("nan"), 1.0, 4.0],
        "probability": [0.0625, 0.9, 0.0, 1.0],
        "abstains": [False, True, False, False],
        "p_ge_2": [0.1, 0.2, 0.3, 0.4],
    }
)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.csv", pd.read_csv),
        ("a.txt", pd.read_csv),
        ("a.jsonl", lambda path: pd.read_json(path, lines=True, precise_float=True)),
        ("a.parquet", pd.read_parquet),
    ],
)
def test_the_extension_says_the_format(tmp_path, name, read):
    write_predictions(TABLE, tmp_path / name)
    pd.testing.assert_frame_equal(read(tmp_path / name), TABLE, check_dtype=False)


def test_the_format_can_be_said(tmp_path):
    write_predictions(TABLE, tmp_path / "scores", "jsonl")
    assert (tmp_path / "scores").read_text().splitlines()[0].startswith('{"recording":"b.wav","trait":"slow"')


# audformat asks pandas for what pandas will no longer do
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_audformat_reads_its_database(tmp_path):
    write_predictions(TABLE, tmp_path / "scores", "audformat")
    database = audformat.Database.load(tmp_path / "scores")
    assert list(database.tables) == ["abstains", "level", "p_ge_2", "probability", "score"]
    score = database["score"].get()
    assert list(score.index) == ["b.wav", "a/ü.wav"]
    assert score.loc["b.wav"].tolist() == [1.25, 3.123456789012345]
    assert list(score) == ["slow", "hoarse, harsh"]
    assert database["level"].get().isna().to_numpy().tolist() == [[False, True], [False, False]]
    assert database["abstains"].get().loc["b.wav", "hoarse, harsh"]
    assert database.schemes["probability"].maximum == 1


def test_a_database_is_replaced_as_a_whole(tmp_path):
    for _ in range(2):
        write_predictions(TABLE, tmp_path / "scores", "audformat")
    write_predictions(TABLE.drop(columns="p_ge_2"), tmp_path / "scores", "audformat")
    assert not (tmp_path / "scores" / "db.p_ge_2.csv").exists()
