"""The report of a trained run in a real browser."""

import json
from itertools import pairwise

import numpy as np
import pytest

from lalia.errors import list_some
from toy_report import EVIL

SECTIONS = (
    *("asked", "people", "result", "ratings", "training", "learned", "traits", "disagreement", "groups", "confounds"),
    *("decisions", "limits", "checklists", "settings"),
)


@pytest.fixture
def report(trained):
    return trained / "report.html"


def test_sections_are_there_and_the_navigation_leads_to_each(opened, report):
    page = opened(report)
    assert [section.get_attribute("id") for section in page.query_selector_all("main > section")] == list(SECTIONS)
    links = [link.get_attribute("href") for link in page.query_selector_all("nav a")]
    assert links == [f"#{name}" for name in SECTIONS]
    headline = page.locator("#asked")
    assert "AUC" in headline.inner_text()
    assert headline.locator("svg").count() == 2
    assert page.locator("#traits svg").count() >= 2 * 5


def test_script_stands_under_a_policy_that_lets_no_other_run(browser, report):
    # a page of its own: the browser complains of what this test puts there
    page = browser.new_page()
    page.goto(report.as_uri())
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'taken over'";
        window.addEventListener("securitypolicyviolation", () => (window.wasRefused = true));
        document.body.append(script);
    }""")
    page.wait_for_function("window.wasRefused")
    assert page.title() != "taken over"
    page.close()


def test_tables_sort_by_number_and_back(opened, report):
    page = opened(report)
    table = page.locator("#disagreement table")
    before = column(table, 2)
    heading = table.locator("th", has_text="Rating")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(table, 2) == sorted(before, key=float)
    heading.locator("button").click()
    assert column(table, 2) == sorted(before, key=float, reverse=True)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") is None
    assert column(table, 2) == before


def test_rows_stay_below_the_name_of_their_group_when_sorted(opened, report):
    page = opened(report)
    table = page.locator("#result table").first
    body = table.locator("tbody").first
    name = body.locator("tr").first.inner_text()
    table.locator("thead button").nth(1).click()
    assert body.locator("tr").first.inner_text() == name
    cells = body.locator("tr:not(.name) > :nth-child(2)").all_inner_texts()
    values = [float(text.split("\n")[0].replace("−", "-")) for text in cells if text[0] != "–"]
    assert len(values) > 2
    assert values == sorted(values)


def test_tables_are_filtered_by_all_words(opened, report):
    page = opened(report)
    field = page.get_by_role("searchbox", name="Filter: Recordings where model and raters disagree most")
    rows = page.locator("#disagreement tbody tr:visible")
    everything = rows.count()
    field.fill("BREATHY")
    assert 0 < rows.count() < everything
    assert {text.split("\t")[1] for text in rows.all_inner_texts()} == {"breathy"}
    assert page.locator("#disagreement output").inner_text() == f"{rows.count()} of {everything} rows"
    field.fill("breathy slow_rate")
    assert rows.count() == 0
    field.fill("")
    assert rows.count() == everything


def test_players_play(opened, report):
    page = opened(report)
    players = page.locator("#disagreement audio")
    assert 1 <= players.count() <= 10
    assert players.first.get_attribute("src").startswith("data:audio/mpeg;base64,")
    assert players.first.get_attribute("aria-label").startswith("Recording S0")
    page.wait_for_function("[...document.querySelectorAll('audio')].every((one) => one.duration > 1)")
    player = players.first.element_handle()
    page.evaluate("(one) => { one.muted = true; one.play(); }", player)
    page.wait_for_function("(one) => one.currentTime > 0.05 || one.ended", arg=player)


def test_dark_and_light_have_other_grounds_and_readable_figures(opened, report, pixels):
    brightness, contrast = {}, {}
    for scheme in ("light", "dark"):
        page = opened(report, scheme=scheme)
        shot = pixels(page.locator("#asked svg").first.screenshot()).mean(axis=2)
        brightness[scheme] = float(np.median(shot))
        contrast[scheme] = float(np.abs(shot - np.median(shot)).max())
    assert brightness["light"] > 0.95
    assert brightness["dark"] < 0.15
    assert min(contrast.values()) > 0.7


def test_figure_shows_its_colours(opened, report, pixels):
    page = opened(report)
    shot = pixels(page.locator("#asked svg").first.screenshot())
    for name, colour in {"model": "0072b2", "duration": "d55e00", "raters": "00815f"}.items():
        wanted = np.array([int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)])
        assert (np.abs(shot - wanted).max(axis=2) < 0.04).sum() > 20, name


@pytest.mark.parametrize("width", [320, 360, 768])
def test_page_does_not_scroll_sideways(opened, report, width):
    page = opened(report, width=width, scheme="dark")
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#asked svg").first.bounding_box()["width"] <= width


def test_keyboard_reaches_content_headings_and_filters(opened, report):
    page = opened(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.tagName + (document.activeElement.type || '')"))
    assert "INPUTsearch" in seen
    assert "BUTTONbutton" in seen
    page.locator("#disagreement thead button").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.locator("#disagreement th").nth(2).get_attribute("aria-sort") == "ascending"
    page.locator("#traits summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#traits details").first.get_attribute("open") is not None


def test_everything_has_a_name_for_those_who_do_not_see_it(opened, report):
    page = opened(report)
    nameless = page.evaluate("""() => [...document.querySelectorAll('svg, section, nav, .scroll, audio, input, button')]
        .filter((one) => !(one.getAttribute('aria-label') || one.getAttribute('aria-labelledby')
            || one.textContent.trim()))
        .map((one) => one.outerHTML.slice(0, 80))""")
    assert nameless == []
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_page_without_script_has_all_tables_and_no_dead_controls(opened, report):
    page = opened(report, script=False)
    assert page.locator("#disagreement tbody tr").count() > 5
    assert page.locator("input, th button").count() == 0


def test_paper_shows_what_is_folded_away(opened, report):
    page = opened(report)
    page.emulate_media(media="print")
    table = page.locator("#traits details table").first
    assert not page.locator("nav").is_visible()
    assert table.bounding_box()["height"] > 200


def test_ids_that_look_like_markup_stay_text(opened, hostile):
    page = opened(hostile / "report.html")
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert page.evaluate("""[...document.querySelectorAll('*')]
        .every((one) => [...one.attributes].every((each) => !each.name.startsWith('on')))""")
    shown = page.locator("#disagreement tbody th").all_inner_texts()
    for trap in (EVIL, "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}{% raw %}", "\ufffd[31mred", '" onfocus="alert(1)"'):
        assert any(trap in text for text in shown), f"{trap} not in {list_some(shown, most=5)}"
    for section in ("#people", "#confounds", "#compared"):
        assert EVIL in page.locator(section).inner_text()


def test_headline_figure_says_what_metrics_json_says(opened, trained, report):
    page = opened(report)
    value = json.loads((trained / "metrics.json").read_text())["test"]["recording"]["macro"]["auc"]["value"]
    label = page.locator("#asked svg").first.get_attribute("aria-label")
    assert f"mean of all traits: model {value:.2f}" in label


def column(table, place):
    return table.locator(f"tbody tr:not(.name) > :nth-child({place + 1})").all_inner_texts()
