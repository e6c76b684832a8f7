"""Checkpoints that something else damaged: announced, set aside, and the one before is used."""

import json
import shutil

import pytest


def newest(folder):
    return sorted((folder / "checkpoints").glob("step-*"))[-1]


def truncate(path):
    content = (path / "optimizer.safetensors").read_bytes()
    (path / "optimizer.safetensors").write_bytes(content[: len(content) // 2])


def flip_a_bit(path):
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-5] ^= 4
    (path / "model.safetensors").write_bytes(content)


def change_the_state(path):
    text = (path / "state.json").read_text()
    (path / "state.json").write_text(text.replace('"epoch": 4', '"epoch": 3'))


def keep_half(path):
    (path / "model.safetensors").unlink()
    (path / "complete.json").unlink()


DAMAGES = {
    "truncated": (truncate, "optimizer.safetensors is not as long as it was written"),
    "bit flipped": (flip_a_bit, "model.safetensors has other bytes than it was written"),
    "other state": (change_the_state, "state.json has other bytes than it was written"),
    "missing": (shutil.rmtree, "its folder is missing"),
    "half a folder": (keep_half, "it is not complete: complete.json is missing or damaged"),
}


@pytest.fixture(scope="module")
def killed(processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    processes.run("train", str(folder), epochs=5, fault={"kill_before_epoch": 4})
    assert len(list((folder / "checkpoints").glob("step-*"))) >= 2
    return folder


@pytest.fixture(scope="module")
def expected(processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert processes.run("train", str(folder), epochs=5).code == 0
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_a_damaged_one_is_used(processes, killed, expected, tmp_path, damage):
    folder = shutil.copytree(killed, tmp_path / "copy")
    broken = newest(folder)
    spoil, words = DAMAGES[damage]
    spoil(broken)
    process = processes.run("train", str(folder), epochs=5, resume=True)
    assert process.code == 0, process.err
    assert f"Checkpoint {broken.name} cannot be used ({words})" in process.err
    assert (folder / "checkpoints" / f"damaged-{broken.name}").exists() == (damage != "missing")
    assert json.loads((folder / "result.json").read_text()) == expected


def test_where_no_checkpoint_is_whole_nothing_is_trained_or_moved(processes, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "copy")
    for path in (folder / "checkpoints").glob("step-*"):
        flip_a_bit(path)
    before = sorted(path.name for path in (folder / "checkpoints").iterdir())
    for _ in range(2):
        process = processes.run("train", str(folder), epochs=5, resume=True)
        assert process.code == 2
        assert "No checkpoint in" in process.err
        assert "Train again with --overwrite." in process.err
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == before


def test_a_checkpoint_of_another_run_is_refused(processes, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "copy")
    process = processes.run("train", str(folder), epochs=5, resume=True, run_id="other")
    assert process.code == 2
    assert "it belongs to another run, r" in process.err


def test_an_index_that_is_lost_is_made_again_from_the_checkpoints(processes, killed, expected, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "copy")
    (folder / "checkpoints" / "index.json").write_text("{")
    process = processes.run("train", str(folder), epochs=5, resume=True)
    assert process.code == 0, process.err
    assert json.loads((folder / "result.json").read_text()) == expected
