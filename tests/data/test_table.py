import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lalia.data.flow import FlowStep
from lalia.data.table import RecordingTable, read_table
from lalia.errors import DataError, TableError
from lalia.settings import DataSettings

WIDE = """recording,speaker,task,age,monopitch,breathy
a1,anna,read,44,1,2
a2,anna,picture,44,2,-1
b1,ben,read,,3,
c1,carl,read,51,1.5,4
"""
SCALE = {"missing": [-1], "recode": {1.5: 1}}
TRAITS = ["monopitch", "breathy"]


def write(folder: Path, text: str = WIDE, *, audio: str = "a1 a2 b1 c1", name: str = "metadata.csv") -> Path:
    """Write a table and empty audio files beside it."""
    path = folder / name
    path.write_text(text)
    for recording in audio.split():
        (folder / f"{recording}.wav").touch()
    return path


def settings(path: Path, **data: object) -> DataSettings:
    return DataSettings.model_validate({"metadata": str(path), "traits": TRAITS, "scale": SCALE, **data})


def read(
    folder: Path, text: str = WIDE, *, audio: str = "a1 a2 b1 c1", seed: int = 0, **data: object
) -> RecordingTable:
    return read_table(settings(write(folder, text, audio=audio), **data), seed=seed)


def kept(table: RecordingTable) -> list[str]:
    return list(table.recordings["recording"])


# --- what comes back --------------------------------------------------------------------------------------------------


def test_a_wide_table_is_read(tmp_path: Path) -> None:
    table = read(tmp_path, columns={"task": "task"}, covariates=["age"])

    assert table.recordings.to_dict("records")[2] == {
        "recording": "b1",
        "speaker": "ben",
        "path": str(tmp_path / "b1.wav"),
        "date": None,
        "task": "read",
        "age": None,
    }
    assert table.traits == ("monopitch", "breathy")
    assert table.ratings.fillna(0).to_numpy().tolist() == [[1, 2], [2, 0], [3, 0], [1, 4]]
    assert table.speakers == 3
    assert table.covariates == ("age",)
    assert (table.flow.recordings_in, table.flow.speakers_in, table.flow.dropped) == (4, 3, ())


def test_rows_are_sorted_by_recording(tmp_path: Path) -> None:
    table = read(tmp_path, "recording,speaker,monopitch,breathy\nb1,b,2,1\na2,a,1,1\na1,a,3,1\n")

    assert kept(table) == ["a1", "a2", "b1"]
    assert list(table.ratings["monopitch"]) == [3, 1, 2]
    assert list(table.recordings.index) == list(table.ratings.index) == [0, 1, 2]


def test_excluded_ratings_are_listed_with_their_reasons(tmp_path: Path) -> None:
    flow = read(tmp_path).flow

    assert flow.excluded_ratings.to_dict("records") == [
        {"recording": "a2", "trait": "breathy", "rater": "", "value": "-1", "reason": "missing code -1"},
        {"recording": "c1", "trait": "monopitch", "rater": "", "value": "1.5", "reason": "recoded to 1"},
    ]


@pytest.mark.parametrize(
    ("text", "raters"),
    [
        ("recording,speaker,x_r1,x_r2,x_r3,y_r1\na1,a,1,2,4,\na2,a,,3,,2\n", "{trait}_r{rater}"),
        (
            "recording,speaker,rater,trait,rating\na1,a,1,x,1\na1,a,2,x,2\na2,a,2,x,3\na1,a,3,x,4\na2,a,1,y,2\n",
            {"column": "rater"},
        ),
    ],
    ids=["a column per rater", "long"],
)
def test_raters_are_combined_and_kept(tmp_path: Path, text: str, raters: object) -> None:
    table = read(tmp_path, text, audio="a1 a2", raters=raters, traits=[])

    assert table.traits == ("x", "y")
    assert table.ratings.fillna(0).to_numpy().tolist() == [[2, 0], [3, 2]]
    assert table.rater_ratings.to_numpy().tolist() == [
        ["a1", "1", "x", 1],
        ["a1", "2", "x", 2],
        ["a1", "3", "x", 4],
        ["a2", "2", "x", 3],
        ["a2", "1", "y", 2],
    ]


