import pandas as pd
import pytest

from lalia.data.ratings import combine_ratings, find_ratings, read_ratings
from lalia.settings import DataSettings, LongRaters, ScaleSettings


def cells_of(**columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(columns, dtype=object)
    return frame.set_axis(pd.RangeIndex(2, len(frame) + 2, name="row"))


def settings(**data: object) -> DataSettings:
    return DataSettings.model_validate({"metadata": "m.csv", **data})


def read_column(texts: list[str], **scale: object) -> tuple[list[float], list[tuple[str, str]], list[str]]:
    """Read one column of ratings: the ratings, the excluded values with their reasons, the problems."""
    cells = cells_of(recording=[f"r{n}" for n in range(len(texts))], trait=texts)
    found = find_ratings(cells, settings(traits=["trait"]), ["recording"])
    ratings, excluded, problems = read_ratings(found.cells, ScaleSettings.model_validate(scale))
    return list(ratings["rating"]), list(zip(excluded["value"], excluded["reason"], strict=True)), problems


def combine(ratings: list[float], how: str) -> float:
    given = pd.DataFrame({"recording": "a", "rater": range(len(ratings)), "trait": "t", "rating": ratings})
    return float(combine_ratings(given, pd.Series(["a"]), ["t"], how).loc[0, "t"])


# --- the scale --------------------------------------------------------------------------------------------------------


def test_levels_are_compared_as_numbers() -> None:
    assert read_column(["1", "2.0", "+4", "4e0", "02", ".2e1"])[0] == [1, 2, 4, 4, 2, 2]


def test_an_empty_cell_is_missing_and_not_listed() -> None:
    assert read_column(["1", ""]) == ([1], [], [])


def test_missing_codes_are_listed_with_the_code() -> None:
    ratings, excluded, problems = read_column(["1", "-1", "-1.0", "6", "n/a"], missing=[-1, 6, "n/a"])

    assert ratings == [1]
    assert excluded == [
        ("-1", "missing code -1"),
        ("-1.0", "missing code -1"),
        ("6", "missing code 6"),
        ("n/a", "missing code n/a"),
    ]
    assert not problems


def test_text_codes_are_case_sensitive() -> None:
    assert read_column(["NA", "na"], missing=["NA"])[2] == [
        "column 'trait': 1 rating outside 1-4 (row 3: na). If 'na' means \"not rated\", add it to data.scale.missing"
    ]


def test_a_recoded_value_becomes_a_level_and_is_listed() -> None:
    assert read_column(["1.5", "1.50"], recode={1.5: 1}) == (
        [1, 1],
        [("1.5", "recoded to 1"), ("1.50", "recoded to 1")],
        [],
    )


def test_a_rating_outside_the_scale_is_named_with_its_rows() -> None:
    assert read_column(["1", "6.0", "2", "6.0"])[2] == [
        "column 'trait': 2 ratings outside 1-4 (rows 3, 5: 6.0). If 6 means \"not rated\", add it to "
        "data.scale.missing; if a level, to data.scale.recode"
    ]


def test_the_levels_of_an_uneven_scale_are_listed() -> None:
    (problem,) = read_column(["9", "x"], levels=[0, 0.5, 2], present_from=2)[2]

    assert problem == (
        "column 'trait': 2 ratings outside 0, 0.5, 2 (row 2: 9, row 3: x). "
        "If 9, 'x' mean \"not rated\", add them to data.scale.missing"
    )


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "٣", "0x1", "NaN", "1 2", "--1"])
def test_what_only_python_takes_for_a_number_is_refused(text: str) -> None:
    assert "1 rating outside 1-4" in read_column([text], levels=[1, 2, 3, 4])[2][0]


def test_a_decimal_comma_is_refused_with_what_to_do() -> None:
    assert read_column(["1,5"], recode={1.5: 1})[2] == [
        "column 'trait': 1 rating outside 1-4 (row 2: 1,5). Write decimals with a point"
    ]


def test_each_column_has_its_own_problem() -> None:
    cells = cells_of(id=["r"], a=["8"], b=["9"])
    found = find_ratings(cells, settings(traits=["a", "b"], columns={"recording": "id"}), ["id"])

    problems = read_ratings(found.cells, ScaleSettings())[2]

    assert [problem.split(":")[0] for problem in problems] == ["column 'a'", "column 'b'"]


# --- which columns ----------------------------------------------------------------------------------------------------


def test_the_trait_of_a_rater_column_is_as_long_as_it_can_be() -> None:
    columns = {name: ["1"] for name in ("recording", "slow_rate", "slow_rate_r1", "slow_rate_r2", "slow_r1")}

    found = find_ratings(cells_of(**columns), settings(raters="{trait}_r{rater}"), ["recording"])

    assert found.traits == ("slow_rate", "slow")
    assert found.cells[["trait", "rater", "column"]].to_numpy().tolist() == [
        ["slow_rate", "1", "slow_rate_r1"],
        ["slow_rate", "2", "slow_rate_r2"],
        ["slow", "1", "slow_r1"],
    ]


def test_a_column_that_fits_the_pattern_by_chance_is_no_trait() -> None:
    cells = cells_of(recording=["a"], x_r1=["1"], x_r2=["1"], y_r1=["1"], sample_rate=["16000"])

    assert find_ratings(cells, settings(raters="{trait}_r{rater}"), ["recording"]).traits == ("x", "y")


