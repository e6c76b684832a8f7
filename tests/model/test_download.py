"""Encoders by their Hugging Face id: huggingface_hub as it is, against a stand-in of the hub on this machine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from transformers import HubertConfig, HubertModel

from hub_stand_in import Repository, StandIn, stand_in, use_endpoint
from lalia.errors import EncoderError
from lalia.model.encoders import download
from lalia.model.encoders.load import load_encoder

NAME = "someone/small-hubert"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with stand_in() as running:
        use_endpoint(monkeypatch, running.endpoint, tmp_path / "cache")
        yield running


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def write_hubert(folder: Path, seed: int = 0, *, pickled: bool = False) -> Path:
    torch.manual_seed(seed)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = HubertModel(config)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    return folder


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def bias(encoder: object) -> torch.Tensor:
    return encoder.model.encoder.layers[0].attention.q_proj.weight  # type: ignore[attr-defined]


# --- what is downloaded -----------------------------------------------------------------------------------------------


def test_a_branch_is_downloaded_once_and_its_commit_recorded(hub: StandIn, tmp_path: Path) -> None:
    commit = hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    for revision in (None, "main", commit):
        encoder = load_encoder(NAME, revision=revision)
        assert (encoder.source.name, encoder.source.revision) == (NAME, commit)
        assert encoder.normalize is True
    assert len(hub.asked_for(f"/{NAME}/resolve/*/model.safetensors")) == 2  # one HEAD, one GET


def test_a_moved_branch_gives_its_new_commit_and_the_old_one_stays_reachable(hub: StandIn, tmp_path: Path) -> None:
    old = hub.add_folder(NAME, write_hubert(tmp_path / "one"))
    first = load_encoder(NAME)
    new = hub.add_folder(NAME, write_hubert(tmp_path / "two", seed=1))
    second = load_encoder(NAME)
    assert (first.source.revision, second.source.revision) == (old, new)
    assert not torch.equal(bias(first), bias(second))
    assert torch.equal(bias(load_encoder(NAME, revision=old)), bias(first))


def test_a_tag_is_a_revision(hub: StandIn, tmp_path: Path) -> None:
    tagged = hub.add_folder(NAME, write_hubert(tmp_path / "one"), branch="v1")
    hub.add_folder(NAME, write_hubert(tmp_path / "two", seed=1))
    assert load_encoder(NAME, revision="v1").source.revision == tagged


@pytest.mark.parametrize("pickled", [False, True])
def test_only_one_kind_of_weights_is_downloaded(hub: StandIn, tmp_path: Path, pickled: bool) -> None:
    repository = write_hubert(tmp_path / "repository", pickled=pickled)
    if not pickled:
        (repository / "pytorch_model.bin").write_bytes(b"the same again")
    (repository / "tf_model.h5").write_bytes(b"and again")
    hub.add_folder(NAME, repository)
    load_encoder(NAME)
    asked = {path.rpartition("/")[2] for path in hub.asked_for(f"/{NAME}/resolve/*")}
    weights = "pytorch_model.bin" if pickled else "model.safetensors"
    assert asked == {"config.json", "preprocessor_config.json", weights}


def test_code_in_a_repository_is_neither_downloaded_nor_run(hub: StandIn, tmp_path: Path) -> None:
    repository = write_hubert(tmp_path / "repository")
    (repository / "modeling.py").write_text("raise SystemExit('ran')")
    config = json.loads((repository / "config.json").read_text())
    config["encoder"] = {"auto_map": {"AutoModel": "modeling.Model"}}
    (repository / "config.json").write_text(json.dumps(config))
    hub.add_folder(NAME, repository)
    with pytest.raises(EncoderError, match=r"brings its own code \(auto_map in config.json\)"):
        load_encoder(NAME)
    assert not hub.asked_for("*modeling.py")


# --- where it goes ----------------------------------------------------------------------------------------------------


def test_ids_and_revisions_do_not_mix_in_a_download_folder(hub: StandIn, tmp_path: Path) -> None:
    place = tmp_path / "encoders"
    wanted = {}
    for seed, (name, branch) in enumerate([(NAME, "main"), (NAME, "v2"), ("another/small-hubert", "main")]):
        hub.add_folder(name, write_hubert(tmp_path / str(seed), seed), branch)
        wanted[name, branch] = load_encoder(tmp_path / str(seed))
    for (name, branch), encoder in wanted.items():
        assert torch.equal(bias(load_encoder(name, revision=branch, download_dir=place)), bias(encoder))
    assert sorted(folder.name for folder in place.glob("models--*")) == [
        "models--another--small-hubert",
        "models--someone--small-hubert",
    ]
    assert not (tmp_path / "cache").exists()


def test_a_download_folder_is_read_again_without_a_network(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    load_encoder(NAME, download_dir=tmp_path / "encoders")
    go_offline(monkeypatch)
    assert load_encoder(NAME, download_dir=tmp_path / "encoders").source.revision == commit
    with pytest.raises(EncoderError, match="not in the local cache"):
        load_encoder(NAME)


@pytest.mark.parametrize("place", [None, "encoders"])
@pytest.mark.parametrize("pickled", [False, True])
def test_a_download_that_is_not_kept_leaves_no_file(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None, pickled: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    repository = write_hubert(tmp_path / "repository", pickled=pickled)
    commit = hub.add_folder(NAME, repository)
    folder = None if place is None else tmp_path / place
    encoder = load_encoder(NAME, download_dir=folder, keep_download=False)
    assert encoder.source.revision == commit
    assert torch.equal(bias(encoder), bias(load_encoder(repository)))
    for left in ("cache", "temporary", "encoders"):
        assert files_in(tmp_path / left) == set(), left


@pytest.mark.parametrize("place", [None, "encoders"])
def test_what_was_there_before_stays_and_is_not_downloaded_again(
    hub: StandIn, tmp_path: Path, place: str | None
) -> None:
    hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    folder = None if place is None else tmp_path / place
    load_encoder(NAME, download_dir=folder)
    (tmp_path / (place or "cache") / "mine.txt").write_text("mine")
    before = files_in(tmp_path / (place or "cache"))
    hub.requests.clear()
    load_encoder(NAME, download_dir=folder, keep_download=False)
    assert files_in(tmp_path / (place or "cache")) == before
    assert not hub.asked_for("*/resolve/*")


def test_a_download_that_is_not_kept_does_not_take_an_outdated_copy(hub: StandIn, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_hubert(tmp_path / "one"))
    load_encoder(NAME)
    new = hub.add_folder(NAME, write_hubert(tmp_path / "two", seed=1))
    assert load_encoder(NAME, keep_download=False).source.revision == new


def test_a_cached_encoder_is_found_without_a_network_when_downloads_are_not_kept(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    load_encoder(NAME)
    go_offline(monkeypatch)
    assert load_encoder(NAME, keep_download=False).source.revision == commit


def test_a_download_that_fails_to_load_is_removed_too(hub: StandIn, tmp_path: Path) -> None:
    repository = write_hubert(tmp_path / "repository")
    (repository / "model.safetensors").write_bytes(b"not weights")
    hub.add_folder(NAME, repository)
    with pytest.raises(EncoderError, match="the weights cannot be read"):
        load_encoder(NAME, download_dir=tmp_path / "encoders", keep_download=False)
    assert files_in(tmp_path / "encoders") == set()


def test_a_users_own_folder_is_never_removed(tmp_path: Path) -> None:
    before = files_in(write_hubert(tmp_path / "mine"))
    load_encoder(tmp_path / "mine", keep_download=False)
    assert files_in(tmp_path / "mine") == before


# --- what cannot be had -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
def test_an_unknown_id_names_the_nearest(hub: StandIn, keep: bool) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder("microsoft/wavlm-lage", keep_download=keep)
    assert str(caught.value) == (
        "Unknown encoder 'microsoft/wavlm-lage'. Did you mean 'microsoft/wavlm-large'?"
        " Give a Hugging Face id or a folder. If it is private, `hf auth login` first."
    )


def test_a_private_id_without_a_token_says_to_log_in(hub: StandIn, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    hub.repositories[NAME].private = True
    with pytest.raises(EncoderError, match="If it is private, `hf auth login` first"):
        load_encoder(NAME)


@pytest.mark.parametrize("keep", [True, False])
def test_a_gated_id_names_its_page(hub: StandIn, tmp_path: Path, keep: bool) -> None:
    hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    hub.repositories[NAME].gated = True
    with pytest.raises(EncoderError, match=f"is gated: accept its terms at https://huggingface.co/{NAME}, then `hf"):
        load_encoder(NAME, keep_download=keep)


@pytest.mark.parametrize("keep", [True, False])
def test_a_revision_that_is_not_there_is_named(hub: StandIn, tmp_path: Path, keep: bool) -> None:
    hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    with pytest.raises(EncoderError, match=f"'{NAME}' has no revision 'v2'.*{NAME}/commits/main lists"):
        load_encoder(NAME, revision="v2", keep_download=keep)


@pytest.mark.parametrize("keep", [True, False])
def test_no_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # a port that nobody listens to: connections are refused
        use_endpoint(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}", tmp_path / "cache")
        with pytest.raises(EncoderError, match="not in the local cache, and Hugging Face cannot be reached"):
            load_encoder("facebook/hubert-base-ls960", keep_download=keep)


@pytest.mark.parametrize("keep", [True, False])
def test_offline_mode_is_named_as_the_reason(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    go_offline(monkeypatch)
    with pytest.raises(EncoderError) as caught:
        load_encoder("microsoft/wavlm-large", keep_download=keep)
    assert str(caught.value) == (
        "The encoder 'microsoft/wavlm-large' is not in the local cache, and offline mode is on (HF_HUB_OFFLINE)."
        " Unset HF_HUB_OFFLINE and connect to the network once, or give a folder that holds the encoder."
    )
    assert not hub.requests


def test_a_misspelt_id_offline_is_named(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch)
    with pytest.raises(EncoderError, match=r"\(HF_HUB_OFFLINE\)\. Did you mean 'microsoft/wavlm-large'\?"):
        load_encoder("microsoft/wavlm-lage")


def test_a_hub_that_is_out_of_order_is_named(hub: StandIn) -> None:
    hub.repositories[NAME] = Repository(broken=503)
    with pytest.raises(EncoderError, match="Hugging Face answered 503. Try again later"):
        load_encoder(NAME)


def test_half_a_download_is_not_taken_for_the_whole_offline(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    load_encoder(NAME)
    (snapshot,) = (tmp_path / "cache").glob(f"*/snapshots/{commit}")
    (snapshot / "model.safetensors").unlink()
    go_offline(monkeypatch)
    with pytest.raises(EncoderError, match="only partly in the local cache, and offline mode is on"):
        load_encoder(NAME)


def test_a_tokenizer_alone_is_said_to_be_one(hub: StandIn) -> None:
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "vocab.json": b"{}"}
    hub.repositories["someone/tokenizer"] = Repository()
    hub.repositories["someone/tokenizer"].commit(files)
    with pytest.raises(EncoderError, match=r"holds a tokenizer \(tokenizer.json, vocab.json\) but no weights"):
        load_encoder("someone/tokenizer")


def test_a_repository_without_a_config_says_so(hub: StandIn) -> None:
    hub.repositories["someone/notes"] = Repository()
    hub.repositories["someone/notes"].commit({"README.md": b"nothing"})
    with pytest.raises(EncoderError, match="holds no config.json: it is not an encoder in the layout of Hugging Face"):
        load_encoder("someone/notes")


def test_weights_in_another_format_are_named(hub: StandIn) -> None:
    hub.repositories["someone/flax"] = Repository()
    hub.repositories["someone/flax"].commit({"config.json": b"{}", "flax_model.msgpack": b"", "tokenizer.json": b"{}"})
    with pytest.raises(EncoderError, match="nor pytorch_model.bin. It has flax_model.msgpack, which lalia does not"):
        load_encoder("someone/flax")


def test_an_adapter_alone_is_said_to_be_one(hub: StandIn) -> None:
    hub.repositories["someone/lora"] = Repository()
    hub.repositories["someone/lora"].commit({"adapter_config.json": b"{}", "adapter_model.safetensors": b""})
    with pytest.raises(EncoderError, match=r"holds an adapter of peft .* Merge it into its base model"):
        load_encoder("someone/lora")


@pytest.mark.parametrize("name", ["randm:wavlm", "what is this", "a--b"])
def test_a_name_that_cannot_be_an_id_is_unknown(hub: StandIn, name: str) -> None:
    with pytest.raises(EncoderError, match=f"Unknown encoder '{name}'"):
        load_encoder(name)


def test_a_download_folder_that_cannot_be_made_is_told(hub: StandIn, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_hubert(tmp_path / "repository"))
    (tmp_path / "file").write_text("in the way")
    for keep in (True, False):
        with pytest.raises(EncoderError, match="cannot be downloaded.*Not a directory"):
            load_encoder(NAME, download_dir=tmp_path / "file" / "encoders", keep_download=keep)


def test_a_full_disk_is_told(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "snapshot_download", snapshot_download)
    with pytest.raises(EncoderError, match="cannot be downloaded.*No space left"):
        load_encoder(NAME)
