"""What a finished run has learned: from its folder to explain/ and to the page."""

import json
import re

import numpy as np
import pytest
import soundfile

from commands import call_lalia
from lalia.build import build_rater
from lalia.config import load_config
from lalia.errors import RunError
from lalia.evaluation.explain.occlusion import score_waveforms
from lalia.model.rater import SpeechRater
from lalia.report.page import write_report
from lalia.run_explain import N_EACH, explain_run
from toy_finished import IDS, make_finished_run
from toy_rater import TRAITS
from toy_report import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with LoRA whose adapters were changed as training would, explained."""
    folder = make_finished_run(tmp_path_factory.mktemp("explained"), adapt={"kind": "lora", "rank": 2})
    rater = build_rater(load_config(folder / "config.yaml"), TRAITS)
    for name, parameter in rater.encoder.model.named_parameters():
        if "lora_B" in name and ".layers.1." in name:
            parameter.data += 0.3
    rater.save_pretrained(folder / "model")
    explain_run(folder)
    return folder


@pytest.fixture(scope="module")
def found(run):
    return json.loads((run / "explain" / "explain.json").read_text())


def test_recordings_of_largest_disagreement_and_of_agreement_are_looked_at(run, found):
    chosen = found["recordings"]
    assert [each["why"] for each in chosen] == ["disagreement"] * N_EACH + ["agreement"] * N_EACH
    assert sorted(each["recording"] for each in chosen) == sorted(IDS)
    far = [abs(each["rating"] - each["answer"]) for each in chosen]
    assert far[0] == max(far)
    # where they agree, those with the trait come first
    assert [each["rating"] >= 2 for each in chosen[N_EACH:]] == sorted(
        (each["rating"] >= 2 for each in chosen[N_EACH:]), reverse=True
    )


def test_the_arrays_of_a_recording_are_those_of_the_rater(run, found):
    rater = SpeechRater.from_pretrained(run)
    number = IDS.index(found["recordings"][0]["recording"])
    waveform, _ = soundfile.read(run.parent / "audio" / f"r{number}.wav", dtype="float32")
    with np.load(run / "explain" / "recording-1.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["score"], score_waveforms(rater, [waveform])[0], rtol=1e-5)
        weights, seconds = rater.attention(waveform)
        np.testing.assert_allclose(arrays["attention"], weights.mean(dim=1), atol=1e-6)
        np.testing.assert_allclose(arrays["attention_seconds"], seconds)
        assert arrays["level_db"].shape[0] == len(arrays["middles_hz"])
        assert arrays["level_db"].max() == 0
        assert float(arrays["seconds"]) == pytest.approx(len(waveform) / 16_000)


def test_training_changed_the_block_with_the_adapters_alone(found):
    changes = {row["depth"]: row["change"] for row in found["weight_change"]}
    assert list(changes) == [0, 1, 2]
    assert changes[0] == changes[1] == 0
    assert 0.001 < changes[2] < 10


def test_layer_weights_and_edits_are_there(found):
    assert found["layer_weights"] == pytest.approx([1 / 3] * 3)
    assert {row["trait"] for row in found["edits"]} == set(TRAITS)
    # tones without a pause
    counts = {row["edit"]: row["recordings"] for row in found["edits"]}
    assert counts.pop("pauses cut to 0.12 s") == 0
    assert set(counts.values()) == {len(IDS)} == {found["edited"]}


def test_the_page_shows_what_was_learned(run):
    html = write_report(run).read_text()
    page = Page(html)
    section = html[html.index('<section id="learned"') :].split("</section>")[0]
    assert ("a", "href", "#learned") in page.attributes
    # two of the encoder, one of each trait's edits, three of each recording
    assert section.count("<svg") == 2 + len(TRAITS) + 3 * len(IDS)
    assert "<script" not in section
    assert not re.search(r"(?:src|href)=\"(?!#|data:image/png;base64,)", html)
    assert f"pauses cut to 0.12 s (in 0 of {len(IDS)})" in section
    for name in IDS:
        assert name not in Page(section).text
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert write_report(run).read_text() == html


def test_the_page_of_a_run_that_was_not_explained_shows_depths_of_the_encoder_alone(run, tmp_path):
    html = write_report(make_finished_run(tmp_path / "plain")).read_text()
    section = html[html.index('<section id="learned"') :].split("</section>")[0]
    assert re.findall("<h3>(.*?)</h3>", section) == ["Depths of the encoder"]
    assert "What the scores depend on" not in html


def test_a_damaged_file_is_named(run):
    place = run / "explain" / "recording-2.npz"
    content = place.read_bytes()
    place.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"recording-2.npz' cannot be read: .* lalia report RUN --explain"):
        write_report(run)
    place.write_bytes(content)


def test_a_recording_that_was_changed_since_is_refused_and_what_was_written_stays(run, found):
    (run / "data.csv").write_text("recording,sha256\n" + "".join(f"{name},0\n" for name in IDS))
    with pytest.raises(RunError, match="The audio of '.*' is not what the run was trained with. Train a new run"):
        explain_run(run)
    (run / "data.csv").unlink()
    assert json.loads((run / "explain" / "explain.json").read_text()) == found


def test_the_command_writes_explanation_and_report(run, capsys):
    assert call_lalia("report", run, "--explain") == 0
    out = capsys.readouterr().out
    assert f"Wrote {run / 'explain'}\n" in out
    assert f"Wrote {run / 'report.html'}\n" in out