def test_a_single_column_of_a_single_rater_is_a_trait() -> None:
    cells = cells_of(recording=["a"], x_r1=["1"])

    assert find_ratings(cells, settings(raters="{trait}_r{rater}"), ["recording"]).traits == ("x",)


def test_a_pattern_may_begin_with_the_rater() -> None:
    cells = cells_of(recording=["a"], **{"anna: slow_rate": ["1"], "ben: slow_rate": ["2"], "note": ["x"]})

    found = find_ratings(cells, settings(raters="{rater}: {trait}"), ["recording"])

    assert found.traits == ("slow_rate",)
    assert list(found.cells["rater"]) == ["anna", "ben"]


def test_only_the_traits_of_the_settings_are_taken_in_their_order() -> None:
    cells = cells_of(recording=["a"], x_r1=["1"], y_r1=["2"], z_r1=["3"])

    found = find_ratings(cells, settings(raters="{trait}_r{rater}", traits=["z", "x"]), ["recording"])

    assert found.traits == ("z", "x")
    assert set(found.cells["trait"]) == {"x", "z"}


def test_a_trait_without_a_column_names_the_nearest() -> None:
    cells = cells_of(recording=["a"], monopitch=["1"], slow_rate_r1=["1"])

    wide = find_ratings(cells, settings(traits=["monopich"]), ["recording"])
    per_rater = find_ratings(cells, settings(traits=["slow_rat"], raters="{trait}_r{rater}"), ["recording"])

    assert wide.problems == ("data.traits: 'monopich' is not a column. Did you mean 'monopitch'?",)
    assert per_rater.problems == (
        "data.traits: no column of 'slow_rat' fits data.raters '{trait}_r{rater}'. Did you mean 'slow_rate'?",
    )


def test_a_pattern_that_fits_nothing_lists_the_columns() -> None:
    found = find_ratings(cells_of(recording=["a"], x=["1"]), settings(raters="{trait}_r{rater}"), ["recording"])

    assert found.problems == (
        "data.raters: no column fits the pattern '{trait}_r{rater}'. The columns are recording, x",
    )


def test_without_traits_the_columns_that_fit_the_scale_are_listed() -> None:
    cells = cells_of(recording=["1"], age=["44"], x=["1"], y=["-1"], empty=[""], sex=["m"])

    found = find_ratings(cells, settings(scale={"missing": [-1]}), ["recording"])

    assert found.problems == ("data.traits is empty. Columns that fit data.scale: x, y",)


def test_without_traits_and_without_candidates_the_columns_are_listed() -> None:
    found = find_ratings(cells_of(recording=["a"], age=["44"]), settings(), ["recording"])

    assert found.problems == (
        "data.traits is empty, and no column has only ratings of data.scale. The columns are recording, age",
    )


def test_a_long_table_gives_its_traits_by_name() -> None:
    cells = cells_of(recording=["a", "a"], who=["1", ""], what=["y", "x"], value=["2", ""])
    raters = LongRaters(column="who", trait="what", rating="value")

    found = find_ratings(cells, settings(raters=raters), ["recording"])

    assert found.traits == ("x", "y")
    assert found.cells.to_numpy().tolist() == [["a", "1", "y", "2", "value"]]
    assert not found.problems


def test_a_long_table_says_what_is_wrong_with_it() -> None:
    cells = cells_of(recording=["a", "a", "b"], rater=["1", "1", "1"], trait=["x", "x", ""], rating=["1", "2", "3"])

    found = find_ratings(cells, settings(raters={"column": "rater"}, traits=["x", "pitch"]), ["recording"])

    assert found.problems == (
        "data.traits: 'pitch' is not in the column 'trait'.",
        "column 'trait': a rating without a trait in row 4",
        "ratings that stand more than once: recording 'a', rater '1', trait 'x' in rows 2, 3. Keep one of each, "
        "or name the column that tells a rater's repeats apart in data.raters.repeat",
    )


def test_a_long_table_without_its_columns_names_the_nearest() -> None:
    cells = cells_of(recording=["a"], rater=["1"], traits=["x"], rating=["1"])

    found = find_ratings(cells, settings(raters={"column": "rater"}), ["recording"])

    assert found.problems == ("data.raters.trait: 'trait' is not a column. Did you mean 'traits'?",)


# --- raters combined --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "ratings", "expected"),
    [
        ("median", [1, 2, 4], 2),
        ("median", [1, 2], 1.5),
        ("mean", [1, 2, 4], 7 / 3),
        ("majority", [4, 4, 1], 4),
        ("majority", [1, 2, 4], 2),
        ("majority", [4, 1], 1),
        ("majority", [4, 1, 3, 3, 4], 3),
        ("majority", [4, 3, 2, 1], 2),
    ],
)
def test_raters_are_combined(how: str, ratings: list[float], expected: float) -> None:
    assert combine(ratings, how) == expected


@pytest.mark.parametrize("how", ["median", "mean", "majority"])
def test_combined_ratings_stand_where_they_belong(how: str) -> None:
    given = pd.DataFrame({"recording": ["b", "a"], "rater": "", "trait": ["x", "y"], "rating": [2.0, 3.0]})

    combined = combine_ratings(given, pd.Series(["a", "b", "c"]), ["x", "y"], how)

    assert combined.fillna(0).to_numpy().tolist() == [[0, 3], [2, 0], [0, 0]]