def test_covariates_may_have_any_other_name(tmp_path: Path) -> None:
    text = "recording,speaker,task,place,first,monopitch,breathy\na1,a,read,Rome,x,1,1\n"

    table = read(tmp_path, text, audio="a1", columns={"task": "task"}, covariates=["place", "first", "task"])

    assert table.recordings.loc[0, ["path", "place", "first", "task"]].tolist() == [
        *(str(tmp_path / "a1.wav"), "Rome", "x", "read"),
    ]


def test_the_column_of_given_parts_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path, "recording,speaker,monopitch,breathy,split\na1,a,1,1,train\na2,b,1,1,\n")

    assert list(read_table(settings(path), part_column="split").recordings["given_part"]) == ["train", None]


def test_recordings_without_any_rating_are_kept_and_counted(tmp_path: Path) -> None:
    table = read(tmp_path, "recording,speaker,monopitch,breathy\na1,a,1,2\na2,b,,-1\n", audio="a1 a2")

    assert kept(table) == ["a1", "a2"]
    assert table.flow.notes == ("recordings without any rating: 1",)


def test_the_layout_path_takes_its_own_column(tmp_path: Path) -> None:
    path = write(tmp_path, "utt,speaker,file,monopitch,breathy\nx/1,a,day/a.flac,1,1\n", audio="")
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.flac").touch()

    table = read_table(settings(path, layout="path", columns={"recording": "utt", "path": "file"}))

    assert table.recordings.loc[0, ["recording", "path"]].tolist() == ["x/1", str(tmp_path / "day" / "a.flac")]


# --- what is left out -------------------------------------------------------------------------------------------------


def test_tasks_and_exclude_leave_recordings_out_with_their_reasons(tmp_path: Path) -> None:
    table = read(tmp_path, columns={"task": "task"}, tasks=["read"], exclude=["b1"])

    assert kept(table) == ["a1", "c1"]
    assert table.flow.dropped == (
        FlowStep("task not in data.tasks", ("a2",), 0),
        FlowStep("listed in data.exclude", ("b1",), 1),
    )


def test_what_is_left_out_needs_no_audio_and_no_good_ratings(tmp_path: Path) -> None:
    text = WIDE.replace("picture,44,2,-1", "picture,44,99,-1")

    assert kept(read(tmp_path, text, audio="a1 b1", columns={"task": "task"}, tasks=["read"], exclude=["c1"])) == [
        "a1",
        "b1",
    ]


def test_missing_audio_may_be_dropped(tmp_path: Path) -> None:
    table = read(tmp_path, audio="a1 c1", unreadable="drop")

    assert kept(table) == ["a1", "c1"]
    assert table.flow.dropped == (FlowStep("no audio file", ("a2", "b1"), 1),)
    assert set(table.rater_ratings["recording"]) == {"a1", "c1"}
    assert list(table.flow.excluded_ratings["recording"]) == ["c1"]


MANY = "recording,speaker,monopitch,breathy\n" + "".join(f"r{n:02},s{n // 4},1,1\n" for n in range(40))


def test_a_limit_keeps_whole_speakers_the_same_on_any_order_of_rows(tmp_path: Path) -> None:
    header, *rows = MANY.splitlines(keepends=True)
    audio = " ".join(f"r{n:02}" for n in range(40))
    (tmp_path / "turned").mkdir()

    table = read(tmp_path, MANY, audio=audio, limit=9)
    turned = read(tmp_path / "turned", header + "".join(rows[::-1]), audio=audio, limit=9)
    other_seed = read(tmp_path, MANY, audio=audio, limit=9, seed=1)

    assert kept(table) == kept(turned) != kept(other_seed)
    assert list(table.recordings.groupby("speaker").size()) == [4, 4]
    assert [(step.reason, len(step.recordings), step.speakers) for step in table.flow.dropped] == [
        ("beyond data.limit", 32, 8)
    ]


