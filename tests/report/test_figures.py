"""The figures of the report as matplotlib and as SVG."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lalia.measures.discrimination import average_precision
from lalia.report.curves import Band, Bins
from lalia.report.figures import (
    Comparison,
    Estimate,
    plot_bland_altman,
    plot_calibration,
    plot_confusion,
    plot_coverage,
    plot_groups,
    plot_headline,
    plot_heat_maps,
    plot_history,
    plot_layer_weights,
    plot_levels,
    plot_net_benefit,
    plot_precision_recall,
    plot_roc,
    plot_scores,
)
from lalia.report.svg import BLUE, to_svg, write_svg


def texts(figure: Figure) -> list[str]:
    svg = to_svg(figure, prefix="a", alternative="a figure")
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def points(figure: Figure, label: str) -> list[tuple[float, float]]:
    line = next(line for line in figure.axes[0].lines if line.get_label() == label)
    return [(float(x), float(y)) for x, y in line.get_xydata()]


def test_svg_has_neither_address_nor_date_nor_style_for_the_page() -> None:
    svg = to_svg(plot_layer_weights([0.4, 0.6]), prefix="a", alternative="two weights")
    assert "://" not in svg
    assert "<metadata" not in svg
    assert "<style" not in svg
    assert 'role="img" aria-label="two weights"' in svg


def test_svg_of_the_same_numbers_is_the_same() -> None:
    first, second = (to_svg(plot_layer_weights([0.4, 0.6]), prefix="a", alternative="") for _ in range(2))
    assert first == second


def test_svg_ids_bear_the_prefix() -> None:
    one, two = (to_svg(plot_layer_weights([0.4, 0.6]), prefix=prefix, alternative="") for prefix in ("one", "two"))
    ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, two)]
    assert all(name.startswith("one-") for name in ids[0])
    assert not ids[0] & ids[1]


def test_svg_lets_the_page_choose_colours_and_fonts() -> None:
    svg = to_svg(plot_layer_weights([0.4, 0.6]), prefix="a", alternative="")
    assert f"fill: var(--blue, {BLUE})" in svg
    assert "font-family" not in svg


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    def settings() -> dict[str, object]:
        # the backend is chosen when it is first asked for
        return {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"}

    before = settings()
    to_svg(plot_layer_weights([0.4, 0.6]), prefix="a", alternative="")
    assert settings() == before


@pytest.mark.parametrize("name", ["$x_1$ and $", "<b>&\"'", "\u4e2d\u6587", "\\alpha"])
def test_names_are_drawn_as_they_are_written(name: str) -> None:
    rows = [Comparison(name, Estimate(0.7), Estimate(0.6), Estimate(None))]
    assert name in texts(plot_headline(rows, label="AUC", limits=(0.4, 1.0), chance=0.5))


def test_characters_that_xml_forbids_are_replaced() -> None:
    svg = to_svg(plot_confusion(np.eye(2), ["a\x00\x0b", "b"]), prefix="a", alternative="\x1b")
    assert "a\ufffd\ufffd" in svg


def test_headline_draws_what_is_defined_and_says_what_is_not() -> None:
    rows = [
        Comparison("hoarse", Estimate(0.8, 0.7, 0.9), Estimate(0.6), Estimate(0.95)),
        Comparison("breathy", Estimate(None), Estimate(None), Estimate(None)),
    ]
    figure = plot_headline(rows, label="AUC", limits=(0.4, 1.0), chance=0.5)
    assert points(figure, "model") == [(0.8, 0.0)]
    assert points(figure, "duration") == [(0.6, 0.0)]
    assert points(figure, "raters") == [(0.95, 0.0)]
    assert texts(figure).count("undefined") == 1


def test_history_draws_a_line_per_column() -> None:
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [1.1, 0.9]})
    figure = plot_history(history, {"train_loss": "training", "validation_loss": "validation"}, label="loss")
    assert points(figure, "training") == [(1.0, 1.0), (2.0, 0.5)]
    assert points(figure, "validation") == [(1.0, 1.1), (2.0, 0.9)]


@pytest.mark.parametrize(("rates", "named"), [([1e-3, 2e-4, 0.0], ["10⁻⁴", "10⁻²"]), ([0.0, 0.0, 0.0], [])])
def test_logarithmic_history_names_powers_of_ten(rates: list[float], named: list[str]) -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3], "learning_rate": rates})
    figure = plot_history(history, {"learning_rate": "head"}, label="learning rate", logarithmic=True)
    powers = [text for text in texts(figure) if text.startswith("10") and len(text) > 2]
    assert [text for text in powers if text in named] == named


def test_scores_are_drawn_as_points_only_where_they_are_few() -> None:
    few = plot_scores([0, 1, 1], [1.0, 2.0, 2.5], ["1", "2"], label="score")
    many = plot_scores(np.arange(401) % 2, np.linspace(1, 2, 401), ["1", "2"], label="score")
    assert len(few.axes[0].lines[0].get_ydata()) == 3
    assert all(len(line.get_ydata()) < 401 for line in many.axes[0].lines)


def test_level_without_recordings_keeps_its_place() -> None:
    figure = plot_scores([0, 2], [1.0, 3.0], ["1", "2", "3"], label="score")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "2", "3"]


def test_roc_goes_through_the_points_counted_by_hand() -> None:
    figure = plot_roc([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9], operating_point=(0.5, 1.0))
    curve = {(float(x), float(y)) for x, y in figure.axes[0].lines[1].get_xydata()}
    assert {(0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)} <= curve
    assert figure.axes[0].lines[2].get_xydata().tolist() == [[0.5, 1.0]]


def test_confusion_shows_every_count() -> None:
    figure = plot_confusion([[5, 1], [0, 7]], ["absent", "present"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["5", "1", "0", "7"]


def test_a_heat_map_shows_every_value_and_frames_the_largest_of_each_row(tmp_path) -> None:
    values = pd.DataFrame({"0": [0.6, 0.7], "last": [0.8, np.nan]}, index=["breathy", "slow"])
    figure = plot_heat_maps({"AUC": values, "Spearman": values - 0.5}, chance={"AUC": 0.5, "Spearman": 0.0})
    assert {"AUC", "Spearman", "breathy", "slow", "0", "last", ".60", ".70", ".80", "–", ".10"} <= set(texts(figure))
    framed = [box.get_xy() for box in figure.axes[0].patches if not box.get_fill()]
    assert [(round(x), round(y)) for x, y in framed] == [(1, 0), (0, 1)]
    write_svg(figure, tmp_path / "map.svg")
    assert ElementTree.parse(tmp_path / "map.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_roc_curve_goes_through_the_raters_and_has_its_band():
    band = Band(np.array([0.0, 1.0]), np.array([0.2, 0.9]), np.array([0.6, 1.0]))
    axes = plot_roc([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9], band=band, raters=(0.8, 0.9)).axes[0]
    (raters,) = [line for line in axes.lines if line.get_label() == "raters"]
    assert raters.get_xydata().round(9).tolist() == [[0, 0], [0.2, 0.9], [1, 1]]
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert [0.0, 0.2] in corners
    assert [1.0, 1.0] in corners


def test_precision_is_drawn_in_steps_from_the_strictest_threshold():
    axes = plot_precision_recall([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9], raters=0.75).axes[0]
    guess, curve, raters = axes.lines
    assert list(guess.get_ydata()) == [0.5, 0.5]
    # one of one, one of two, two of three are right; everybody called present is two of four
    assert list(zip(curve.get_xdata()[::-1], curve.get_ydata()[::-1].round(3), strict=True)) == [
        (0.0, 1.0),
        (0.5, 1.0),
        (0.5, 0.5),
        (1.0, 0.667),
        (1.0, 0.5),
    ]
    # drawn from right to left, the height of a threshold holds down to the sensitivity of the next stricter one
    assert curve.get_drawstyle() == "steps-post"
    assert list(raters.get_ydata()) == [0.75, 0.75]


def test_area_below_the_drawn_precision_is_the_average_precision():
    rng = np.random.default_rng(0)
    present, probability = rng.random(40) < 0.4, rng.random(40).round(1)
    curve = plot_precision_recall(present, probability).axes[0].lines[1]
    recall, precision = curve.get_xdata(), curve.get_ydata()
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(float(average_precision(present, probability)))


def test_calibration_draws_the_share_over_the_probability_with_its_interval():
    values = [np.array(each) for each in ([0.2, 0.7], [0.1, 0.8], [0.0, 0.6], [0.3, 1.0], [5, 5])]
    axes = plot_calibration(Bins(*values), [0.2, 0.7], threshold=0.4).axes[0]
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    assert [[0.2, 0.1], [0.7, 0.8]] in drawn
    assert [[0.2, 0.0], [0.2, 0.3]] in drawn
    assert drawn[1] == [[0.4, 0.0], [0.4, 1.0]]


def test_agreement_draws_differences_bias_limits_and_those_of_raters():
    limits = (Estimate(-1.2, -1.4, -1.0), Estimate(1.0))
    axes = plot_bland_altman([1, 3], [2, 2.5], bias=Estimate(0.25), limits=limits, raters=(-0.9, 0.8)).axes[0]
    dots = next(line for line in axes.lines if line.get_linestyle() == "None")
    assert dots.get_xydata().tolist() == [[1.5, 1.0], [2.75, -0.5]]
    heights = [float(line.get_ydata()[0]) for line in axes.lines if line is not dots]
    assert heights == [0.0, 0.25, -1.2, 1.0, -0.9, 0.8]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["bias", "limits", "raters"]


@pytest.mark.parametrize(("n", "drawn"), [(400, 400), (401, 201), (0, 0)])
def test_agreement_draws_not_too_many_points(n, drawn):
    none = Estimate(None)
    axes = plot_bland_altman(np.ones(n), np.ones(n), bias=none, limits=(none, none)).axes[0]
    assert len(axes.lines[1].get_xdata()) == drawn


def test_coverage_draws_the_rule_in_use():
    axes = plot_coverage([0.5, 1.0], [0.1, 0.2], operating_point=(0.7, 0.15)).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 0.1], [1.0, 0.2]]
    assert axes.lines[1].get_xydata().tolist() == [[0.7, 0.15]]


def test_groups_and_levels_are_drawn_from_top_to_bottom():
    rows = [("sex: female", Estimate(0.8, 0.7, 0.9)), ("sex: male", Estimate(None))]
    axes = plot_groups(rows, label="AUC", whole=0.75, limits=(0.4, 1.0)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["sex: female", "sex: male"]
    assert [line.get_xydata().tolist() for line in axes.lines][1:] == [[[0.7, 0], [0.9, 0]], [[0.8, 0]]]
    bars = plot_levels({"a, train": [3, 1], "a, test": [2, 0]}, ["1", "2"]).axes[0].patches
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 3), (0, 2), (3, 1), (2, 0)]


def test_headline_draws_covariates_too():
    rows = [Comparison("hoarse", Estimate(0.8), Estimate(0.6), Estimate(0.95), Estimate(0.55))]
    assert points(plot_headline(rows, label="AUC", limits=(0.4, 1.0), chance=0.5), "covariates") == [(0.55, 0.0)]


def test_net_benefit_stands_beside_acting_on_everybody():
    axes = plot_net_benefit([0.1, 0.5], [0.3, 0.2], [0.25, -0.4]).axes[0]
    assert [line.get_label() for line in axes.lines[1:]] == ["model", "everybody"]
    assert axes.lines[1].get_xydata().tolist() == [[0.1, 0.3], [0.5, 0.2]]
    assert axes.get_ylim()[0] > -0.4
