"""The command line as a user meets it: what it prints, and with which code it leaves."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from commands import call_lalia
from lalia.model.encoders.base import SpeechEncoder
from lalia.model.rater import SpeechRater
from lalia.run import train
from lalia.training.cache import ActivationStore, content_key
from toy_run import QUICK, TRAITS, copy_run, quick_settings, write_toy_corpus

COMMANDS = [
    "demo",
    "init",
    "check",
    "split",
    "train",
    "evaluate",
    "report",
    "predict",
    "probe",
    "audit",
    "cache",
    "app",
]


@pytest.fixture
def lalia(monkeypatch, capsys):
    """Run a command in this process and return its exit code, stdout and stderr."""

    def call(*arguments, cwd):
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = call_lalia(*arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def start(*arguments, cwd):
    """Run a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lalia", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_toy_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(finished_run, tmp_path_factory):
    return copy_run(finished_run, tmp_path_factory.mktemp("runs"))


def test_help_names_every_command(tmp_path, lalia):
    code, out, _ = lalia("--help", cwd=tmp_path)
    assert code == 0
    assert [command for command in COMMANDS if f" {command} " not in out] == []


def test_train_prints_epochs_results_and_the_report_as_plain_lines_without_a_terminal(corpus, tmp_path, lalia):
    code, out, err = lalia("train", corpus / "run.yaml", *QUICK, f"runs={tmp_path}", "train.epochs=1", cwd=tmp_path)
    assert code == 0
    assert re.search(r"epoch +1 \| training loss \d.* \| validation loss \d.* s \| best so far", err)
    assert "\x1b" not in out + err
    assert "majority" in out
    assert "duration" in out
    assert Path(re.search(r"Report: (.*)", out)[1]).is_file()


def test_a_mistake_in_the_settings_is_one_message_and_code_2(corpus, lalia):
    code, out, err = lalia("train", "run.yaml", "train.epoch=3", "seed=x", cwd=corpus)
    assert (code, out) == (2, "")
    assert err == (
        "Error: run.yaml has 2 problems: train.epoch is not a setting (did you mean train.epochs?); "
        "seed must be a valid integer, got 'x'.\n"
    )


def test_an_unknown_command_is_code_2(tmp_path, lalia):
    assert lalia("trian", cwd=tmp_path)[0] == 2


