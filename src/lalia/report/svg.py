"""The look of the report's figures, and their way into the page and into files as SVG.

The colours (Okabe and Ito, distinct for colour-blind readers) are given to the page by name, so that it can replace
them where the reader prefers a dark background; text stays text, in the page's own font.
"""

import io
import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lalia.files import write_text
from lalia.safe_text import replace_hidden

BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, QUIET, GRID, PAPER = "#222222", "#767676", "#d9d9d9", "#fefefe"
# the custom properties by which the page's style knows the colours
_PROPERTY = {
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
    INK: "--ink",
    QUIET: "--quiet",
    GRID: "--line",
    PAPER: "--paper",
}
_STYLE: Any = {  # Any: matplotlib types its keys as a literal
    "svg.fonttype": "none",
    "text.usetex": False,
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "figure.dpi": 72.0,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
# of the same widths, and then whatever has no serifs
_FAMILIES = "'DejaVu Sans', Verdana, sans-serif"
drawn = mpl.rc_context(_STYLE)
"""Decorates what draws: the style holds inside and matplotlib is as before afterwards."""


@drawn
def render_svg(figure: Figure, *, salt: str = "lalia") -> str:
    """Return a figure as an SVG document of its own, on white: the same text each time, no date.

    Args:
        figure: drawn in this file's style.
        salt: what the ids inside are made from.
    """
    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)  # its print_svg is not typed
    with mpl.rc_context({"svg.hashsalt": salt}), warnings.catch_warnings():
        # the reader's fonts draw the text, matplotlib's only measures it
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    document = replace_hidden(_NOT_XML.sub("\ufffd", buffer.getvalue()))
    return document.replace("font-family: 'DejaVu Sans'", f"font-family: {_FAMILIES}")


def to_svg(figure: Figure, *, prefix: str, alternative: str) -> str:
    """Return a figure as an ``<svg>`` element to stand in HTML: the same bytes each time, no address, no date.

    Args:
        figure: drawn in this file's style.
        prefix: set before every id, so that several figures can stand in one page.
        alternative: the text for those who do not see the figure.
    """
    return embed_svg(render_svg(figure, salt=prefix), prefix=prefix, alternative=alternative)


def embed_svg(document: str, *, prefix: str, alternative: str) -> str:
    """Return a document of ``render_svg`` as an ``<svg>`` element to stand in HTML; see ``to_svg``."""
    root = ElementTree.fromstring(document)
    for parent in list(root.iter()):
        for child in [child for child in parent if _is_left_out(child)]:
            parent.remove(child)
    for element in root.iter():
        # in HTML the names of SVG stand without namespace
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: _rewrite(key, value, prefix) for key, value in element.attrib.items()}
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib.update({"role": "img", "aria-label": replace_hidden(_NOT_XML.sub("\ufffd", alternative))})
    return ElementTree.tostring(root, encoding="unicode")


def write_svg(figure: Figure, path: str | Path) -> None:
    """Write a figure as an SVG file of its own, on white: the same bytes each time."""
    write_text(path, render_svg(figure))


def _is_left_out(element: ElementTree.Element) -> bool:
    """Say whether an element is not for the page: what is about the file, and the white ground of the figure."""
    return element.tag.endswith(("}metadata", "}style")) or element.get("id") == "patch_1"


_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _rewrite(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key.endswith("href"):
        return value.replace("#", f"#{prefix}-", 1)
    if key == "clip-path":
        return value.replace("url(#", f"url(#{prefix}-", 1)
    if key == "style":
        for colour, name in _PROPERTY.items():
            value = value.replace(colour, f"var({name}, {colour})")
        return re.sub(r"font-family: [^;]*(; )?", "", value)
    return value