def test_a_limit_keeps_at_least_one_speaker(tmp_path: Path) -> None:
    assert read(tmp_path, limit=1).speakers == 1


def test_a_limit_needs_only_the_audio_that_it_keeps(tmp_path: Path) -> None:
    few = kept(read(tmp_path, MANY, audio=" ".join(f"r{n:02}" for n in range(40)), limit=4))
    (tmp_path / "few").mkdir()

    assert kept(read(tmp_path / "few", MANY, audio=" ".join(few), limit=4)) == few


# --- what is refused --------------------------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    text = "recording,speaker,monopitch,breathy\na1,anna,1,6\na1,anna,1,7\nA1,,1,1\n,ben,1,1\nc1,Ben,x,1\nd1,ben,1,1\n"
    with pytest.raises(TableError) as error:
        read(tmp_path, text, audio="a1 A1 c1 e1", covariates=["agee"], columns={"task": "tasks"}, tasks=["read"])

    assert str(error.value).split("\n- ") == [
        "metadata.csv has 11 problems:",
        "data.columns.task: 'tasks' is not a column. The columns are recording, speaker, monopitch, breathy.",
        "data.covariates: 'agee' is not a column. The columns are recording, speaker, monopitch, breathy.",
        "column 'recording': no recording id in row 5.",
        "column 'recording': ids that stand more than once: 'a1' in rows 2, 3. "
        "Keep one row of each, or set data.raters: {column: ...} if each row is one rating.",
        "ids that differ only by case: 'A1' and 'a1'. Make them equal, or rename one.",
        "column 'speaker': no speaker in row 4.",
        "speakers that differ only by case: 'Ben' and 'ben'. Make them equal, or rename one.",
        f"1 of 4 recordings have no audio file in '{tmp_path}' ('d1': d1.wav). No row names 'e1.wav' there. "
        "Check data.audio_dir, data.layout and data.extension, or set data.unreadable: drop.",
        "column 'monopitch': 1 rating outside 1-4 (row 6: x). "
        "If 'x' means \"not rated\", add it to data.scale.missing.",
        "column 'breathy': 2 ratings outside 1-4 (row 2: 6, row 3: 7). "
        'If 6, 7 mean "not rated", add them to data.scale.missing; if a level, to data.scale.recode.',
        "recordings in the folder that no row names: 1 (e1.wav).",
    ]


def test_one_problem_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        TableError,
        match=r"^metadata\.csv, column 'breathy': 1 rating outside 1-4 \(row 5: 6\)\. "
        r"If 6 means \"not rated\", add it to data\.scale\.missing; if a level, to data\.scale\.recode\.$",
    ):
        read(tmp_path, WIDE.replace("1.5,4", "1.5,6"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"columns": {"recording": "recoding"}}, "data.columns.recording: 'recoding' .* Did you mean 'recording'"),
        ({"columns": {"speaker": "speakr"}}, "data.columns.speaker: 'speakr' .* Did you mean 'speaker'"),
        ({"columns": {"task": "task"}, "tasks": ["pictures"]}, "the task 'pictures'. Did you mean 'picture'"),
        ({"tasks": ["read"]}, "data.tasks: name the column of the tasks in data.columns.task"),
        ({"exclude": ["a22"]}, "data.exclude: no row has the recording 'a22'. Did you mean 'a2'"),
        ({"exclude": ["a1", "a2", "b1", "c1"]}, "data.tasks and data.exclude leave no recording"),
        ({"traits": ["breaty"]}, "data.traits: 'breaty' is not a column. Did you mean 'breathy'"),
        ({"traits": []}, "data.traits is empty. Columns that fit data.scale: monopitch, breathy"),
        ({"covariates": ["path"]}, "data.covariates: 'path' is a name that lalia needs"),
        ({"audio_dir": "/absent"}, "data.audio_dir: '/absent' is not a folder"),
    ],
)
def test_settings_that_do_not_fit_the_table_are_refused(tmp_path: Path, data: dict[str, object], message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(tmp_path, **data)


def test_a_folder_without_any_of_the_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="none of its recordings has an audio file"):
        read(tmp_path, audio="", unreadable="drop")


