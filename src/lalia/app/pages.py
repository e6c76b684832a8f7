"""The two tabs of the app, on Gradio: rate recordings, and listen to those of a run."""

import base64
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from lalia.app.browse import Browser
from lalia.app.rating import Limits, listen, rate_files
from lalia.app.tables import show_problems, show_scores
from lalia.csv_files import csv_text
from lalia.data.audio import read_audio
from lalia.errors import ConfigError, LaliaError
from lalia.model.rater import SpeechRater
from lalia.report.explain_figures import plot_waveform
from lalia.report.svg import to_svg

_CSS = """
.scores { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.scores th, .scores td { padding: 0.4rem 0.7rem; text-align: left; border: none; border-bottom: 1px solid #8885; }
.scores .meter { width: 9rem; height: 0.5rem; border-radius: 0.25rem; background: #8883; overflow: hidden; }
.scores .meter div { height: 100%; background: #0072b2; }
.problems { border-left: 3px solid #d55e00; padding: 0.3rem 0.9rem; }
.dark { --ink: #e6e6e3; --quiet: #a3a3a0; --line: #3a3b3d; --blue: #56b4e9; --orange: #f0894a; }
.attention svg { max-width: 44rem; width: 100%; height: auto; }
"""
_NOTICE = (
    "Research software, not a medical device: a score is no diagnosis and must not decide about a person's care. "
    "Recordings stay on the machine that this page comes from, and are deleted there after a few minutes."
)
_ATTENTION = "How much each moment counts in the scores; the dashed line is an even attention."


class Pages:
    """What the page's buttons do; each method returns HTML.

    Args:
        rater: in eval mode.
        browser: of the run; None where there is a rater alone.
        limits: on what is uploaded.
    """

    def __init__(self, rater: SpeechRater, browser: Browser | None, limits: Limits) -> None:
        self.rater = rater
        self.browser = browser
        self.limits = limits

    def rate_one(self, path: str | None) -> tuple[str, str]:
        """Return the scores of a recording, or why it has none, and how much each moment counts."""
        if path is None:
            return "<p>Record something or choose a file first.</p>", ""
        rated = rate_files(self.rater, [path], self.limits)
        if rated.problems:
            return show_problems(rated.problems), ""
        return show_scores(rated.scores, self.rater.scale), self._draw(path)

    def rate_many(self, paths: Sequence[str] | None) -> str:
        """Return how many files were rated, what is wrong with the others, and a link to the scores as CSV."""
        if not paths:
            return "<p>Choose files first.</p>"
        rated = rate_files(self.rater, paths, self.limits)
        said = show_problems(rated.problems)
        if not len(rated.scores):
            return said
        count = rated.scores["recording"].nunique()
        content = base64.b64encode(csv_text(rated.scores).encode()).decode()
        link = f"<a download='ratings.csv' href='data:text/csv;charset=utf-8;base64,{content}'>Save ratings.csv</a>"
        return f"<p>{count} of {len(paths)} recordings rated. {link}</p>{said}"

    def hear(self, row: int) -> tuple[tuple[int, Any] | None, str, str]:
        """Return the sound of a row of the browser, all that is known of its traits, and its attention."""
        assert self.browser is not None
        path = self.browser.path(row)
        if path is None:
            return None, "<p>The audio file of this recording is not where the table of the run says.</p>", ""
        try:
            waveform, rate_hz = read_audio(path)
            samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
            return (rate_hz, samples), _show_ratings(self.browser.scores(row)), self._draw(path)
        except LaliaError:
            # the message would name the file, and so the recording
            return None, "<p>The audio file of this recording cannot be read.</p>", ""

    def _draw(self, path: str | Path) -> str:
        waveform, attention = listen(self.rater, path)
        if attention is None:
            return ""
        weights = attention.weights.mean(dim=(0, 1)).numpy()
        figure = plot_waveform(waveform, self.rater.preprocessing.rate_hz, weights, attention.seconds.numpy())
        svg = to_svg(figure, prefix="attention", alternative=_ATTENTION)
        return f"<figure class='attention'>{svg}<figcaption>{_ATTENTION}</figcaption></figure>"


