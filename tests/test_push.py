"""Sharing a rater: what the folder holds, and what the hub is sent."""

import json

import huggingface_hub
import pytest
import yaml

from hub_stand_in import READ_TOKEN, TOKEN, Repository, stand_in, use_endpoint
from lalia.errors import RaterError, RunError
from lalia.model.encoders.load import load_encoder
from lalia.model.heads import build_head
from lalia.model.rater import SpeechRater
from lalia.push import push, write_shared
from lalia.report.card import GAP, write_card
from toy_rater import SCALE, make_encoder, make_rater, make_waveform

METRIC = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 20}
TREE = {"recording": {"traits": {"breathy": {"auc": METRIC}, "slow_rate": {}}, "macro": {"auc": METRIC}}}
MANIFEST = {
    "name": "hoarse <script>",
    "seed": 7,
    "hashes": {"split": "abc123"},
    "flow": {"parts": {"train": {"recordings": 30, "speakers": 15}}, "dropped": [{"recordings": ["patient-9"]}]},
    "adaptation": {"kind": "lora", "trainable_parameters": 1234, "parameters": 56789},
    "versions": {"torch": "2.13.0"},
}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    make_rater().save_pretrained(folder / "model")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "metrics.json").write_text(json.dumps({"test": {**TREE, "baselines": {"duration": TREE}}}))
    (folder / "predictions.csv").write_text("recording,speaker\npatient-9,Jane Doe\n")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with stand_in() as hub:
        use_endpoint(monkeypatch, hub.endpoint, tmp_path / "cache")
        yield hub