def test_the_rows_of_a_recording_must_agree_in_a_long_table(tmp_path: Path) -> None:
    text = "recording,speaker,age,rater,trait,rating\na1,anna,44,1,x,1\na1,ana,44,2,x,1\n"

    with pytest.raises(
        TableError, match=r"column 'speaker': the rows .* 1 differ \(recording 'a1', row 3: 'ana', before 'anna'"
    ):
        read(tmp_path, text, audio="a1", raters={"column": "rater"}, traits=[], covariates=["age"])


def test_a_url_of_an_unknown_store_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(
        DataError, match=r"'ftp://host/m\.csv' is of a kind that is not read; those .* s3://bucket/folder"
    ):
        read_table(settings(Path("x")).model_copy(update={"metadata": "ftp://host/m.csv"}))


def test_an_excluded_recording_may_stand_twice(tmp_path: Path) -> None:
    table = read(tmp_path, WIDE + "a1,anna,read,44,1,2\n", exclude=["a1"])

    assert table.flow.dropped == (FlowStep("listed in data.exclude", ("a1",), 0),)
    assert table.flow.recordings_in == 4


# --- what can be done with a table ------------------------------------------------------------------------------------


def test_select_keeps_the_flow(tmp_path: Path) -> None:
    table = read(tmp_path)

    part = table.select([True, False, False, True])

    assert kept(part) == ["a1", "c1"]
    assert list(part.recordings.index) == list(part.ratings.index) == [0, 1]
    assert set(part.rater_ratings["recording"]) == {"a1", "c1"}
    assert part.flow is table.flow


def test_drop_tells_the_flow(tmp_path: Path) -> None:
    table = read(tmp_path).drop({"c1": "too short", "a1": "not a sound file"})

    assert kept(table) == ["a2", "b1"]
    assert table.flow.dropped == (
        FlowStep("too short", ("c1",), 1),
        FlowStep("not a sound file", ("a1",), 0),
    )
    with pytest.raises(KeyError, match="c1"):
        table.drop({"c1": "again"})


def test_measured_columns_are_added_by_id(tmp_path: Path) -> None:
    table = read(tmp_path).select([True, True, False, False])
    measured = pd.DataFrame({"recording": ["a2", "a1"], "duration_seconds": [2.0, 1.0]})

    assert list(table.add_columns(measured).recordings["duration_seconds"]) == [1.0, 2.0]
    with pytest.raises(KeyError, match="a2"):
        table.add_columns(measured[1:])
    with pytest.raises(TableError, match=r"The names \['duration_seconds'\] are needed"):
        table.add_columns(measured).add_columns(measured)


def test_the_flow_becomes_json(tmp_path: Path) -> None:
    flow = json.loads(json.dumps(read(tmp_path, exclude=["b1"]).flow.to_json(), allow_nan=False))

    assert flow["dropped"] == [{"reason": "listed in data.exclude", "recordings": ["b1"], "speakers": 1}]
    assert flow["excluded_ratings"][0]["reason"] == "missing code -1"
    assert (flow["recordings_in"], flow["speakers_in"], flow["notes"]) == (4, 3, [])


def test_the_hash_knows_no_order_and_no_place(tmp_path: Path) -> None:
    header, *rows = WIDE.splitlines(keepends=True)
    (tmp_path / "elsewhere").mkdir()

    table, turned = read(tmp_path), read(tmp_path / "elsewhere", header + "".join(rows[::-1]))
    measured = pd.DataFrame({"recording": ["a1", "a2", "b1", "c1"], "duration_seconds": 1.0})

    assert table.content_hash() == turned.content_hash() == table.add_columns(measured).content_hash()


