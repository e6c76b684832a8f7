"""The figures of a run as files, and from Python."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lalia.report.figures import plot_history, plot_layer_weights
from lalia.report.page import write_report
from lalia.report.pdf import write_pdfs
from lalia.report.run_figures import draw_figures
from toy_report import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("run") / "run", traits=("hoarse_harsh", "$x_1$/../é"), report={})
    settings = folder / "config.yaml"
    settings.write_text(settings.read_text().replace("figures: []", "figures: [svg, pdf]"))
    write_report(folder)
    return folder


def test_every_figure_is_there_as_svg_and_pdf(run):
    names = {path.stem for path in (run / "figures").iterdir()}
    assert names == set(draw_figures(run))
    assert {f"{name}.{kind}" for name in names for kind in ("svg", "pdf")} == {
        path.name for path in (run / "figures").iterdir()
    }
    assert {"loss", "rates", "layer-mix", "levels", "trait-1-hoarse-harsh-roc", "trait-2-x-1-roc"} <= names


def test_figures_come_as_matplotlib_has_them(run):
    figures = draw_figures(run)
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert [line.get_label() for line in figures["loss"].axes[0].lines[:2]] == ["training", "validation"]


def test_files_hold_their_fonts_as_outlines_that_publishers_take(run):
    for path in (run / "figures").glob("*.pdf"):
        content = path.read_bytes()
        assert b"/FontFile2" in content, path.name
        assert b"/Type3" not in content, path.name
        assert b"DejaVuSans" in content
        assert b"CreationDate" not in content


def test_svg_files_stand_on_white_and_name_no_date(run):
    for path in (run / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        text = path.read_text()
        assert "fill: #ffffff" in text
        assert "dc:date" not in text


def test_writing_again_gives_the_same_bytes(run):
    before = {path: path.read_bytes() for path in (run / "figures").iterdir()}
    write_report(run)
    assert {path: path.read_bytes() for path in (run / "figures").iterdir()} == before


def test_figures_are_as_wide_as_a_column(run):
    assert {round(figure.get_figwidth(), 1) for figure in draw_figures(run).values()} <= {3.0, 3.6}


def test_writing_a_pdf_changes_neither_the_figure_nor_matplotlib(tmp_path):
    figure = plot_layer_weights([0.4, 0.6])
    fonts = [text.get_fontproperties().get_file() for text in figure.findobj(Text)]
    before = {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"}
    write_pdfs({tmp_path / "a.pdf": figure})
    assert [text.get_fontproperties().get_file() for text in figure.findobj(Text)] == fonts
    assert {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"} == before


def test_names_in_any_script_are_written(tmp_path):
    import pandas as pd

    history = pd.DataFrame({"epoch": [1, 2], "a": [1.0, 2.0], "b": [2.0, 1.0]})
    figure = plot_history(history, {"a": "\u4e2d\u6587 λ", "b": "$x_1$"}, label="é")
    write_pdfs({tmp_path / "a.pdf": figure})
    assert re.match(rb"%PDF-1\.\d", (tmp_path / "a.pdf").read_bytes())