def build_pages(pages: Pages) -> Any:
    """Return the page as Gradio's blocks, and what they are mounted with.

    Raises:
        ConfigError: if Gradio is not installed.
    """
    gr = import_gradio()
    with gr.Blocks(title="lalia", analytics_enabled=False) as blocks:
        gr.Markdown("# lalia")
        gr.HTML(f"<p>{_NOTICE}</p>")
        with gr.Tab("Rate"):
            _build_rate_tab(gr, pages)
        if pages.browser is not None:
            with gr.Tab("Test recordings"):
                _build_browse_tab(gr, pages, pages.browser)
    # one after the other: the rater is one, and several at once would each be slower
    return blocks.queue(default_concurrency_limit=1, max_size=50, api_open=False)


def mount_options(limits: Limits) -> dict[str, Any]:
    """Return how the blocks are mounted: nothing from the network, no file but uploads, nothing recorded."""
    gr = import_gradio()
    return {
        "theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "css": _CSS,
        "allowed_paths": [],
        "max_file_size": int(limits.megabytes * 1e6),
        "show_error": False,
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "enable_monitoring": False,
        "mcp_server": False,
    }


def import_gradio() -> Any:
    """Return Gradio.

    Raises:
        ConfigError: if it is not installed.
    """
    check_gradio()
    import gradio

    return gradio


def check_gradio() -> None:
    """Make sure that Gradio is installed, without importing it: it makes a folder for its files as it is imported.

    Raises:
        ConfigError: if it is not.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("lalia app needs Gradio, which is not installed. Install it with: pip install 'lalia[app]'")


def _build_rate_tab(gr: Any, pages: Pages) -> None:
    limits = pages.limits
    said = f"At most {limits.minutes:g} minutes and {limits.megabytes:g} MB."
    audio = gr.Audio(label="Recording", sources=["upload", "microphone"], type="filepath", editable=False, buttons=[])
    button = gr.Button("Rate", variant="primary", elem_id="rate-one")
    gr.HTML(f"<p>{said}</p>")
    scores, attention = gr.HTML(elem_id="scores"), gr.HTML(elem_id="attention")
    button.click(pages.rate_one, audio, [scores, attention], api_visibility="private", concurrency_id="rater")
    gr.HTML("<h2>Many recordings</h2>")
    files = gr.File(label=f"Audio files, at most {limits.files}", file_count="multiple", elem_id="files")
    many = gr.Button("Rate all", elem_id="rate-many")
    summary = gr.HTML(elem_id="summary")
    many.click(pages.rate_many, files, summary, api_visibility="private", concurrency_id="rater")


def _build_browse_tab(gr: Any, pages: Pages, browser: Browser) -> None:
    contents = browser.contents
    answer = "probability" if contents.is_binary else "score"
    if browser.problem:
        gr.HTML(f"<p>{escape(contents.hide_ids(browser.problem))}</p>")
    gr.HTML(
        f"<p>Recordings of the {contents.part} part, those first where model and raters are farthest apart. Choose one"
        " to hear it.</p>"
    )
    shown = browser.rows.rename(columns={"name": "recording", "answer": answer})
    shown.insert(0, "no.", range(1, len(shown) + 1))
    table = gr.Dataframe(shown, interactive=False, elem_id="browse", datatype="str", max_height=360)
    audio = gr.Audio(label="Recording", interactive=False, buttons=[])
    known, attention = gr.HTML(elem_id="known"), gr.HTML()

    def choose(event: Any) -> tuple[tuple[int, Any] | None, str, str]:
        # the table may have been sorted: its own number says which row it is
        return pages.hear(int(event.row_value[0]) - 1)

    # Gradio looks for the class of the event here
    choose.__annotations__["event"] = gr.SelectData
    table.select(choose, None, [audio, known, attention], api_visibility="private", concurrency_id="rater")


def _show_ratings(scores: pd.DataFrame) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in scores)
    rows = [
        Markup("").join(Markup("<td>{}</td>").format("–" if cell != cell else cell) for cell in row)
        for row in scores.itertuples(index=False)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table class='scores'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