def test_the_shared_folder_holds_the_rater_and_its_card_and_nothing_else(run, tmp_path):
    out = write_shared(run, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    text = (out / "README.md").read_text() + (out / "config.json").read_text()
    for secret in ("patient-9", "Jane Doe", str(tmp_path)):
        assert secret not in text
    waveform = make_waveform(1.0)
    expected = SpeechRater.from_pretrained(run).score([waveform]).score
    assert SpeechRater.from_pretrained(out).score([waveform]).score.equal(expected)


def test_people_who_rated_become_numbers(tmp_path):
    rater = make_rater()
    heads = build_head("ordinal", method="cumulative", width=rater.pooling.out_width, n_traits=4, scale=SCALE)
    rater.rater_heads, rater.raters = heads, ("Jane Doe", "John Roe")
    rater.save_pretrained(tmp_path / "model")
    out = write_shared(tmp_path / "model", tmp_path / "out")
    assert not [path for path in out.iterdir() if b"Doe" in path.read_bytes()]
    shared = SpeechRater.from_pretrained(out)
    assert shared.raters == ("rater 1", "rater 2")
    waveform = make_waveform(1.0)
    assert shared.score([waveform]).score.equal(SpeechRater.from_pretrained(tmp_path / "model").score([waveform]).score)


def test_the_card_tells_what_is_known_and_shows_the_gaps(run):
    card = write_card(run).read_text()
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["pipeline_tag"] == "audio-classification"
    assert "base_model" not in yaml.safe_load(header)
    for told in ("breathy", "0.80 (0.70 to 0.90)", "| train | 30 | 15 |", "abc123", "lora, 1,234 of 56,789", "Seed 7"):
        assert told in body
    assert f"License: {GAP}" in body
    assert "<script>" not in card


def test_a_rater_outside_of_a_run_has_a_card_of_gaps(tmp_path):
    make_rater().save_pretrained(tmp_path / "rater")
    card = write_card(tmp_path / "rater").read_text()
    assert f"## Results\n\n{GAP}" in card
    assert "breathy" in card


def test_an_upload_makes_a_private_repository_with_the_three_files(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push(run, "lab/hoarse").endswith("/lab/hoarse")
    repository = hub.repositories["lab/hoarse"]
    assert repository.private
    files = repository.files[repository.branches["main"]]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert files["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()


def test_a_second_upload_goes_into_the_same_repository(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push(run, "lab/hoarse", private=False)
    push(run, "lab/hoarse", private=False)
    assert list(hub.repositories) == ["lab/hoarse"]
    assert not hub.repositories["lab/hoarse"].private


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "Set HF_TOKEN, or log in"),
        ("hf_wrong", "does not know this token"),
        (READ_TOKEN, "may not write to 'lab/x'"),
    ],
)
def test_a_token_that_cannot_write_is_told_so(run, hub, monkeypatch, token, message):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(RunError, match=message):
        push(run, "lab/x")
    assert not hub.repositories


def test_a_hub_out_of_reach_is_told_so(run, tmp_path, monkeypatch):
    use_endpoint(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(RunError, match="The hub cannot be reached"):
        push(run, "lab/x")
    use_endpoint(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache", offline=True)
    with pytest.raises(RunError, match="HF_HUB_OFFLINE is set"):
        push(run, "lab/x")


def test_what_is_no_id_and_what_is_no_rater_are_refused(run, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(RunError, match="'a/b/c' is no id of a repository"):
        push(run, "a/b/c")
    with pytest.raises(RaterError, match="No rater in"):
        push(tmp_path / "nothing", "lab/x")


def test_a_folder_that_holds_something_is_not_written_over(run, tmp_path):
    with pytest.raises(RunError, match="exists already"):
        write_shared(run, run)


def test_nothing_goes_to_a_public_repository_unasked(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repositories["lab/open"] = Repository()
    commit = hub.repositories["lab/open"].commit({})
    with pytest.raises(RunError, match="'lab/open' exists and is public. Give --public to push there"):
        push(run, "lab/open")
    assert hub.repositories["lab/open"].branches == {"main": commit}


def test_what_was_pushed_is_downloaded_as_the_card_says_and_scores_the_same(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push(run, "lab/hoarse")
    files = hub.repositories["lab/hoarse"].files[hub.repositories["lab/hoarse"].branches["main"]]
    assert b'SpeechRater.from_pretrained(snapshot_download("lab/hoarse"))' in files["README.md"]
    waveform = make_waveform(1.0)
    again = SpeechRater.from_pretrained(huggingface_hub.snapshot_download("lab/hoarse"))
    assert again.score([waveform]).score.equal(SpeechRater.from_pretrained(run).score([waveform]).score)


def test_a_card_that_was_filled_in_is_shared_as_it_is_and_stays(run, tmp_path):
    card = run / "model" / "README.md"
    card.write_text("mine, for OWNER/NAME")
    assert (write_shared(run, tmp_path / "out", "lab/hoarse") / "README.md").read_text() == "mine, for lab/hoarse"
    assert card.read_text() == "mine, for OWNER/NAME"


def test_sharing_leaves_a_rater_without_a_card_as_it_was(run, tmp_path):
    write_shared(run / "model", tmp_path / "out")
    assert sorted(path.name for path in (run / "model").iterdir()) == ["config.json", "model.safetensors"]


def test_an_encoder_from_a_folder_stays_unnamed(tmp_path):
    make_encoder("hubert").model.save_pretrained(tmp_path / "jane-hubert")
    encoder = load_encoder(tmp_path / "jane-hubert", normalize=True)
    make_rater(encoder=encoder).save_pretrained(tmp_path / "model")
    card = write_card(tmp_path / "model").read_text()
    assert f"Encoder: from a local folder, {GAP} (hubert)" in card
    assert "jane" not in card
    config = (write_shared(tmp_path / "model", tmp_path / "out") / "config.json").read_text()
    assert "jane" not in config
    shared, own = (SpeechRater.from_pretrained(tmp_path / name) for name in ("out", "model"))
    waveform = make_waveform(1.0)
    assert shared.score([waveform]).score.equal(own.score([waveform]).score)


def test_the_header_shows_that_the_licence_is_to_be_chosen(run):
    _, header, _ = write_card(run).read_text().split("---\n", 2)
    assert "# license: to be filled in" in header
    assert "license" not in yaml.safe_load(header)


def test_a_damaged_rater_is_not_shared(run, tmp_path):
    path = run / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RaterError, match=r"Cannot read '.*model.safetensors'"):
        write_shared(run, tmp_path / "out")


def test_a_rater_without_an_encoder_that_others_have_is_not_shared(tmp_path):
    make_rater().save_pretrained(tmp_path / "model", encoder_weights=False)
    with pytest.raises(RunError, match="saved without its encoder, and nobody else has that one.*save_encoder: true"):
        write_shared(tmp_path / "model", tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="Cannot write to '.*out': File exists. Give another folder"):
        write_shared(run, tmp_path / "file" / "out")
