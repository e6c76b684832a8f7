import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from cloud_stores import KEY, SECRET, s3_store
from commands import call_lalia
from lalia.config import load_config
from lalia.data import remote
from lalia.errors import ConfigError, RunError, Stopped, StorageError
from lalia.progress import Progress
from lalia.run import evaluate_run, train
from lalia.run_at_url import fetch_run, mirroring, upload_run
from lalia.run_folder import read_manifest
from lalia.run_mirror import RunMirror
from lalia.training import loop
from toy_run import QUICK, copy_run


@pytest.fixture(scope="module")
def s3_server():
    with s3_store() as store:
        yield store


@pytest.fixture
def corpus(finished_corpus):
    return finished_corpus


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    for name in s3_server.names():
        if not name.startswith("kept/"):
            s3_server.remove(name)
    s3_server.faults.__init__()
    use_machine(monkeypatch, tmp_path / "first")
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.001)
    return s3_server


def use_machine(monkeypatch, folder: Path) -> None:
    """Have nothing of what another machine keeps in its user's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def settings_at(store, corpus, *overrides):
    """Return the settings of a quick run with its table, recordings and folder in a store."""
    if not store.names("kept/study"):
        store.put_folder(corpus, "kept/study")
    given = [f"data.metadata={store.url('kept/study/metadata.csv')}", f"data.audio_dir={store.url('kept/study/audio')}"]
    return load_config(corpus / "run.yaml", [*QUICK, *given, f"runs={store.url('runs')}", *overrides])


def numbers_of(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


class Notes(Progress):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def resumed(s3_server, finished_corpus, finished_run, tmp_path_factory):
    """A run in a store that one machine began and was stopped in after an epoch, and another one finished."""
    folder, notes, stops = tmp_path_factory.mktemp("machines"), Notes(), [2]
    train_epoch = loop._Session._train_epoch

    def stop(session, request):
        if session.position.epoch in stops:
            stops.clear()
            raise Stopped("Stopped.", 15)
        train_epoch(session, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Session, "_train_epoch", stop)
        settings = settings_at(s3_server, finished_corpus, f"runs={s3_server.url('kept/runs')}")
        use_machine(patch, folder / "first")
        with pytest.raises(Stopped):
            train(settings)
        use_machine(patch, folder / "second")
        place = train(settings, resume=True, progress=notes)
    return SimpleNamespace(place=place, url=f"{settings.runs}/{place.name}", notes=notes.said, settings=settings)


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_run_in_a_store_that_another_machine_goes_on_with_is_the_same_as_on_disk(resumed, finished_run):
    assert any(text.startswith("Resuming in epoch 2") for text in resumed.notes)
    assert resumed.place.name == finished_run.name
    columns = ["epoch", "train_loss", "validation_loss"]
    histories = [pd.read_csv(each / "history.csv")[columns] for each in (resumed.place, finished_run)]
    assert histories[0].equals(histories[1])
    assert numbers_of(resumed.place) == numbers_of(finished_run)


def test_all_files_of_a_run_are_in_the_store(s3, resumed):
    assert {*s3.names(f"kept/runs/{resumed.place.name}")} == {*files_of(resumed.place), "mirror.json"}
    assert {"model/model.safetensors", "report.html", "metrics.json"} <= files_of(resumed.place)


def test_no_secret_is_in_a_run(s3, resumed):
    folder = f"kept/runs/{resumed.place.name}"
    contents = [s3.get(f"{folder}/{name}") for name in s3.names(folder)]
    contents += [path.read_bytes() for path in resumed.place.rglob("*") if path.is_file()]
    assert not [content[:80] for content in contents if KEY.encode() in content or SECRET.encode() in content]
    assert not [text for text in resumed.notes if KEY in text or SECRET in text]


def test_another_machine_gets_the_run_by_its_url(s3, resumed):
    fetched = fetch_run(resumed.url)

    assert files_of(fetched) == files_of(resumed.place)
    assert (fetched / "report.html").read_bytes() == (resumed.place / "report.html").read_bytes()
    rater = fetch_run(f"{resumed.url}/model")
    assert (rater / "config.json").read_bytes() == (fetched / "model" / "config.json").read_bytes()


def test_a_run_that_is_there_is_not_begun_again_unasked(s3, resumed):
    with pytest.raises(RunError, match=r"The run 's3://studies/kept/runs/.*' exists already. Give --resume"):
        train(resumed.settings)


def test_numbers_that_are_made_anew_are_uploaded(s3, resumed):
    evaluate_run(resumed.url)

    marker = json.loads(s3.get(f"kept/runs/{resumed.place.name}/mirror.json"))
    assert marker["manifest"]["test_evaluations"] == 2


# --- the mirror itself, without a training ----------------------------------------------------------------------------


def make_mirror(store, folder, *, finished=False, **files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"finished": finished}))
    for name, text in files.items():
        (folder / name).write_text(text)
    return RunMirror(store.url("runs/r-00000000"), folder)


def test_an_upload_that_is_cut_off_leaves_the_run_as_it_was(s3, tmp_path):
    mirror = make_mirror(s3, tmp_path / "here" / "r", a="1")
    mirror.push()
    make_mirror(s3, tmp_path / "here" / "r", finished=True, b="2")
    s3.faults.denied.append("PUT *mirror.json*")
    with pytest.raises(StorageError, match="access is denied"):
        mirror.push()
    s3.faults.denied.clear()

    other = RunMirror(s3.url("runs/r-00000000"), tmp_path / "there" / "r")
    other.pull()

    assert sorted(path.name for path in other.folder.iterdir()) == ["a", "manifest.json"]
    assert not read_manifest(other.folder)["finished"]
    mirror.push()
    other.pull()
    assert sorted(path.name for path in other.folder.iterdir()) == ["a", "b", "manifest.json"]
    assert read_manifest(other.folder)["finished"]


def test_an_upload_that_fails_in_between_is_told_and_made_up_for(s3, tmp_path, caplog):
    mirror = make_mirror(s3, tmp_path / "r", a="1")
    with mirroring(mirror.url, mirror.folder):
        make_mirror(s3, tmp_path / "r", finished=True, b="2")
        s3.faults.denied.append("PUT *")
        upload_run(mirror.folder / "folds" / "fold-1")
        assert "The run is not uploaded now: Cannot write 's3://studies/runs/r-00000000/b'" in caplog.text
        with pytest.raises(StorageError, match=r"The run is finished and lies in .* could not be uploaded.*--resume"):
            upload_run(mirror.folder, is_over=True)
        s3.faults.denied.clear()
        upload_run(mirror.folder, is_over=True)

    assert s3.names("runs/r-00000000") == ["a", "b", "manifest.json", "mirror.json"]
    assert json.loads(s3.get("runs/r-00000000/mirror.json"))["manifest"]["finished"]


def test_only_what_has_changed_is_uploaded_and_what_has_gone_is_deleted(s3, tmp_path):
    mirror = make_mirror(s3, tmp_path / "r", a="1", b="2")
    mirror.push()
    s3.faults.requests.clear()
    (tmp_path / "r" / "a").unlink()
    make_mirror(s3, tmp_path / "r", b="3")

    mirror.push()

    assert [request.split("/")[-1] for request in s3.faults.asked_for("PUT *")] == ["b", "mirror.json"]
    assert s3.names("runs/r-00000000") == ["b", "manifest.json", "mirror.json"]
    s3.faults.requests.clear()
    mirror.push()
    assert not s3.faults.asked_for("PUT *")


def test_two_machines_that_write_one_run_are_noticed(s3, tmp_path):
    first = make_mirror(s3, tmp_path / "first" / "r", a="1")
    first.push()
    second = RunMirror(first.url, tmp_path / "second" / "r")
    second.pull()
    make_mirror(s3, second.folder, a="2")
    second.push()
    make_mirror(s3, first.folder, a="3")

    with pytest.raises(RunError, match="Another process writes to the run 's3://studies/runs/r-00000000'"):
        first.push()


def test_a_finished_run_whose_files_are_not_as_listed_is_refused(s3, tmp_path):
    mirror = make_mirror(s3, tmp_path / "here" / "r", finished=True, a="1")
    mirror.push()
    s3.put("runs/r-00000000/a", b"2")

    with pytest.raises(StorageError, match=r"is not whole: a are not as listed"):
        RunMirror(mirror.url, tmp_path / "there" / "r").pull()


@pytest.mark.parametrize("name", ["../../stolen", "/tmp/stolen", "a/../../stolen"])
def test_a_run_that_names_files_outside_its_folder_writes_none(s3, tmp_path, name):
    mirror = make_mirror(s3, tmp_path / "here" / "r")
    mirror.push()
    marker = json.loads(s3.get("runs/r-00000000/mirror.json"))
    s3.put("runs/r-00000000/mirror.json", json.dumps({**marker, "serial": 9, "files": {name: ""}}).encode())

    with pytest.raises(StorageError, match="names files that do not lie in it"):
        RunMirror(mirror.url, tmp_path / "there" / "r").pull()
    assert not list(tmp_path.rglob("stolen"))


def test_a_run_that_was_deleted_in_the_store_is_gone_here(s3, tmp_path):
    mirror = make_mirror(s3, tmp_path / "r", a="1")
    mirror.push()
    for name in s3.names("runs"):
        s3.remove(f"runs/{name}")

    mirror.forget()

    assert not mirror.folder.exists()


def test_no_run_at_a_url_says_so(s3):
    with pytest.raises(RunError, match="'s3://studies/runs/none' is not the folder of a run, nor of a saved rater"):
        fetch_run(s3.url("runs/none"))


def test_runs_cannot_be_at_the_hub(corpus):
    with pytest.raises(ConfigError, match=r"runs: 'hf://datasets/me/runs' is a URL, and this setting takes none"):
        load_config(corpus / "run.yaml", ["runs=hf://datasets/me/runs"])


# --- the command line -------------------------------------------------------------------------------------------------


def run_lalia(capsys, *arguments):
    code = call_lalia(*arguments)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_check_lists_missing_objects_of_a_table_in_a_store(s3, corpus, capsys):
    s3.put_folder(corpus, "study")
    first = s3.names("study/audio")[0]
    s3.remove(f"study/audio/{first}")
    given = [f"data.metadata={s3.url('study/metadata.csv')}", f"data.audio_dir={s3.url('study/audio')}", *QUICK]

    code, said = run_lalia(capsys, "check", str(corpus / "run.yaml"), *given)

    assert code == 2
    assert (
        f"1 of 16 recordings have no audio file in 's3://studies/study/audio' ('{Path(first).stem}': {first})" in said
    )


def test_a_run_in_a_store_is_reported_on_and_rates_recordings_in_a_store(s3, corpus, finished_run, tmp_path, capsys):
    local = copy_run(finished_run, tmp_path)
    (local / "report.html").unlink()
    RunMirror(s3.url(f"runs/{local.name}"), local).push()
    s3.put_folder(corpus, "kept/study")
    url = s3.url(f"runs/{local.name}")

    out = str(tmp_path / "ratings.csv")
    code, said = run_lalia(capsys, "predict", url, s3.url("kept/study/audio"), "--out", out)
    assert (code, "16 recordings" in said) == (0, True)
    s3.faults.requests.clear()
    code, said = run_lalia(capsys, "report", url)
    assert code == 0
    assert [request.rpartition("/")[2] for request in s3.faults.asked_for("PUT *")] == ["report.html", "mirror.json"]
