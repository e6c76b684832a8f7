"""One folder, one run: who may go on with it, and with what."""

import json
import re
import shutil
import signal

import pandas as pd
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from lalia.run_lock import lock_path, run_lock
from toy_rater import make_encoder
from toy_run import QUICK, write_toy_corpus

SHORT = [*QUICK, "train.epochs=3"]
ENDLESS = [*QUICK, "train.epochs=100000"]


def arguments(folder, *overrides, settings=SHORT):
    return ["train", str(folder / "corpus" / "run.yaml"), *settings, f"runs={folder / 'runs'}", *overrides]


@pytest.fixture(scope="module")
def stopped(processes, tmp_path_factory):
    """A corpus with a run on it that was stopped after its first epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    write_toy_corpus(folder / "corpus", speakers=4)
    process = processes.run("command", *arguments(folder), fault={"signal_after_save": [1, signal.SIGTERM]})
    assert process.code == 143, process.err
    return folder


@pytest.fixture
def folder(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "copy")


def run_of(folder):
    (found,) = (folder / "runs").glob("demo-*")
    return found


def read_manifest(folder):
    return json.loads((run_of(folder) / "manifest.json").read_text())


def change_manifest(folder, group, key, value):
    manifest = read_manifest(folder)
    manifest[group][key] = value
    (run_of(folder) / "manifest.json").write_text(json.dumps(manifest))


def change_table(folder):
    path = folder / "corpus" / "metadata.csv"
    path.write_text(path.read_text().replace(",male,", ",female,", 1))


def drop_a_recording(folder):
    path = folder / "corpus" / "metadata.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def change_a_recording(folder):
    path = folder / "corpus" / "audio" / "S002_1.wav"
    samples, rate_hz = soundfile.read(path)
    soundfile.write(path, 0.5 * samples, rate_hz)


def move_a_speaker(folder):
    path = folder / "parts.csv"
    parts = pd.read_csv(path)
    of_test = parts.loc[parts["part"] == "test", "speaker"].iloc[0]
    parts.loc[parts["speaker"] == of_test, "part"] = "train"
    parts.to_csv(path, index=False)


def change_the_encoder(folder):
    path = folder / "encoder" / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name] + 1e-3}, path, metadata={"format": "pt"})


def install_another_library(folder):
    place = folder / "packages" / "soxr-99.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: soxr\nVersion: 99.0\n")


def nothing(folder):
    pass


CHANGES = {
    "a setting": (nothing, ["train.learning_rate=0.5"], r"train\.learning_rate: [\d.]+ -> 0\.5"),
    "the table": (change_table, [], r"data: 8 recordings -> 8 recordings, other words on S00\d_\d[).;]"),
    "a recording": (change_a_recording, [], r"data: 8 recordings -> 8 recordings, other audio of S002_1[).;]"),
    "the recordings": (drop_a_recording, [], r"data: 8 recordings -> 7 recordings, without S004_2"),
}
OTHERS = {
    "the split": (move_a_speaker, r"split: S00\d_1 in test, S00\d_2 in test -> S00\d_1 in train, S00\d_2 in train"),
    "the encoder": (change_the_encoder, r"encoder\.weights_sha256: \w{64} -> \w{64}"),
    "a library": (install_another_library, r"versions\.soxr: [\d.]+ -> 99\.0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_began_otherwise_is_not_gone_on_with(processes, folder, change):
    make, overrides, words = CHANGES[change]
    make(folder)
    before = read_manifest(folder)
    process = processes.run("command", *arguments(folder, *overrides, "--resume"))
    assert process.code == 2, process.err
    assert re.search(words, process.err), process.err
    assert "go on all the same with --allow-change" in process.err
    assert read_manifest(folder) == before
    assert run_of(folder)


@pytest.mark.faults
@pytest.mark.parametrize("change", OTHERS)
def test_a_run_whose_split_encoder_or_libraries_changed_is_gone_on_with_only_if_allowed(processes, tmp_path, change):
    write_toy_corpus(tmp_path / "corpus", speakers=4)
    make_encoder().model.save_pretrained(tmp_path / "encoder")
    parts = pd.read_csv(tmp_path / "corpus" / "metadata.csv")[["id", "speaker"]].rename(columns={"id": "recording"})
    place = parts["speaker"].rank(method="dense").map({1: "train", 2: "train", 3: "validation", 4: "test"})
    parts.assign(part=place).to_csv(tmp_path / "parts.csv", index=False)
    given = arguments(
        tmp_path,
        f"model.encoder={tmp_path / 'encoder'}",
        f"split={{kind: file, path: {tmp_path / 'parts.csv'}}}",
    )
    stopped = processes.run("command", *given, fault={"signal_after_save": [1, signal.SIGTERM]})
    assert stopped.code == 143, stopped.err
    make, words = OTHERS[change]
    make(tmp_path)
    refused = processes.run("command", *given, "--resume", packages=str(tmp_path / "packages"))
    assert refused.code == 2, refused.err
    assert re.search(words, refused.err), refused.err
    allowed = processes.run("command", *given, "--resume", "--allow-change", packages=str(tmp_path / "packages"))
    assert allowed.code == 0, allowed.err
    (noted,) = read_manifest(tmp_path)["changes"]
    card = (run_of(tmp_path) / "model" / "README.md").read_text()
    assert f"Changed in the middle of training: {noted['what']}" in card


@pytest.mark.faults
def test_an_allowed_change_is_in_the_manifest_and_the_model_card(processes, folder):
    run_id = read_manifest(folder)["run"]
    change_manifest(folder, "versions", "torch", "1.0")
    change_table(folder)
    process = processes.run("command", *arguments(folder, "train.learning_rate=0.002", "--resume", "--allow-change"))
    assert process.code == 0, process.err
    assert "Resuming in epoch 2" in process.err
    manifest = read_manifest(folder)
    assert (manifest["run"], manifest["finished"]) == (run_id, True)
    assert [each["what"] for each in manifest["changes"]] == ["train.learning_rate", "data", "versions.torch"]
    card = (run_of(folder) / "model" / "README.md").read_text()
    assert "Changed in the middle of training: train.learning_rate from 0.001 to 0.002" in card
    assert "Changed in the middle of training: data\n" in card


def test_a_change_that_was_allowed_once_need_not_be_allowed_again(processes, folder):
    changed = arguments(folder, "train.learning_rate=0.002", "--resume")
    again = processes.run("command", *changed, "--allow-change", fault={"signal_after_save": [1, signal.SIGTERM]})
    assert again.code == 143, again.err
    third = processes.run("command", *changed, fault={"signal_after_save": [1, signal.SIGTERM]})
    assert (third.code, "Resuming in epoch 3" in third.err) == (143, True), third.err
    assert len(read_manifest(folder)["changes"]) == 1


def test_a_run_that_exists_is_refused_and_stays_as_it_is(processes, folder):
    before = {path: path.read_bytes() for path in run_of(folder).rglob("*") if path.is_file()}
    process = processes.run("command", *arguments(folder))
    assert process.code == 2
    assert "exists already. Give --resume to go on, --overwrite to begin again" in process.err
    assert before == {path: path.read_bytes() for path in run_of(folder).rglob("*") if path.is_file()}


def test_a_second_process_is_told_who_has_the_run_and_takes_over_when_that_is_dead(processes, tmp_path):
    write_toy_corpus(tmp_path / "corpus", speakers=4)
    endless = arguments(tmp_path, settings=ENDLESS)
    first = processes.start("command", *endless)
    first.wait_for(lambda: list((tmp_path / "runs").glob("demo-*/checkpoints/step-*")))
    for option in ("--resume", "--overwrite"):
        second = processes.run("command", *endless, option)
        assert second.code == 2, second.err
        assert re.search(rf"is in use by process {first.pid} on \S+\. Wait for it, or stop it first", second.err)
    assert list((tmp_path / "runs").glob("demo-*/checkpoints/step-*"))
    first.send(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert lock_path(run_of(tmp_path)).exists()
    third = processes.run("command", *endless, "--resume", fault={"signal_after_save": [1, signal.SIGTERM]})
    assert third.code == 143, third.err
    assert "Resuming in epoch" in third.err
    assert not lock_path(run_of(tmp_path)).exists()


def test_a_lock_does_not_survive_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), run_lock(tmp_path / "run"):
            assert lock_path(tmp_path / "run").exists()
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
