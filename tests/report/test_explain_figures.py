"""The figures of what was learned show the numbers that they are given."""

import numpy as np
import pytest

from lalia.report.explain_figures import (
    Sounds,
    plot_attention,
    plot_bands,
    plot_edits,
    plot_occlusion,
    plot_spectrogram,
    plot_weight_change,
)
from lalia.report.svg import to_svg

SOUNDS = Sounds(np.linspace(-60, 0, 64 * 30).reshape(64, 30), 1.5, np.geomspace(60, 7_800, 64))


def test_attention_is_drawn_against_an_even_one():
    figure = plot_attention(SOUNDS, [0.1, 0.2, 0.3, 0.2, 0.2], [np.nan, 0.2, 0.6, 0.6, 1.0])
    below = figure.axes[1]
    (line,) = [line for line in below.lines if len(line.get_xdata()) == 3]
    assert line.get_xdata().tolist() == [0.2, 0.6, 1.0]
    np.testing.assert_allclose(line.get_ydata(), np.array([0.2, 0.5, 0.2]) * 3 / 0.9)
    assert below.get_xlim() == figure.axes[0].get_xlim() == (0, 1.5)


def test_occlusion_is_drawn_where_the_stretch_is_with_its_sign():
    bars = plot_occlusion(SOUNDS, [0, 0.5, 1.5], [0.2, -0.1]).axes[1].patches
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in bars] == [(0, 0.5, 0.2), (0.5, 1.0, -0.1)]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()


def test_bands_weights_and_edits():
    assert [bar.get_height() for bar in plot_bands([0, 200, 900], [0.3, -0.3]).axes[0].patches] == [0.3, -0.3]
    assert [bar.get_height() for bar in plot_weight_change([0, 1], [0.0, 0.02]).axes[0].patches] == [0, 2.0]
    axes = plot_edits(["cut", "<b>"], [0.4, -0.2], [0.1, np.nan], [0.6, np.nan]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["cut", "<b>"]
    assert axes.get_xlim()[1] >= 0.6
    assert plot_edits(["cut"], [np.nan], [np.nan], [np.nan]).axes[0].get_xlim()[1] == 0.1


@pytest.mark.parametrize("level", [-60.0, 0.0])
def test_a_spectrogram_without_contrast_can_be_drawn(level):
    even = SOUNDS._replace(level_db=np.full((64, 1), level))
    assert "<image" in to_svg(plot_spectrogram(even), prefix="x", alternative="nothing")
