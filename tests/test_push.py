"""Pushing a rater: huggingface_hub as it is, against a stand-in of the hub on this machine."""

import shutil
import socket

import huggingface_hub
import pytest
import torch

from hub_stand_in import READ_TOKEN, TOKEN, Repository, stand_in, use_endpoint
from lalia.errors import PushError, RaterError
from lalia.model.rater import SpeechRater
from lalia.push import push_rater, stage_rater
from lalia.report.card import write_card
from toy_rater import make_rater, make_waveform
from toy_report import make_run

FILES = {"README.md", "config.json", "model.safetensors"}


@pytest.fixture
def rater():
    return make_rater()


@pytest.fixture
def run(rater, tmp_path):
    folder = make_run(tmp_path / "run", traits=("breathy", "slow_rate"))
    rater.save_pretrained(folder / "model")
    write_card(folder)
    (folder / "model" / "notes.txt").write_text("about speaker A017")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with stand_in() as running:
        use_endpoint(monkeypatch, running.endpoint, tmp_path / "cache")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


def pushed(hub, name):
    repository = hub.repositories[name]
    return repository.files[repository.branches["main"]]


def test_the_rater_its_settings_and_its_card_are_pushed_and_nothing_else(hub, run):
    assert push_rater(run, "me/rater") == f"{hub.endpoint}/me/rater"
    files = pushed(hub, "me/rater")
    assert set(files) == FILES
    for name in ("config.json", "model.safetensors"):
        assert files[name] == (run / "model" / name).read_bytes()
    assert not any(b"A017" in content or str(run).encode() in content for content in files.values())


def test_what_was_pushed_can_be_downloaded_and_scores_the_same(hub, run, rater):
    push_rater(run, "me/rater")
    folder = huggingface_hub.snapshot_download("me/rater")
    again = SpeechRater.from_pretrained(folder)
    assert torch.equal(again.score([make_waveform(0.4)]).score, rater.score([make_waveform(0.4)]).score)


def test_a_repository_is_private_unless_it_is_asked_to_be_public(hub, run):
    push_rater(run, "me/one")
    push_rater(run, "me/two", private=False)
    assert (hub.repositories["me/one"].private, hub.repositories["me/two"].private) == (True, False)


def test_a_name_alone_is_ones_own_repository(hub, run):
    assert push_rater(run, "rater").endswith("/me/rater")


def test_a_rater_can_be_pushed_again(hub, run, rater):
    push_rater(run, "me/rater")
    rater.thresholds["breathy"] = 0.125
    rater.save_pretrained(run / "model")
    push_rater(run / "model", "me/rater")
    assert b"0.125" in pushed(hub, "me/rater")["config.json"]


def test_nothing_is_pushed_to_a_public_repository_unawares(hub, run):
    hub.repositories["me/open"] = Repository()
    hub.repositories["me/open"].commit({})
    with pytest.raises(PushError, match="'me/open' exists and is public. Give --public to push there nevertheless"):
        push_rater(run, "me/open")
    assert pushed(hub, "me/open") == {}
    push_rater(run, "me/open", private=False)
    assert set(pushed(hub, "me/open")) == FILES


def test_without_a_token_nothing_is_sent(hub, run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PushError, match="Nobody is logged in to Hugging Face. Run `hf auth login`, or set HF_TOKEN"):
        push_rater(run, "me/rater")
    assert not hub.requests


@pytest.mark.parametrize(
    ("token", "message"),
    [("hf_expired", "does not accept the token"), (READ_TOKEN, "The token may not write to 'me/rater'")],
)
def test_a_token_without_the_right_is_told(hub, run, monkeypatch, token, message):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(PushError, match=message) as caught:
        push_rater(run, "me/rater")
    assert token not in str(caught.value)
    assert not hub.repositories


def test_no_network_is_told(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        use_endpoint(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}", tmp_path / "cache")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(
            PushError, match="Hugging Face cannot be reached. Connect to the network, or give --dry-run"
        ):
            push_rater(run, "me/rater")


def test_offline_mode_is_told(hub, run, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PushError, match=r"Offline mode is on \(HF_HUB_OFFLINE\): unset it to push"):
        push_rater(run, "me/rater")


def test_a_name_that_cannot_be_an_id_is_refused(hub, run):
    with pytest.raises(PushError, match="'me/what is this' cannot be the id of a repository. Give owner/name"):
        push_rater(run, "me/what is this")


# --- the folder that is pushed ----------------------------------------------------------------------------------------


def test_the_folder_can_be_looked_at_before(run, tmp_path):
    folder = stage_rater(run, tmp_path / "out", "me/rater")
    assert {path.name for path in folder.iterdir()} == FILES
    assert 'snapshot_download("me/rater")' in (folder / "README.md").read_text()
    assert 'snapshot_download("OWNER/NAME")' in (run / "model" / "README.md").read_text()


def test_a_card_that_was_filled_in_is_the_one_that_is_pushed(run, tmp_path):
    (run / "model" / "README.md").write_text("mine, for OWNER/NAME")
    assert (stage_rater(run, tmp_path / "out", "a/b") / "README.md").read_text() == "mine, for a/b"


@pytest.mark.parametrize("given", ["run", "run/model", "alone"])
def test_a_rater_without_a_card_gets_one(run, tmp_path, given):
    (run / "model" / "README.md").unlink()
    shutil.copytree(run / "model", tmp_path / "alone")
    card = (stage_rater(tmp_path / given, tmp_path / "out") / "README.md").read_text()
    assert ("| mean of all traits | model |" in card) == (given != "alone")


def test_a_folder_with_something_in_it_is_not_written_to(run, tmp_path):
    with pytest.raises(PushError, match="is not an empty folder. Give --out another one"):
        stage_rater(run, run)


def test_a_folder_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PushError, match="Cannot write to '.*out': Not a directory. Give --out another folder"):
        stage_rater(run, tmp_path / "file" / "out")


def test_a_damaged_rater_is_not_pushed(hub, run):
    path = run / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RaterError, match=r"Cannot read '.*model.safetensors'"):
        push_rater(run, "me/rater")
    assert not hub.repositories


def test_a_folder_without_a_rater_is_refused(tmp_path):
    with pytest.raises(RaterError, match="No rater in"):
        stage_rater(tmp_path / "nowhere", tmp_path / "out")
