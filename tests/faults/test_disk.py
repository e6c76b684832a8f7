"""A disk that is full, nearly full, or may not be written."""

import hashlib
import json
import re
from collections import namedtuple

from lalia.training import checkpoint_folder
from toy_run import QUICK, write_toy_corpus

Usage = namedtuple("Usage", "total used free")


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_full_disk_leaves_the_old_checkpoints_whole_and_says_what_is_needed(processes, tmp_path):
    processes.run("train", str(tmp_path), fault={"kill_before_epoch": 2})
    before = hashes(tmp_path / "checkpoints")
    process = processes.run("train", str(tmp_path), resume=True, size=20_000)
    assert process.code == 2
    told = re.search(
        r"cannot be written \(.*File too large.*\)\. It needs ([\d,]+) bytes; [\d,]+ are free", process.err
    )
    assert told, process.err
    model, *_ = (tmp_path / "checkpoints").glob("step-*/model.safetensors")
    assert int(told[1].replace(",", "")) > 3 * 0.9 * model.stat().st_size
    assert "is whole: make room, then go on with --resume." in process.err
    assert hashes(tmp_path / "checkpoints") == before

    assert processes.run("train", str(tmp_path), resume=True).code == 0
    whole = tmp_path / "whole"
    assert processes.run("train", str(whole)).code == 0
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads((whole / "result.json").read_text())


def test_a_disk_that_will_be_full_is_announced_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_folder.shutil, "disk_usage", lambda _: Usage(10_000, 9_000, 1_000))
    assert checkpoint_folder.warn_of_space(tmp_path / "not yet there", 100) is None
    said = checkpoint_folder.warn_of_space(tmp_path, 1_000)
    assert said.startswith("Checkpoints may take 4,000 bytes; 1,000 are free in")


def test_a_folder_that_may_not_be_written_is_refused_before_training(processes, tmp_path):
    corpus = write_toy_corpus(tmp_path / "corpus", speakers=4)
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o500)
    arguments = ["train", str(corpus / "run.yaml"), *QUICK]
    for place in (runs, runs / "below"):
        process = processes.run("command", *arguments, f"runs={place}", keeps_capabilities=False)
        assert process.code == 2
        assert re.search(r"Cannot write to '.*': Permission denied\. Set another folder in runs\.", process.err)
        assert "epoch" not in process.err
    assert not list(runs.iterdir())