@pytest.mark.parametrize(
    "change", [("a1,anna", "a1,ben"), ("44,1,2", "44,1,3"), ("51", "52"), ("c1,carl,read", "c1,carl,sing")]
)
def test_the_hash_knows_what_the_table_says(tmp_path: Path, change: tuple[str, str]) -> None:
    (tmp_path / "changed").mkdir()
    data = {"columns": {"task": "task"}, "covariates": ["age"]}

    table, changed = read(tmp_path, **data), read(tmp_path / "changed", WIDE.replace(*change), **data)

    assert table.content_hash() != changed.content_hash()


def test_the_hash_knows_each_rater(tmp_path: Path) -> None:
    table = read(tmp_path)
    other = replace(table, rater_ratings=table.rater_ratings.assign(rater="x"))

    assert table.content_hash() != other.content_hash()


def test_a_large_table_is_read_within_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"r{n:05}" for n in range(10_000)]
    ratings = {
        f"t{trait}_r{r}": rng.choice(["1", "2", "3", "4", "-1", ""], 10_000) for trait in range(36) for r in "123"
    }
    pd.DataFrame({"recording": ids, "speaker": ids, **ratings}).to_csv(tmp_path / "m.csv", index=False)
    data = settings(tmp_path / "m.csv", traits=[], raters="{trait}_r{rater}", unreadable="drop")
    (tmp_path / "r00000.wav").touch()

    start = time.process_time()
    table = read_table(data)

    assert time.process_time() - start < 15  # 2 s alone on one core
    assert table.ratings.shape == (1, 36)


# --- repeated ratings -------------------------------------------------------------------------------------------------

# rater x rates a1 three times, first on day 9; rater y once
REPEATED = """recording,speaker,rater,trait,rating,day
a1,anna,x,monopitch,4,10
a1,anna,x,monopitch,1,9
a1,anna,x,monopitch,3,11
a1,anna,y,monopitch,1,10
"""
REPEATS = {"raters": {"column": "rater", "repeat": "day"}, "traits": ["monopitch"]}


def test_of_repeated_ratings_the_first_is_the_raters_and_later_ones_are_numbered(tmp_path: Path) -> None:
    table = read(tmp_path, REPEATED, **REPEATS)

    assert table.rater_ratings[["rater", "rating"]].to_numpy().tolist() == [["x", 1.0], ["y", 1.0]]
    assert table.repeats[["rater", "repeat", "rating"]].to_numpy().tolist() == [["x", 2, 4.0], ["x", 3, 3.0]]


def test_who_rates_again_does_not_count_twice_in_the_combined_rating(tmp_path: Path) -> None:
    # x said 1, 4 and 3: their median is 3; with y's 1 that is 2
    assert read(tmp_path, REPEATED, **REPEATS).ratings.loc[0, "monopitch"] == 2.0


def test_a_repeated_rating_changes_the_hash_of_the_table(tmp_path: Path) -> None:
    first, other = (read(tmp_path, text, **REPEATS) for text in (REPEATED, REPEATED.replace(",4,10", ",3,10")))

    assert first.ratings.equals(other.ratings)
    assert first.content_hash() != other.content_hash()
    assert first.row_hashes() != other.row_hashes()


def test_repeats_of_one_day_are_refused_as_a_slip(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="rater 'x', trait 'monopitch' in rows 2, 3. Keep one of each."):
        read(tmp_path, REPEATED.replace(",9", ",10"), **REPEATS)


def test_a_table_leaves_out_the_repeats_of_recordings_that_it_leaves_out(tmp_path: Path) -> None:
    assert read(tmp_path, REPEATED, **REPEATS).select([False]).repeats.empty
