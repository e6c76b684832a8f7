"""Clocks, times of files, languages, names and sizes that are not as usual."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from toy_run import QUICK, write_toy_corpus

DAYS = 24 * 3600.0


def read(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("clock", "times"),
    [
        pytest.param(-30 * DAYS, None, marks=pytest.mark.faults),
        pytest.param(0.0, "equal", marks=pytest.mark.faults),
        pytest.param(0.0, "reversed", marks=pytest.mark.faults),
    ],
)
def test_neither_the_clock_nor_times_of_files_decide_which_checkpoint_is_the_newest(processes, tmp_path, clock, times):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    processes.run("train", str(killed), epochs=4, fault={"kill_before_epoch": 3})
    if times:
        for age, path in enumerate(sorted((killed / "checkpoints").rglob("*"))):
            os.utime(path, (1e9, 1e9 - (age if times == "reversed" else 0)))
    resumed = processes.run("train", str(killed), epochs=4, resume=True, clock=clock)
    assert resumed.code == 0, resumed.err
    assert "Resuming in epoch 3" in resumed.err
    assert processes.run("train", str(whole), epochs=4).code == 0
    assert read(killed) == read(whole)


@pytest.mark.faults
def test_a_run_works_in_another_language_in_a_folder_with_spaces_and_letters_of_any_alphabet(tmp_path):
    place = tmp_path / "Ünï cödé λαλιά (neu) 'x'"
    corpus = write_toy_corpus(place, speakers=4)
    command = [
        sys.executable,
        "-m",
        "lalia",
        "train",
        str(corpus / "run.yaml"),
        *QUICK,
        f"runs={place / 'meine läufe'}",
    ]
    environment = os.environ | {"LANG": "C", "LC_ALL": "C", "HF_HUB_OFFLINE": "1"}
    for extra, code in ([], 0), (["--resume"], 0), ([], 2):
        process = subprocess.run([*command, *extra], env=environment, capture_output=True, timeout=120, cwd=place)
        assert process.returncode == code, process.stderr.decode()
    (run,) = (place / "meine läufe").glob("demo-*")
    assert (run / "report.html").is_file()


@pytest.mark.faults
def test_a_run_takes_ten_thousand_recordings(processes, tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    names = [f"r{number:05d}" for number in range(10_000)]
    for number, name in enumerate(names):
        noise = random.normal(size=800) * (0.02 + 0.1 * (number % 4))
        soundfile.write(tmp_path / "audio" / f"{name}.wav", noise.clip(-1, 1), 8_000)
    rows = {"id": names, "speaker": [f"s{number // 20}" for number in range(10_000)], "rough": [1, 2, 3, 4] * 2_500}
    pd.DataFrame(rows).to_csv(tmp_path / "metadata.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        "name: large\n"
        "data: {metadata: metadata.csv, audio_dir: audio, columns: {recording: id, speaker: speaker},\n"
        "  traits: [rough]}\n"
        "model: {encoder: {random: wavlm, layers: 1, width: 16, heads: 2}, adapt: frozen, pooling: mean}\n"
        "cache: {max_gb: 0}\n"
    )
    arguments = ["train", str(tmp_path / "run.yaml"), "train.epochs=1", f"runs={tmp_path / 'runs'}"]
    process = processes.run("command", *arguments, timeout=400)
    assert process.code == 0, process.err
    (run,) = (tmp_path / "runs").glob("large-*")
    assert len(pd.read_csv(run / "predictions.csv")) == 10_000