def test_a_bug_is_code_1_with_a_traceback(tmp_path):
    code = "import lalia.cli, lalia.starter\nlalia.starter.write_starter = None\nlalia.cli.main()"
    found = subprocess.run(
        [sys.executable, "-c", code, "init"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 1
    assert "Traceback" in found.stderr


def test_check_shows_flow_ratings_and_what_trains_and_writes_nothing(corpus, lalia):
    before = sorted(corpus.rglob("*"))
    code, out, err = lalia("check", "run.yaml", *QUICK, "model.adapt={kind: partial, last: 1}", cwd=corpus)
    assert code == 0, err
    assert re.search(r"kept\W+16\W+8\b", out)
    assert re.search(r"test\W+\d+\W+2\b", out)
    assert re.search(r"block 1\W+[\d,]+\W+0\b", out)
    assert "changes from depth 1 of 1 on" in out
    assert sorted(corpus.rglob("*")) == before


def test_check_forecasts_what_the_cache_will_take(corpus, tmp_path, lalia):
    place = f"cache={{dir: {tmp_path / 'kept'}, max_gb: 0.00001}}"
    frozen = ("model.adapt={kind: frozen}", "model.layers=last", "model.pooling=mean")
    code, out, err = lalia("check", "run.yaml", *QUICK, *frozen, place, cwd=corpus)
    assert code == 0, err
    # 16 recordings x 3 statistics x depths 0, 1 and last x 16 values of 2 bytes, and a header each
    assert f"pooled vectors of all depths take 0.01 MB of 1e-05 GB in {tmp_path / 'kept'}." in " ".join(out.split())
    assert "they do not fit" in out
    assert not (tmp_path / "kept").exists()
    last = ("model.adapt={kind: partial, last: 1}", "model.layers=last", "model.pooling=mean")
    out = " ".join(lalia("check", "run.yaml", *QUICK, *last, place, cwd=corpus)[1].split())
    # 16 recordings x 200 positions x 16 values of 2 bytes: Whisper's block attends to silence too
    assert "Cache: the frames of depth 0 take 0.11 MB of 1e-05 GB" in out
    whole = ("model.adapt={kind: full}", "model.layers=last", "model.pooling=mean")
    assert (
        "Cache: nothing is kept, because the whole encoder trains"
        in lalia("check", "run.yaml", *QUICK, *whole, place, cwd=corpus)[1]
    )


def test_probe_writes_a_table_a_heat_map_and_numbers_and_runs_the_encoder_once(corpus, tmp_path, lalia, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = ["probe", corpus / "run.yaml", *QUICK, f"runs={tmp_path}", "probe.folds=3", "model.adapt=full"]
    code, out, err = lalia(*command, cwd=tmp_path)
    assert code == 0, err
    assert re.search(r"12 recordings of 6 speakers", out)
    assert re.search(r"best minus last", out)
    assert out.endswith(f"Wrote {tmp_path / 'demo-probe'}: probe.csv, probe.json, probe.svg\n")
    assert len(list((tmp_path / "lalia").rglob("*.safetensors"))) == 12
    first = {path.name: path.read_bytes() for path in (tmp_path / "demo-probe").iterdir()}
    monkeypatch.setattr(SpeechEncoder, "forward", lambda *_: pytest.fail("the encoder ran again"))
    monkeypatch.setattr("lalia.build.check_gradients", lambda _: None)
    assert lalia(*command, "--out", tmp_path / "again", cwd=tmp_path)[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


def test_cache_shows_and_clears_what_is_kept(tmp_path, lalia, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "lalia" / "activations"
    assert lalia("cache", cwd=tmp_path)[1] == f"{folder}: nothing is kept there.\n"
    ActivationStore(folder).save(content_key(audio="a"), {"mean": torch.zeros(4)})
    code, out, _ = lalia("cache", "show", cwd=tmp_path)
    assert code == 0
    assert f"{folder}: 1 entries, 0.00 MB\nThe first to go was last used on 2" in out
    assert "deleted 1 entries" in lalia("cache", "clear", cwd=tmp_path)[1]
    assert f"{folder}: 0 entries" in lalia("cache", "--dir", folder, cwd=tmp_path)[1]
    assert lalia("cache", "burn", cwd=tmp_path)[0] == 2


def test_init_guesses_settings_that_check_accepts(tmp_path, lalia):
    write_toy_corpus(tmp_path, speakers=4)
    (tmp_path / "run.yaml").unlink()
    code, out, err = lalia("init", cwd=tmp_path)
    assert (code, out) == (0, "Wrote run.yaml: read it, then run: lalia check run.yaml\n"), err
    overrides = [QUICK[2], "audio.window_seconds=4", "audio.hop_seconds=4", "data.scale.recode={1.5: 1}"]
    code, _, err = lalia("check", "run.yaml", *overrides, cwd=tmp_path)
    assert code == 0, err


def test_split_writes_a_file_that_a_run_can_read(corpus, tmp_path, lalia):
    code, out, _ = lalia("split", corpus / "run.yaml", *QUICK[3:], "--out", "split.csv", cwd=tmp_path)
    assert code == 0
    digest = re.search(r"sha256 (\w{64})", out)[1]
    split = f"split={{kind: file, path: split.csv, sha256: {digest}}}"
    code, out, err = lalia("check", corpus / "run.yaml", *QUICK[:3], split, cwd=tmp_path)
    assert code == 0, err
    assert "test" in out


def test_report_and_evaluate_take_a_run(run, tmp_path, lalia):
    (run / "report.html").unlink()
    assert lalia("report", run, cwd=tmp_path)[0] == 0
    assert (run / "report.html").is_file()
    assert lalia("evaluate", run, cwd=tmp_path)[0] == 0


def test_a_folder_that_is_no_run_is_refused(tmp_path, lalia):
    code, _, err = lalia("report", tmp_path, cwd=tmp_path)
    assert code == 2
    assert "is not the folder of a run: it has no config.yaml" in err


def test_predict_rates_files_folders_and_tables(run, corpus, tmp_path, lalia):
    (corpus / "list.csv").write_text("file\naudio/S003_1.wav\n")
    inputs = [corpus / "audio" / "S001_1.wav", corpus / "list.csv"]
    code, out, err = lalia("predict", run, *inputs, "--out", "out.csv", cwd=tmp_path)
    (corpus / "list.csv").unlink()
    assert (code, out) == (0, "Wrote out.csv: 2 recordings\n"), err
    rated = pd.read_csv(tmp_path / "out.csv")
    assert list(rated["recording"].unique()) == ["S001_1.wav", "audio/S003_1.wav"]
    assert lalia("predict", run / "model", corpus / "audio", cwd=tmp_path)[0] == 0
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 16 * len(TRAITS)


def test_predict_names_what_it_cannot_rate_and_rates_the_rest(run, corpus, tmp_path, lalia):
    (tmp_path / "bad.wav").write_text("not audio")
    code, _, err = lalia("predict", run, tmp_path / "bad.wav", corpus / "audio" / "S001_1.wav", cwd=tmp_path)
    assert code == 0
    assert "Not rated: 'bad.wav':" in err
    code, _, err = lalia("predict", run, tmp_path / "bad.wav", "--out", "none.csv", cwd=tmp_path)
    assert code == 2
    assert "None of the recordings can be rated" in err
    assert not (tmp_path / "none.csv").exists()


def test_check_names_the_heads_that_a_run_takes_over(run, corpus, lalia):
    start = ["model.encoder=null", "model.adapt=frozen", f"model.start_from={run}", "data.traits=[breathy, slow_rate]"]
    code, out, err = lalia("check", "run.yaml", *QUICK, *start, cwd=corpus)
    assert code == 0, err
    assert "Heads taken over from the saved rater: breathy, slow_rate." in out


def wait_for_checkpoint(folder, process):
    end = time.monotonic() + 120
    while not list(folder.glob("*/checkpoints/step-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no checkpoint was written"
        time.sleep(0.02)


LONG = [*QUICK, "train.epochs=8"]


@pytest.fixture(scope="module")
def whole_run(corpus, tmp_path_factory):
    return train(quick_settings(corpus, tmp_path_factory.mktemp("whole"), *LONG))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_saves_the_state_and_resume_ends_as_if_nothing_had_been(
    corpus, whole_run, tmp_path, lalia, number, code
):
    again = ["train", corpus / "run.yaml", *LONG, f"runs={tmp_path}"]
    process = start(*again, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "The state is saved: go on with --resume." in err
    assert "Traceback" not in err

    assert lalia(*again, cwd=tmp_path)[0] == 2
    code, _, err = lalia(*again, "--resume", cwd=tmp_path)
    assert code == 0, err
    assert "Resuming in epoch" in err
    for name in ("metrics.json", "predictions.csv"):
        assert (tmp_path / whole_run.name / name).read_bytes() == (whole_run / name).read_bytes()


def test_a_killed_run_leaves_no_half_written_file_and_resumes(corpus, tmp_path, lalia):
    again = ["train", corpus / "run.yaml", *LONG, f"runs={tmp_path}"]
    process = start(*again, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, process)
    process.kill()
    process.communicate(timeout=60)
    (folder,) = tmp_path.glob("demo-*")
    assert not (folder / "model").exists()
    assert not (folder / "metrics.json").exists()
    code, _, err = lalia("report", folder, cwd=tmp_path)
    assert (code, "has not finished" in err) == (2, True)
    assert lalia(*again, "--resume", cwd=tmp_path)[0] == 0
    assert SpeechRater.from_pretrained(folder).traits


def test_audit_shows_tables_and_findings_and_names_its_files(corpus, tmp_path, lalia):
    code, out, _ = lalia("audit", corpus / "run.yaml", *QUICK, f"runs={tmp_path}", cwd=tmp_path)
    assert code == 0
    for title in ("AUC of what is no speech", "AUC where recordings or speakers are split", "Few people:"):
        assert title in out
    assert re.search(r"\d+ findings\.", out)
    assert (tmp_path / "demo-audit" / "audit.json").is_file()


def test_audit_of_a_run_shows_its_groups_of_speakers(corpus, tmp_path, lalia):
    run = train(quick_settings(corpus, tmp_path, "audit.min_speakers=1"))
    code, out, _ = lalia("audit", run, cwd=tmp_path)
    assert code == 0
    assert "Groups of speakers, mean over traits, test part" in out
    assert "sex: female" in out
    found = pd.read_csv(run / "audit" / "subgroups.csv")
    assert {"task", "age", "sex", "site", "severity"} == set(found["attribute"])
    assert found["value"].notna().any()
    assert lalia("audit", run, "data.covariates=[sex]", cwd=tmp_path)[0] == 0
    assert {"task", "sex", "severity"} == set(pd.read_csv(run / "audit" / "subgroups.csv")["attribute"])


def test_check_names_levels_that_few_people_have(corpus, tmp_path, lalia):
    _, out, _ = lalia("check", corpus / "run.yaml", *QUICK, f"runs={tmp_path}", cwd=tmp_path)
    assert "Note: Few people: " in out
    assert "fewer than 5 speakers" in out
    _, out, _ = lalia("check", corpus / "run.yaml", *QUICK, f"runs={tmp_path}", "audit.min_speakers=1", cwd=tmp_path)
    assert "fewer than 5 speakers" not in out
