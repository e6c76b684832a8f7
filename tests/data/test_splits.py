"""Parts: stratified, speaker-disjoint, the same on any order of rows, refused where they do not fit."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from lalia.data.splits import PARTS, Split, read_given_parts, read_split, split_inner, split_speakers, write_split
from lalia.data.stratify import level_presence, part_sizes, stratify
from lalia.data.table import Flow, RecordingTable
from lalia.errors import SplitError
from lalia.scale import Scale
from lalia.settings import ColumnSplit, FileSplit, FoldSplit, RandomSplit

SCALE = Scale((1.0, 2.0, 3.0, 4.0), present_from=2.0)
NAN = float("nan")


def make_table(speakers, given_part=None, **ratings):
    """Make a table with one recording per entry of ``speakers``, with ids r00, r01, ..."""
    recordings = pd.DataFrame({"recording": [f"r{row:02}" for row in range(len(speakers))], "speaker": list(speakers)})
    if given_part is not None:
        recordings["given_part"] = given_part
    ratings = pd.DataFrame({trait: np.asarray(values, dtype=float) for trait, values in ratings.items()})
    return make_from_frames(recordings, ratings)


def make_from_frames(recordings, ratings):
    raters = pd.DataFrame({"recording": [], "rater": [], "trait": [], "rating": []})
    flow = Flow(len(recordings), recordings["speaker"].nunique(), (), pd.DataFrame(), ())
    return RecordingTable(recordings, ratings, raters, SCALE, flow)


def make_corpus(n_speakers=40, per_speaker=3, seed=0):
    """Make a table in which three traits have rare levels, and a fifth of the ratings is missing."""
    generator = np.random.default_rng(seed)
    speakers = np.repeat([f"s{number:03}" for number in range(n_speakers)], per_speaker)
    severity = np.repeat(generator.normal(size=n_speakers), per_speaker)
    ratings = {
        trait: np.clip(np.round(1.3 + severity + generator.normal(scale=0.7, size=len(speakers))), 1, 4)
        for trait in ("breathy", "hoarse", "slow")
    }
    for values in ratings.values():
        values[generator.random(len(values)) < 0.2] = NAN
    return make_table(speakers, **ratings)


def part_of_speaker(split):
    return split.parts.groupby("speaker")["part"].first()


# --- random parts -----------------------------------------------------------------------------------------------------


def test_split_keeps_each_speaker_in_one_part():
    split = split_speakers(make_corpus(), RandomSplit(), seed=1)
    assert split.parts.groupby("speaker")["part"].nunique().tolist() == [1] * 40


def test_sizes_count_speakers_not_recordings():
    speakers = ["big"] * 91 + [f"s{number}" for number in range(9)]
    split = split_speakers(make_table(speakers, hoarse=[1] * 100), RandomSplit(train=0.5, validation=0.2, test=0.3), 0)
    assert part_of_speaker(split).value_counts().to_dict() == {"train": 5, "test": 3, "validation": 2}


def test_proportions_that_floats_cannot_add_are_taken_as_meant():
    split = split_speakers(make_corpus(10), RandomSplit(train=0.7, validation=0.2, test=0.1), seed=0)
    assert part_of_speaker(split).value_counts().to_dict() == {"train": 7, "validation": 2, "test": 1}


def test_the_same_seed_gives_the_same_parts_on_any_order_of_rows_and_traits():
    table = make_corpus()
    order = np.random.default_rng(3).permutation(len(table.recordings))
    shuffled = make_from_frames(
        table.recordings.iloc[order].reset_index(drop=True),
        table.ratings.iloc[order, ::-1].reset_index(drop=True),
    )
    first, second = (split_speakers(rows, RandomSplit(), seed=5) for rows in (table, shuffled))
    assert first.to_csv() == second.to_csv()
    assert first.sha256 == second.sha256


def test_each_seed_gives_other_parts():
    table = make_corpus()
    assert len({split_speakers(table, RandomSplit(), seed).sha256 for seed in range(20)}) == 20


def test_a_part_with_share_0_is_empty_and_any_other_has_a_speaker():
    split = split_speakers(make_corpus(20), RandomSplit(train=0.99, validation=0.0, test=0.01), seed=0)
    assert part_of_speaker(split).value_counts().to_dict() == {"train": 19, "test": 1}


def test_too_few_speakers_for_the_parts_are_refused():
    table = make_table(["a", "a", "b"], hoarse=[1, 2, 3])
    with pytest.raises(SplitError, match=r"Too few speakers: 2 for 3 parts \(train, validation, test\)\. Add speakers"):
        split_speakers(table, RandomSplit(), seed=0)


def test_three_speakers_fill_three_parts():
    split = split_speakers(make_table("abc", hoarse=[1, 2, 3]), RandomSplit(), seed=0)
    assert set(split.parts["part"]) == set(PARTS)


def test_speakers_without_any_rating_are_dealt_too():
    split = split_speakers(
        make_table("abcdefghij", hoarse=[NAN] * 10), RandomSplit(train=0.6, validation=0.2, test=0.2), seed=0
    )
    assert part_of_speaker(split).value_counts().to_dict() == {"train": 6, "validation": 2, "test": 2}


# --- stratification ---------------------------------------------------------------------------------------------------


def test_level_presence_is_that_of_any_recording_and_missing_is_no_level():
    presence = level_presence(make_table("bba", hoarse=[1, 3, NAN]))
    assert list(presence.index) == ["a", "b"]
    assert presence["hoarse"].to_numpy().tolist() == [[False] * 4, [True, False, True, False]]


def test_a_rare_level_reaches_every_part():
    # four of 40 speakers have level 4, and each seed gives train 2 of them, the others 1 each
    table = make_table([f"s{number:02}" for number in range(40)], hoarse=[4] * 4 + [1] * 36)
    for seed in range(10):
        split = split_speakers(table, RandomSplit(train=0.5, validation=0.25, test=0.25), seed)
        assert split.parts["part"][:4].value_counts().to_dict() == {"train": 2, "validation": 1, "test": 1}


def test_stratified_shares_of_levels_deviate_less_than_random_ones():
    presence = level_presence(make_corpus(60)).to_numpy()
    sizes = [42, 9, 9]

    def deviation(dealt):
        shares = np.array([presence[dealt == part].mean(axis=0) for part in range(3)])
        return np.abs(shares - presence.mean(axis=0)).mean()

    generator = np.random.default_rng(0)
    stratified = [deviation(stratify(presence, sizes, generator)) for _ in range(30)]
    random = [deviation(generator.permutation(np.repeat(np.arange(3), sizes))) for _ in range(30)]
    assert np.mean(stratified) < 0.6 * np.mean(random)
    assert max(stratified) < np.mean(random)


def test_stratify_keeps_the_sizes_exactly():
    has_label = np.random.default_rng(0).random((50, 12)) < 0.3
    dealt = stratify(has_label, [31, 12, 7], np.random.default_rng(1))
    assert np.bincount(dealt).tolist() == [31, 12, 7]


@pytest.mark.parametrize("n_speakers", range(3, 40))
def test_part_sizes_add_up_and_leave_no_wanted_part_empty(n_speakers):
    sizes = part_sizes(n_speakers, [0.7, 0.15, 0.15])
    assert sum(sizes) == n_speakers
    assert min(sizes) >= 1


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_a_level_of_few_speakers_is_named_with_the_parts_that_lack_it():
    speakers = [f"s{number:02}" for number in range(20)]
    table = make_table(speakers, hoarse=[4, 4] + [3] * 6 + [2] * 6 + [1] * 6)
    split = split_speakers(table, RandomSplit(train=0.6, validation=0.2, test=0.2), seed=0)
    (warning,) = split.warnings
    assert warning.startswith("trait 'hoarse', level 4: only 2 speakers; none in ")


def test_a_level_that_nobody_has_is_named():
    split = split_speakers(
        make_table("abcdef", hoarse=[1, 1, 2, 2, 3, 3]), RandomSplit(train=1.0, validation=0.0, test=0.0), seed=0
    )
    assert split.warnings == (
        "trait 'hoarse', level 1: only 2 speakers",
        "trait 'hoarse', level 2: only 2 speakers",
        "trait 'hoarse', level 3: only 2 speakers",
        "trait 'hoarse', level 4: no speaker",
    )


# --- a column ---------------------------------------------------------------------------------------------------------


def test_a_column_gives_the_parts_in_any_case_and_under_any_of_their_names():
    given = ["Train", "DEV", "eval", "training", " val ", "Test", "valid", "development"]
    split = split_speakers(make_table("abcdefgh", given, hoarse=[1] * 8), ColumnSplit(column="part"), seed=0)
    expected = ["train", "validation", "test", "train", "validation", "test", "validation", "validation"]
    assert split.parts["part"].tolist() == expected


def test_values_that_are_no_parts_are_listed():
    table = make_table("abc", ["train", "holdout", "Fold1"], hoarse=[1, 2, 3])
    with pytest.raises(SplitError, match=r"Column 'part' has values that are no parts: 'Fold1', 'holdout'\. Known are"):
        split_speakers(table, ColumnSplit(column="part"), seed=0)


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_cell_is_refused_by_its_recording(empty):
    table = make_table("abc", ["train", empty, "test"], hoarse=[1, 2, 3])
    with pytest.raises(SplitError, match=r"Column 'part' names no part for these recordings: r01\. Fill it"):
        split_speakers(table, ColumnSplit(column="part"), seed=0)


def test_a_speaker_in_two_parts_is_refused_by_name():
    table = make_table("aab", ["train", "test", "train"], hoarse=[1, 2, 3])
    with pytest.raises(
        SplitError, match=r"Column 'part' puts speakers into more than one part: 'a' \(train and test\)"
    ):
        split_speakers(table, ColumnSplit(column="part"), seed=0)


def test_without_a_validation_row_training_speakers_become_it_stratified_and_seeded():
    corpus = make_corpus(40)
    given = np.where(corpus.recordings["speaker"] < "s030", "train", "test")
    table = make_from_frames(corpus.recordings.assign(given_part=given), corpus.ratings)
    splits = [split_speakers(table, ColumnSplit(column="part", validation=0.2), seed) for seed in (1, 1, 2)]
    parts = part_of_speaker(splits[0])
    assert parts.value_counts().to_dict() == {"train": 24, "test": 10, "validation": 6}
    assert set(parts["s030":]) == {"test"}
    assert splits[0].sha256 == splits[1].sha256 != splits[2].sha256


def test_no_validation_is_carved_out_where_none_is_asked_for():
    table = make_table("abc", ["train", "train", "test"], hoarse=[1, 2, 3])
    split = split_speakers(table, ColumnSplit(column="part", validation=0.0), seed=0)
    assert split.parts["part"].tolist() == ["train", "train", "test"]


def test_a_column_without_training_rows_is_refused():
    table = make_table("ab", ["test", "dev"], hoarse=[1, 2])
    with pytest.raises(SplitError, match="Column 'part' puts no recording into train"):
        split_speakers(table, ColumnSplit(column="part"), seed=0)


def test_a_single_training_speaker_cannot_give_a_validation_part():
    table = make_table("ab", ["train", "test"], hoarse=[1, 2])
    with pytest.raises(SplitError, match=r"Too few speakers: 1 for 2 parts \(train, validation\)"):
        split_speakers(table, ColumnSplit(column="part"), seed=0)


# --- folds ------------------------------------------------------------------------------------------------------------


def test_every_speaker_is_in_one_fold_and_the_folds_do_not_depend_on_the_one_tested_on():
    splits = [split_speakers(make_corpus(), FoldSplit(folds=4, fold=fold), seed=3) for fold in (1, 2, 3, 4)]
    for first, second in pairwise(splits):
        pd.testing.assert_series_equal(first.parts["fold"], second.parts["fold"])
    for fold, split in enumerate(splits, start=1):
        assert set(split.parts.loc[split.parts["part"] == "test", "fold"]) == {fold}
    assert splits[0].parts.groupby("speaker")["fold"].nunique().tolist() == [1] * 40
    assert splits[0].parts.groupby("fold")["speaker"].nunique().tolist() == [10, 10, 10, 10]


def test_folds_carve_their_validation_part_out_of_the_others():
    split = split_speakers(make_corpus(), FoldSplit(folds=4, fold=2, validation=0.2), seed=3)
    assert part_of_speaker(split).value_counts().to_dict() == {"train": 24, "test": 10, "validation": 6}


def test_levels_have_their_share_in_every_fold():
    table = make_table([f"s{number:02}" for number in range(30)], hoarse=[4] * 5 + [2] * 10 + [1] * 15)
    parts = split_speakers(table, FoldSplit(folds=5), seed=0).parts
    assert parts["fold"][:5].value_counts().tolist() == [1] * 5
    assert parts["fold"][5:15].value_counts().tolist() == [2] * 5


def test_more_folds_than_speakers_are_refused():
    with pytest.raises(SplitError, match="Too few speakers: 3 for 5 folds"):
        split_speakers(make_table("abc", hoarse=[1, 2, 3]), FoldSplit(), seed=0)


def test_with_all_folds_every_recording_is_tested_in_the_fold_that_tests_it_alone():
    everything = split_speakers(make_corpus(), FoldSplit(folds=4), seed=3).parts
    assert set(everything["part"]) == {"test"}
    alone = split_speakers(make_corpus(), FoldSplit(folds=4, fold=2), seed=3).parts
    assert alone.loc[alone["part"] == "test", "recording"].tolist() == (
        everything.loc[everything["fold"] == 2, "recording"].tolist()
    )


def test_a_level_that_a_fold_lacks_is_told():
    table = make_table("abcdef", hoarse=[1, 1, 1, 1, 4, 4])
    warnings = split_speakers(table, FoldSplit(folds=3), seed=0).warnings
    assert any(each.startswith("trait 'hoarse', level 4: only 2 speakers; none in fold ") for each in warnings)


def test_inner_folds_hold_out_each_speaker_once():
    table = make_corpus()
    splits = split_inner(table, 4, seed=3)
    assert len(splits) == 4
    held_out = pd.concat([split.parts[split.parts["part"] == "validation"] for split in splits])
    assert sorted(held_out["recording"]) == sorted(table.recordings["recording"])
    for split in splits:
        of_part = split.parts.groupby("part")["speaker"].agg(set)
        assert not of_part["train"] & of_part["validation"]
    with pytest.raises(SplitError, match=r"Too few speakers: 40 for 41 folds. Add speakers, or lower split.inner"):
        split_inner(table, 41, seed=3)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_written_split_reads_back_the_same(tmp_path):
    table = make_corpus()
    split = split_speakers(table, FoldSplit(), seed=0)
    write_split(split, tmp_path / "split.csv")
    back = split_speakers(table, FileSplit(path=str(tmp_path / "split.csv"), sha256=split.sha256), seed=99)
    pd.testing.assert_frame_equal(back.parts, split.parts, check_dtype=False)
    assert back.warnings == split.warnings
    assert back.sha256 == split.sha256
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]


def test_ids_stay_text_in_the_file(tmp_path):
    ids = ["007", "1e5", "NA", "a,b", 'q"q', "ü"]
    parts = pd.DataFrame({"recording": ids, "speaker": ids, "part": ["train"] * 6})
    write_split(Split(parts), tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv").parts["recording"].tolist() == ids


def write_rows(folder, *rows):
    (folder / "split.csv").write_text("\n".join(["recording,speaker,part", *rows]) + "\n", encoding="utf-8")
    return folder / "split.csv"


def test_a_changed_file_is_refused_by_its_hash(tmp_path):
    path = write_rows(tmp_path, "r00,a,train")
    with pytest.raises(SplitError, match=r"split\.csv has changed: its sha256 is [0-9a-f]{64}, expected 00ff"):
        read_split(path, sha256="00ff")


def test_a_speaker_in_two_parts_of_a_file_is_refused(tmp_path):
    path = write_rows(tmp_path, "r00,a,train", "r01,a,test")
    with pytest.raises(SplitError, match=r"split\.csv puts speakers into more than one part: 'a' \(train and test\)"):
        read_split(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["r00,a,dev"], r"split\.csv has unknown parts: 'dev'\. Known are train, validation, test"),
        (["r00,a,train", "r00,a,train"], r"split\.csv names recordings twice: r00"),
        (["r00,a,train,x,y", "r01,a,train"], r"split\.csv"),
    ],
)
def test_rows_that_are_no_parts_are_refused(tmp_path, rows, message):
    with pytest.raises(SplitError, match=message):
        read_split(write_rows(tmp_path, *rows))


@pytest.mark.parametrize("text", ["", "id,part\n1,train\n", "\x00\x01"])
def test_a_file_that_is_no_split_is_refused(tmp_path, text):
    (tmp_path / "split.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SplitError, match=r"split\.csv is not a split"):
        read_split(tmp_path / "split.csv")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SplitError, match=r"Cannot read the split '.*none\.csv'"):
        read_split(tmp_path / "none.csv")


def test_a_split_that_no_longer_fits_the_table_is_refused(tmp_path):
    path = write_rows(tmp_path, "r00,a,train", "r01,x,test", "r08,c,test", "r09,c,test")
    with pytest.raises(
        SplitError,
        match=r"does not fit the data: 1 recordings of the table that it lacks \(r02\); 2 recordings that the table "
        r"lacks \(r08, r09\); 1 recordings of which the speaker has changed \(r01\)\. Make it again",
    ):
        read_split(path, make_table("abc", hoarse=[1, 2, 3]))


def test_part_of_answers_in_the_order_asked_and_refuses_strangers(tmp_path):
    split = read_split(write_rows(tmp_path, "r00,a,train", "r01,b,test"))
    assert split.part_of(["r01", "r00", "r01"]).tolist() == ["test", "train", "test"]
    with pytest.raises(SplitError, match="no part for these recordings: r07"):
        split.part_of(["r00", "r07"])


# --- parts as they were given, for the audit --------------------------------------------------------------------------


def test_given_parts_may_divide_a_speaker_and_leave_out_what_is_no_part():
    table = make_table("aabc", ["train", "Test", "dev", "spare"], hoarse=[1] * 4)
    found = read_given_parts(table, ColumnSplit(column="part"))
    assert found.to_numpy().tolist() == [
        ["r00", "a", "train"],
        ["r01", "a", "test"],
        ["r02", "b", "validation"],
    ]


def test_given_parts_of_a_file_are_those_of_the_tables_speakers(tmp_path):
    (tmp_path / "split.csv").write_text("recording,speaker,part\nr01,old,test\nr00,old,train\nr09,x,test\n")
    found = read_given_parts(make_table("ab", hoarse=[1, 2]), FileSplit(path=str(tmp_path / "split.csv")))
    assert found.to_numpy().tolist() == [["r00", "a", "train"], ["r01", "b", "test"]]


def test_a_split_that_is_made_gives_no_parts_and_an_unreadable_file_is_named(tmp_path):
    table = make_table("ab", hoarse=[1, 2])
    assert read_given_parts(table, RandomSplit()).empty
    with pytest.raises(SplitError, match=r"Cannot read the split '.*gone\.csv'"):
        read_given_parts(table, FileSplit(path=str(tmp_path / "gone.csv")))
