"""The app in a real browser: uploads, results, refusals, two users, a batch, the recordings of a run."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
import soundfile

from lalia.data.inputs import find_recordings
from lalia.evaluation.predict import predict_files
from lalia.report.contents import hash_id
from toy_finished import IDS, make_finished_run
from toy_rater import TRAITS

pytest.importorskip("gradio", reason="the app needs Gradio: pip install 'lalia[app]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="tests in a browser need Playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="tests in a browser need Debian's chromium")

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    # a microphone that beeps
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def address(run, tmp_path_factory):
    """The app as a process of its own, on a free port of this machine; it takes its files with it."""
    files = tmp_path_factory.mktemp("files-of-the-app")
    command = [sys.executable, "-m", "lalia", "app", str(run), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(files)})
    try:
        line = process.stderr.readline()
        found = re.match(r"Listening at (http://127\.0\.0\.1:\d+/) ", line)
        assert found, line + process.stderr.read()
        wait_for(found[1])
        yield found[1]
        # what was uploaded is there while the app runs
        assert [path for path in files.rglob("*.wav") if path.is_file()]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert list(files.iterdir()) == []


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    with open_page(browser, address) as page:
        yield page


@pytest.fixture(scope="module")
def predicted(run):
    """What ``lalia predict`` says of the recordings of the run."""
    out = run.parent / "predicted.csv"
    predict_files(run, find_recordings([run.parent / "audio"]), out)
    return pd.read_csv(out)


@contextlib.contextmanager
def open_page(browser, address):
    """Open the app as a user of its own, and make sure that nothing went elsewhere or wrong."""
    context = browser.new_context(viewport={"width": 1000, "height": 1200}, permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    elsewhere, errors = [], []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#rate-one")
    yield page
    context.close()
    # the player says that it cannot play what is no sound
    errors = [error for error in errors if error != "Waveform load error: MediaError"]
    assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []


def wait_for(address):
    """Wait until the server answers; its socket is open before."""
    urllib.request.urlopen(address, timeout=60).close()


def give(page, place, files, shown):
    """Choose files, and again where the page was not ready to take them; return when it shows them."""
    for patience_ms in (4_000, PATIENCE_MS):
        page.locator(f"{place}input[type=file]").first.set_input_files(files)
        with contextlib.suppress(sync_api.TimeoutError):
            page.wait_for_selector(shown, state="attached", timeout=patience_ms)
            return
    raise AssertionError(f"the page does not show {shown} after {files} were chosen")


def upload(page, path):
    give(page, "", path, "button[aria-label='Play'], [data-testid='waveform-recording']")


def shown_scores(page):
    """Return the rows of the table of scores."""
    rows = page.locator("#scores tbody tr")
    rows.first.wait_for()
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def expected_scores(predicted, name):
    rows = predicted[predicted["recording"] == name]
    return [(row.trait, f"{row.level:g}", f"{row.score:.2f}", f"{row.probability:.2f}") for row in rows.itertuples()]


def told(row):
    trait, level, score, _, _, probability, _ = row
    return trait, level, score, probability


def test_an_uploaded_recording_gets_the_scores_of_predict_and_its_attention(page, run, predicted):
    upload(page, run.parent / "audio" / "r3.wav")
    page.click("#rate-one")
    rows = shown_scores(page)
    assert [told(row) for row in rows] == expected_scores(predicted, "r3.wav")
    assert {row[4] for row in rows} <= {"present", "absent"}
    page.wait_for_selector("#attention svg[role=img]")


def test_what_is_recorded_is_rated(page):
    page.get_by_label("Record audio").first.click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1_000)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.wait_for_selector("button[aria-label='Play']")
    page.click("#rate-one")
    assert [row[0] for row in shown_scores(page)] == list(TRAITS)


def test_two_users_at_once_get_their_own_scores(browser, address, run, predicted):
    with open_page(browser, address) as first, open_page(browser, address) as second:
        for page, name in ((first, "r0.wav"), (second, "r5.wav")):
            upload(page, run.parent / "audio" / name)
        first.click("#rate-one")
        second.click("#rate-one")
        assert [told(row) for row in shown_scores(second)] == expected_scores(predicted, "r5.wav")
        assert [told(row) for row in shown_scores(first)] == expected_scores(predicted, "r0.wav")


def test_a_batch_gives_a_csv_and_says_what_is_wrong_with_the_other_files(page, run, predicted, tmp_path):
    audio = run.parent / "audio"
    (tmp_path / "notes.txt").write_text("not a recording")
    soundfile.write(tmp_path / "long.flac", np.zeros(2 * 3600 * 4_000, np.int16), 4_000)
    whole = (audio / "r1.wav").read_bytes()
    (tmp_path / "broken.wav").write_bytes(whole[: len(whole) // 2])
    shutil.copy(audio / "r2.wav", tmp_path / "@SUM(1).wav")
    names = ["notes.txt", "long.flac", "broken.wav", "@SUM(1).wav"]
    give(page, "#files ", [audio / "r0.wav", *(tmp_path / name for name in names)], "#files >> text=r0")
    page.click("#rate-many")
    page.wait_for_selector("#summary >> text=2 of 5 recordings rated")
    said = page.locator("#summary li").all_inner_texts()
    assert [line for line in said if "notes.txt cannot be decoded" in line]
    assert [line for line in said if "long.flac is longer than 10 minutes" in line]
    assert [line for line in said if "broken.wav is cut off" in line]
    assert len(said) == 3
    with page.expect_download() as download:
        page.click("#summary a[download]")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    found = pd.DataFrame(rows)
    assert download.value.suggested_filename == "ratings.csv"
    # a spreadsheet takes a cell that begins with @ for a formula
    assert not found["recording"].str.startswith("@").any()
    for name, given in zip(dict.fromkeys(found["recording"]), ("r0.wav", "r2.wav"), strict=True):
        of_file, wanted = found[found["recording"] == name], predicted[predicted["recording"] == given]
        for column in ("score", "level", "probability"):
            np.testing.assert_allclose(of_file[column].astype(float), wanted[column], rtol=1e-5)


def test_nothing_and_a_text_file_in_place_of_a_recording_are_refused(page, tmp_path):
    page.click("#rate-one")
    page.wait_for_selector("#scores >> text=Record something or choose a file first")
    (tmp_path / "words.wav").write_text("these are words, and no sound " * 100)
    assert page.locator("button[aria-label='Clear']").count() == 0
    give(page, "", tmp_path / "words.wav", "button[aria-label='Clear']")
    page.click("#rate-one")
    page.wait_for_selector("#scores [role=alert] >> text=words.wav cannot be decoded")
    assert page.locator("#scores table").count() == 0


def test_the_recordings_of_a_run_are_heard_under_their_hashes(page):
    page.get_by_role("tab", name="Test recordings").click()
    hidden = hash_id(IDS[-1])
    page.locator(f"#browse >> text={hidden} >> visible=true").first.click()
    page.wait_for_selector("#known tbody tr")
    assert page.locator("#known tbody tr").count() == 2
    page.wait_for_selector("text=0:01 >> visible=true")
    text = page.content()
    assert IDS[-1] not in text
    assert "C2" not in page.locator("body").inner_text()


def ask(address, path, body=None, headers=()):
    """Return the status and the text that a client gets that is no browser."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data, {"content-type": "application/json", **dict(headers)})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def test_no_file_of_the_machine_can_be_read(address, run):
    places = [
        "/etc/passwd",
        f"{run}/metrics.json",
        f"{run.parent}/audio/r0.wav",
        "http://127.0.0.1/x",
        "../../etc/passwd",
    ]
    for place in places:
        for form in (
            "gradio_api/file=",
            "file=",
            "gradio_api/file/",
            "file/",
            "gradio_api/proxy=",
            "static/",
            "assets/",
        ):
            for path in (place, place.replace("/", "%2F"), place.replace("/", "%252F")):
                status, text = ask(address, form + path)
                assert status in (403, 404), (form, path)
                assert "root:" not in text


def test_only_uploaded_files_can_be_rated(address):
    _, text = ask(address, "config")
    numbers = [each["id"] for each in json.loads(text)["dependencies"]]
    for number in numbers:
        for path in ("/etc/passwd", "http://127.0.0.1:1/a.wav", "https://example.org/a.wav", "a.wav", None, 3):
            file = {"path": path, "url": "http://127.0.0.1:1/a.wav", "meta": {"_type": "gradio.FileData"}}
            for data in ([file], [[file]], [{"deep": [file]}]):
                body = {"data": data, "fn_index": number, "session_hash": "x", "event_data": None}
                status, answer = ask(address, "gradio_api/queue/join", body)
                assert (status, answer) == (403, "Only uploaded files can be rated.\n"), body


@pytest.mark.parametrize(
    "path", ["docs", "openapi.json", "monitoring", "gradio_api/vibe-edit", "gradio_api/call/rate_one", "runs", "login"]
)
def test_what_the_page_does_not_need_is_closed(address, path):
    assert ask(address, path)[0] == 404
    assert ask(address, path, body={})[0] == 404


def test_another_name_for_this_machine_is_refused(address):
    assert ask(address, "", headers={"host": "attacker.example"})[0] == 403
