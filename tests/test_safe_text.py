"""What names and other texts from elsewhere become in files and on terminals."""

import csv
import io
import json
import logging

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalia.cli import _Printable
from lalia.csv_files import csv_text, read_csv, write_csv
from lalia.files import write_json
from lalia.safe_text import as_cell, from_cell
from lalia.terminal import LineProgress, show_table

# letters of which formulas, escapes and their undoing are made, beside any others
_TEXTS = st.text(st.sampled_from("'=+-@＝;\\x1bu20e \t\r\n\x1b\x9b\u202e\udce9\"a,") | st.characters(), max_size=12)
# a table of pandas holds no halves of characters
_CELLS = _TEXTS.map(lambda text: text.encode(errors="replace").decode())
_HIDDEN = "\x1b]0;owned\x07\x9b2J\u202eb\nError: forged"


@given(_TEXTS)
def test_a_text_comes_back_from_its_cell(text):
    assert from_cell(as_cell(text)) == text


@given(st.lists(st.tuples(_CELLS, _CELLS), min_size=1, max_size=4))
def test_a_table_of_any_text_comes_back_and_holds_no_formula_and_nothing_hidden(rows):
    table = pd.DataFrame(rows, columns=["recording", "=trait"])
    text = csv_text(table)
    pd.testing.assert_frame_equal(read_csv(text.encode()), table, check_dtype=False)
    assert text.count("\n") == len(rows) + 1
    assert not set(text) & set("\x1b\x9b\u202e\r\t")
    for separator in ",;":
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            assert not [cell for cell in row if cell.strip().startswith(tuple("=+-@＝＋－＠"))]


def test_numbers_and_missing_values_stay_what_they_are():
    table = pd.DataFrame(
        {"score": [-1.5, float("nan")], "mixed": pd.Series([-2, None], dtype=object), "is": [True] * 2}
    )
    assert csv_text(table) == "score,mixed,is\n-1.5,-2,True\n,,True\n"


def test_an_id_of_digits_and_one_that_means_missing_elsewhere_stay_text(tmp_path):
    table = pd.DataFrame({"recording": ["007", "NA", "", "O'Neill"]})
    write_csv(table, tmp_path / "table.csv")
    assert list(read_csv(tmp_path / "table.csv")["recording"]) == list(table["recording"])


def test_nothing_hidden_stands_in_a_json_file_and_its_values_are_the_same(tmp_path):
    values = {"reason": _HIDDEN, "name": "Zoë 山田 \udce9"}
    write_json(tmp_path / "values.json", values)
    text = (tmp_path / "values.json").read_text(encoding="utf-8")
    assert text.replace("\n", "").isprintable()
    assert "Zoë 山田" in text
    assert json.loads(text) == values


@pytest.mark.parametrize("show", ["progress", "table", "log"])
def test_names_move_no_cursor_and_begin_no_line_on_a_terminal(capsys, show):
    if show == "progress":
        LineProgress().say(f"Note: {_HIDDEN}")
    elif show == "table":
        show_table(f"[red]{_HIDDEN}", ["", f"[bold]{_HIDDEN}"], [("[link=x]a", _HIDDEN)])
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Printable("%(message)s"))
        handler.emit(logging.LogRecord("lalia.x", logging.WARNING, "", 0, "%s is odd", (_HIDDEN,), None))
    shown = "".join(capsys.readouterr())
    assert "\\x1b]0;owned\\x07\\x9b2J" in shown.replace("\n", "")
    assert all(line.isprintable() for line in shown.split("\n"))
    if show == "table":
        assert "[red]" in shown
        assert "[bold]" in shown
        assert "[link=x]a" in shown
    else:
        assert shown.count("\n") == 1
