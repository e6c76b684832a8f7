"""One browser and one trained toy run for all tests in a real browser; they are skipped where there is no browser."""

import io
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from lalia.report.page import write_report
from lalia.run import train
from toy_report import EVIL, change_json
from toy_run import quick_settings, write_toy_corpus

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    # a file of its own, for a browser that is not on the path
    place = os.environ.get("LALIA_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if place is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a run on the built-in corpus whose report has ids and audio."""
    folder = tmp_path_factory.mktemp("browser")
    corpus = write_toy_corpus(folder / "corpus", speakers=12)
    shown = ("report={show_ids: true, embed_audio: true}", "decisions.abstain=entropy")
    return train(quick_settings(corpus, folder / "runs", *shown, "model.layers=weighted"))


@pytest.fixture(scope="session")
def hostile(trained, tmp_path_factory):
    """The same run with ids, speakers and reasons that would like to be more than text."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoints", "model*", "figures"))
    table = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
    traps = [EVIL, "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}{% raw %}", "\x1b[31mred", '" onfocus="alert(1)" x="']
    tested_first = table.sort_values("part", key=lambda parts: parts != "test", kind="stable")["recording"].unique()
    names = {name: f"{traps[place % len(traps)]}{place}" for place, name in enumerate(tested_first)}
    table["recording"] = table["recording"].map(names)
    table.to_csv(folder / "predictions.csv", index=False)
    change_json(folder / "manifest.json", lambda manifest: manifest.update(warnings=[EVIL]))
    dropped = [{"reason": EVIL, "recordings": [EVIL], "speakers": 1}]
    change_json(folder / "manifest.json", lambda manifest: manifest["flow"].update(dropped=dropped))
    (folder / "audit").mkdir()
    finding = {"check": EVIL, "sentence": EVIL, "recordings": [EVIL]}
    (folder / "audit" / "audit.json").write_text(json.dumps({"findings": [finding], "notes": [EVIL]}))
    (folder / "compare").mkdir()
    row = {"unit": "recording", "first_run": EVIL, "second_run": EVIL, "trait": EVIL, "metric": "auc", "first": 0.5}
    (folder / "compare" / "compare.json").write_text(json.dumps({"differences": [row]}))
    write_report(folder)
    return folder


@pytest.fixture
def opened(browser):
    """Open a file in a page of its own; what went wrong is told of at the end of the test."""
    contexts, wrong = [], []

    def open_page(path, *, width=1100, scheme="light", script=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: wrong.append(f"request: {request.url}") if _leaves(request.url) else None)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def _leaves(url):
    return not url.startswith(("file:", "data:"))


@pytest.fixture
def pixels():
    """Decode a screenshot to an array of colours from 0 to 1, shape (height, width, 3)."""
    return lambda png: np.asarray(imread(io.BytesIO(png)))[..., :3]
