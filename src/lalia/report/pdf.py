"""Figures as PDF files whose text stays text: the fonts are embedded as TrueType, which publishers ask for."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from fontTools import subset
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.text import Text

from lalia.files import replacing
from lalia.report.svg import drawn


@drawn
def write_pdfs(figures: Mapping[Path, Figure]) -> None:
    """Write each figure to its path, the same bytes each time; the figures stay as they were.

    Args:
        figures: drawn in the style of ``svg.py``.
    """
    with warnings.catch_warnings():
        # what the font lacks is drawn as an empty box
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with _small_font(list(figures.values())), mpl.rc_context({"pdf.fonttype": 42}):
            for path, figure in figures.items():
                canvas: Any = FigureCanvasPdf(figure)  # its print_pdf is not typed
                with replacing(path) as temporary, temporary.open("wb") as file:
                    canvas.print_pdf(file, metadata={"CreationDate": None, "Creator": None, "Producer": None})


@contextmanager
def _small_font(figures: Sequence[Figure]) -> Iterator[None]:
    """Let the figures' text be of a font that has no more than their characters.

    Matplotlib reads and cuts the whole font anew for every figure, which takes ten times as long as drawing it.
    """
    for figure in figures:
        if figure.stale:  # ticks are made when a figure is first drawn
            figure.draw_without_rendering()
    texts = [text for figure in figures for text in figure.findobj(Text) if isinstance(text, Text)]
    before = [text.get_fontproperties() for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "font.ttf"
        # numbers too: labels of ticks may change while a figure is drawn
        _cut_font(
            Path(findfont("DejaVu Sans")), {*"-.0123456789\u2212", *"".join(text.get_text() for text in texts)}, path
        )
        try:
            for text, properties in zip(texts, before, strict=True):
                changed = properties.copy()
                changed.set_file(str(path))
                text.set_fontproperties(changed)
            yield
        finally:
            for text, properties in zip(texts, before, strict=True):
                text.set_fontproperties(properties)


def _cut_font(source: Path, characters: set[str], target: Path) -> None:
    options = subset.Options(
        layout_features=[], notdef_outline=True, recommended_glyphs=True, hinting=False, recalc_timestamp=False
    )
    options.drop_tables = [*options.drop_tables, "GSUB", "GPOS", "GDEF", "kern", "FFTM"]
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(characters)))
    with subset.load_font(str(source), options) as font:
        cutter.subset(font)
        font.save(target)
