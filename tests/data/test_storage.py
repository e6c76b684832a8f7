import hashlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from cloud_stores import BUCKET, KEY, SECRET, gcs_store, s3_store
from commands import call_lalia
from hub_stand_in import Repository, stand_in, use_endpoint
from lalia.config import load_config
from lalia.data import copies as copies_module
from lalia.data import remote
from lalia.data.audio import Preprocessing, load_waveform, scan_recordings
from lalia.data.copies import Copies, open_copies
from lalia.data.dataset import RecordingDataset, load_batches
from lalia.data.inputs import find_recordings
from lalia.data.readers import read_cells
from lalia.data.storage import local_file
from lalia.data.table import read_table
from lalia.errors import ConfigError, DataError, LaliaError, StorageError, TableError
from lalia.places import redact, why_no_place
from lalia.settings import DataSettings

TABLE = "recording,speaker,breathy\na1,anna,1\nb1,ben,3\n"


@pytest.fixture(scope="module")
def s3_server():
    with s3_store() as store:
        yield store


@pytest.fixture(scope="module")
def gcs_server():
    with gcs_store() as store:
        yield store


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    return fresh(s3_server, monkeypatch, tmp_path)


@pytest.fixture(params=["s3", "gs"])
def store(request, monkeypatch, tmp_path):
    return fresh(request.getfixturevalue("s3_server" if request.param == "s3" else "gcs_server"), monkeypatch, tmp_path)


def fresh(store, monkeypatch, tmp_path):
    """Return a store without files and faults, with copies of its own and no time to wait."""
    for name in store.names():
        store.remove(name)
    store.faults.__init__()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.001)
    return store


@pytest.fixture
def copies(tmp_path):
    return Copies(tmp_path / "copies")


def tone(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(round(16_000 * seconds)) / 9), 16_000)
    return path


def study(store, tmp_path, table=TABLE, recordings=("a1", "b1")):
    """Put a table and its recordings into a store, and return their settings."""
    for number, name in enumerate(recordings):
        store.put(f"study/audio/{name}.wav", tone(tmp_path / f"{name}.wav", 0.4 + 0.1 * number).read_bytes())
    store.put("study/metadata.csv", table.encode())
    return DataSettings(
        metadata=store.url("study/metadata.csv"), audio_dir=store.url("study/audio"), traits=("breathy",)
    )


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://key:secret@bucket/a", "holds credentials, which belong into the environment"),
        ("https://bucket.s3.amazonaws.com/a", "is of a kind that is not read"),
        ("s3://bucket/a?X-Amz-Signature=00", "holds a query, which may sign it"),
        ("s3://", "is not complete, compare s3://bucket/folder"),
        ("hf://datasets", "is not complete"),
        ("s3://bucket/../other", "has a part '..'"),
        ("simplecache::s3://bucket/a", "is of a kind that is not read"),
    ],
)
def test_a_url_that_is_not_used_says_why(url, reason):
    assert reason in why_no_place(url)


@pytest.mark.parametrize("url", ["s3://b/a b/ü.csv", "gs://b", "hf://datasets/o/n@main/m.csv", "memory://a/b"])
def test_a_url_of_a_known_store_is_used(url):
    assert why_no_place(url) is None


def test_settings_refuse_credentials_in_a_url_and_do_not_repeat_them(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"data: {{metadata: 's3://{KEY}:{SECRET.replace('/', '')}@bucket/m.csv'}}\n")

    with pytest.raises(ConfigError, match=r"data\.metadata: 's3://\*\*\*@bucket/m\.csv' holds credentials") as raised:
        load_config(path)

    assert KEY not in str(raised.value)


def test_a_setting_that_needs_a_local_path_says_so(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {metadata: m.csv}\nmodel: {start_from: 's3://bucket/run'}\n")

    with pytest.raises(
        ConfigError, match=r"model\.start_from: 's3://bucket/run' is a URL, and this setting takes none"
    ):
        load_config(path)


def test_secrets_of_the_environment_are_shown_nowhere(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    assert redact(f"signed with {SECRET}.") == "signed with ***."


# --- objects and their copies -----------------------------------------------------------------------------------------


def test_an_object_is_copied_once_and_its_copy_is_named_by_its_content(store, copies):
    store.put("a.wav", b"sound")

    first, second = copies.fetch(store.url("a.wav")), copies.fetch(store.url("a.wav"))

    assert first == second
    assert first.read_bytes() == b"sound"
    assert first.name == hashlib.sha256(b"sound").hexdigest()
    assert len(store.faults.asked_for("GET /*a.wav?alt=media" if store.scheme == "gs" else "GET /*a.wav")) == 1
    assert copies.folder.stat().st_mode & 0o777 == 0o700


def test_another_process_takes_the_copy_that_one_has_made(s3, tmp_path):
    s3.put("a.wav", b"sound")
    Copies(tmp_path / "copies").fetch(s3.url("a.wav"))
    s3.faults.requests.clear()

    assert Copies(tmp_path / "copies").fetch(s3.url("a.wav")).read_bytes() == b"sound"
    assert not s3.faults.asked_for("GET *a.wav")


def test_no_name_of_an_object_lies_in_the_folder_of_copies(s3, copies):
    s3.put("patient-17.wav", b"sound")
    copies.fetch(s3.url("patient-17.wav"))

    assert all(b"patient" not in path.read_bytes() for path in copies.folder.rglob("*") if path.is_file())
    assert not list(copies.folder.rglob("*patient*"))


def test_a_connection_that_drops_is_tried_again(store, copies):
    store.put("a.wav", b"sound" * 1000)
    store.faults.dropped["GET *a.wav*"] = 2

    assert copies.fetch(store.url("a.wav")).read_bytes() == b"sound" * 1000


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
def test_a_store_that_is_busy_is_asked_again(s3, copies, verb):
    s3.put("a.wav", b"sound")
    s3.faults.busy[f"{verb} *a.wav"] = 3

    assert copies.fetch(s3.url("a.wav")).read_bytes() == b"sound"


def test_a_store_that_stays_busy_is_an_error_after_some_attempts(s3, copies):
    s3.put("a.wav", b"sound")
    s3.faults.busy["GET *a.wav"] = 100

    with pytest.raises(
        StorageError, match=rf"Cannot read 's3://{BUCKET}/a\.wav': the store is busy .*\(status 503\).*6th"
    ):
        copies.fetch(s3.url("a.wav"))

    assert len(s3.faults.asked_for("GET *a.wav")) == remote.ATTEMPTS


def test_between_attempts_the_waits_become_longer(s3, copies, monkeypatch):
    waits = []
    # that module alone: other threads sleep too
    monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=waits.append))
    s3.put("a.wav", b"sound")
    s3.faults.busy["GET *a.wav"] = 3
    copies.fetch(s3.url("a.wav"))

    assert len(waits) == 3
    assert waits[0] < waits[1] < waits[2] < 0.001 * 4 * 1.5


def test_bytes_that_do_not_arrive_as_they_are_stored_are_read_again(s3, copies):
    s3.put("a.wav", b"sound")
    s3.faults.garbled["GET *a.wav"] = 1

    assert copies.fetch(s3.url("a.wav")).read_bytes() == b"sound"


def test_bytes_that_never_arrive_as_they_are_stored_are_an_error(s3, copies):
    s3.put("a.wav", b"sound" * 10)
    s3.faults.dropped["GET *a.wav"] = 0
    s3.faults.before = {}
    flips = iter(range(1, 9))

    def garble(url, target):
        target.write_bytes(b"sound" * 9 + b"soun" + bytes([next(flips)]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies_module, "download", garble)
        with pytest.raises(StorageError, match="was read 3 times, and each time it had changed, or other bytes came"):
            copies.fetch(s3.url("a.wav"))
    assert not list((copies.folder / "objects").rglob("*.*"))


def test_an_object_whose_tag_is_no_digest_of_it_is_taken_if_it_comes_twice_the_same(s3, copies, monkeypatch):
    s3.put("a.wav", b"sound")
    tag = hashlib.md5(b"encrypted").hexdigest()
    info = remote.ObjectInfo(5, tag, (("md5", tag),))
    monkeypatch.setattr(copies_module, "describe_object", lambda url: info)

    assert copies.fetch(s3.url("a.wav")).read_bytes() == b"sound"
    assert len(s3.faults.asked_for("GET *a.wav")) == 2


def test_an_object_that_changes_while_it_is_read_is_read_again(store, copies):
    store.put("a.wav", b"before")
    pattern = "GET *a.wav?alt=media*" if store.scheme == "gs" else "GET *a.wav"
    store.faults.before[pattern] = lambda: store.put("a.wav", b"after that")

    assert copies.fetch(store.url("a.wav")).read_bytes() == b"after that"


def test_an_object_that_has_changed_since_it_was_scanned_is_refused(s3, copies):
    s3.put("a.wav", b"before")
    scanned = hashlib.sha256(copies.fetch(s3.url("a.wav")).read_bytes()).hexdigest()
    s3.put("a.wav", b"after")

    assert copies.fetch(s3.url("a.wav"), sha256=scanned).read_bytes() == b"before"
    copies.clear()
    with pytest.raises(StorageError, match=r"'s3://studies/a\.wav' has changed since it was first read"):
        copies.fetch(s3.url("a.wav"), sha256=scanned)


def test_a_damaged_copy_is_read_again(s3, tmp_path):
    s3.put("a.wav", b"sound")
    path = Copies(tmp_path / "copies").fetch(s3.url("a.wav"))
    path.write_bytes(b"SOUND")

    assert Copies(tmp_path / "copies").fetch(s3.url("a.wav")).read_bytes() == b"sound"


def test_a_missing_object_is_named(store, copies):
    with pytest.raises(remote.NotThere, match=rf"There is nothing at '{store.scheme}://studies/a\.wav'"):
        copies.fetch(store.url("a.wav"))


def test_denied_access_is_not_tried_again_and_names_the_variables(s3, copies):
    s3.put("a.wav", b"sound")
    s3.faults.denied.append("GET *a.wav")

    with pytest.raises(StorageError, match="access is denied. Look at AWS_ACCESS_KEY_ID"):
        copies.fetch(s3.url("a.wav"))

    assert len(s3.faults.asked_for("GET *a.wav")) == 1


def test_two_threads_that_want_one_object_read_it_once(s3, copies):
    s3.put("a.wav", b"sound")
    threads = [threading.Thread(target=copies.fetch, args=(s3.url("a.wav"),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(s3.faults.asked_for("GET *a.wav")) == 1


def test_beyond_the_budget_the_copies_used_longest_ago_go(s3, tmp_path):
    copies = Copies(tmp_path / "copies", max_bytes=25)
    paths = []
    for number in range(3):
        s3.put(f"{number}.wav", bytes([65 + number]) * 10)
        paths.append(copies.fetch(s3.url(f"{number}.wav")))
        os.utime(paths[-1], ns=(1_000_000_000 * number, paths[-1].stat().st_mtime_ns))

    assert [path.exists() for path in paths] == [False, True, True]


def test_a_copy_in_use_stays_beyond_the_budget(s3, tmp_path):
    copies = Copies(tmp_path / "copies", max_bytes=15)
    s3.put("0.wav", b"0" * 10)
    s3.put("1.wav", b"1" * 10)

    assert all(path.exists() for path in [copies.fetch(s3.url("0.wav")), copies.fetch(s3.url("1.wav"))])


def test_a_missing_library_is_named_with_its_pip_line(monkeypatch):
    import fsspec

    def refuse(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", refuse)

    with pytest.raises(StorageError, match=r"install what reads it: pip install 'lalia\[cloud\]'"):
        remote.describe_object("s3://bucket/a")


# --- tables and recordings --------------------------------------------------------------------------------------------


def test_a_table_in_a_store_is_read_as_a_local_one(store, tmp_path):
    data = study(store, tmp_path)

    table = read_table(data)

    assert list(table.recordings["path"]) == [store.url("study/audio/a1.wav"), store.url("study/audio/b1.wav")]
    (tmp_path / "metadata.csv").write_text(TABLE)
    local = read_table(DataSettings(metadata=str(tmp_path / "metadata.csv"), traits=("breathy",)))
    assert table.content_hash() == local.content_hash()


def test_recordings_in_a_store_are_measured_as_local_ones(store, tmp_path):
    recordings = read_table(study(store, tmp_path)).recordings
    preprocessing = Preprocessing(16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
    local = recordings.assign(path=[str(tmp_path / f"{name}.wav") for name in recordings["recording"]])

    scans = [scan_recordings(rows, preprocessing, min_seconds=0.1) for rows in (recordings, local)]

    assert scans[0].equals(scans[1])
    assert len(store.faults.asked_for("GET /*audio*a1.wav" + ("?alt=media" if store.scheme == "gs" else ""))) == 1


def test_training_reads_the_content_that_was_scanned_without_a_question(s3, tmp_path):
    recordings = read_table(study(s3, tmp_path)).recordings
    preprocessing = Preprocessing(16_000, trim_db=None, window_seconds=30.0, hop_seconds=30.0)
    scan = scan_recordings(recordings, preprocessing, min_seconds=0.1)
    s3.faults.requests.clear()

    waveform = load_waveform(recordings["path"][0], preprocessing, scan["sha256"][0])

    assert len(waveform) == 6_400
    assert not s3.faults.requests


def test_missing_objects_are_listed_by_one_request(store, tmp_path):
    table = "recording,speaker,breathy\n" + "".join(f"r{number},s{number},1\n" for number in range(50))
    data = study(store, tmp_path, table, recordings=("r0", "r1"))
    list_requests = "GET /*/o[?]*prefix=study/audio/*" if store.scheme == "gs" else "GET *list-type=2*study%2Faudio*"

    with pytest.raises(TableError, match=r"48 of 50 recordings have no audio file in '.*study/audio' \('r2': r2\.wav"):
        read_table(data)

    assert len(store.faults.asked_for(list_requests)) == 1
    assert not store.faults.asked_for("*r10*")


def test_objects_that_no_row_names_are_noted(s3, tmp_path):
    table = read_table(study(s3, tmp_path, recordings=("a1", "b1", "c1")))

    assert table.flow.notes == ("recordings in the folder that no row names: 1 (c1.wav)",)


@pytest.mark.parametrize("layout", ["flat", "path", "structured"])
@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/../../b", "nul"])
def test_no_id_leads_out_of_the_folder_of_objects(s3, tmp_path, layout, place):
    data = study(s3, tmp_path, TABLE.replace("a1", place))

    with pytest.raises(TableError, match=r"that do not lie inside data\.audio_dir|ids that cannot be names of files"):
        read_table(data.model_copy(update={"layout": layout}))


def test_ids_with_signs_that_mean_something_in_urls_name_their_object(store, tmp_path):
    odd = "a1 @?#*[%20]+ü"
    data = study(store, tmp_path, TABLE.replace("a1", odd), recordings=(odd, "b1"))

    recordings = read_table(data).recordings

    assert local_file(recordings["path"][0]).read_bytes() == (tmp_path / f"{odd}.wav").read_bytes()


@pytest.mark.parametrize(("layout", "name"), [("structured", "a1/waveform.wav"), ("path", "deep/er/a1.wav")])
def test_the_other_layouts_are_found_in_a_store(s3, tmp_path, layout, name):
    sound = tone(tmp_path / "a1.wav").read_bytes()
    s3.put(f"study/{name}", sound)
    s3.put("study/other/waveform.wav", sound)
    row = "a1" if layout == "structured" else name
    s3.put("study/metadata.csv", f"recording,speaker,breathy\n{row},anna,1\n".encode())

    table = read_table(DataSettings(metadata=s3.url("study/metadata.csv"), layout=layout, traits=("breathy",)))

    assert list(table.recordings["path"]) == [s3.url(f"study/{name}")]
    assert table.flow.notes == ("recordings in the folder that no row names: 1 (other/waveform.wav)",)


def test_an_object_that_goes_after_the_listing_costs_its_recording(s3, tmp_path):
    recordings = read_table(study(s3, tmp_path)).recordings
    s3.remove("study/audio/a1.wav")

    scan = scan_recordings(recordings, Preprocessing(16_000, None, 30.0, 30.0), min_seconds=0.1)

    assert list(scan["problem"]) == ["does not exist any more", ""]


def test_a_store_that_does_not_answer_costs_no_recording_but_stops(s3, tmp_path):
    recordings = read_table(study(s3, tmp_path)).recordings
    s3.faults.busy["GET *a1.wav"] = 1000

    with pytest.raises(StorageError, match="the store is busy or out of order"):
        scan_recordings(recordings, Preprocessing(16_000, None, 30.0, 30.0), min_seconds=0.1)


def test_recordings_to_rate_may_be_in_a_store(s3, tmp_path):
    study(s3, tmp_path)
    s3.put("study/audio/list.csv", b"path\nb1.wav\n")

    assert list(find_recordings([s3.url("study/audio")])["recording"]) == ["a1.wav", "b1.wav"]
    assert list(find_recordings([s3.url("study/audio/a1.wav")])["path"]) == [s3.url("study/audio/a1.wav")]
    assert list(find_recordings([s3.url("study/audio/list.csv")])["path"]) == [s3.url("study/audio/b1.wav")]


def test_a_table_in_memory_is_read(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fsspec.filesystem("memory").pipe_file("/study/m.csv", TABLE.encode())

    assert list(read_cells("memory://study/m.csv")["recording"]) == ["a1", "b1"]
    with pytest.raises(DataError, match="is of a kind that is not read"):
        read_cells("ftp://study/m.csv")


def test_processes_that_read_ahead_read_from_a_store_too(s3, tmp_path):
    table = read_table(study(s3, tmp_path))
    preprocessing = Preprocessing(16_000, None, 30.0, 30.0)
    scan = scan_recordings(table.recordings, preprocessing, min_seconds=0.1)
    dataset = RecordingDataset(table.add_columns(scan.drop(columns="problem")), preprocessing)
    s3.faults.requests.clear()

    assert len(list(load_batches(dataset, [[0], [1]], workers=1))) == 2
    assert not s3.faults.requests
    open_copies().clear()
    assert len(list(load_batches(dataset, [[0]], workers=1))) == 1
    open_copies().clear()
    s3.faults.denied.append("GET *a1.wav")
    with pytest.raises(StorageError, match=r"^Cannot read 's3://studies/study/audio/a1\.wav': access is denied"):
        list(load_batches(dataset, [[0]], workers=1))


def test_files_of_the_hub_are_read(copies, tmp_path, monkeypatch):
    with stand_in() as hub:
        use_endpoint(monkeypatch, hub.endpoint, tmp_path / "hub")
        hub.repositories["lab/corpus"] = Repository()
        hub.repositories["lab/corpus"].commit({"study/metadata.csv": TABLE.encode(), "study/a@1.wav": b"sound"})

        listed = remote.list_objects("hf://lab/corpus@main/study")

        assert sorted(listed) == ["a@1.wav", "metadata.csv"]
        assert copies.fetch("hf://lab/corpus@main/study/a@1.wav").read_bytes() == b"sound"
        assert listed["a@1.wav"].digests[0][0] == "git"
        with pytest.raises(remote.NotThere):
            copies.fetch("hf://lab/corpus/study/b.wav")


# --- what must not happen ---------------------------------------------------------------------------------------------


def test_no_secret_gets_into_errors_and_logs(s3, copies, caplog):
    caplog.set_level(logging.INFO)
    s3.put("a.wav", b"sound")
    said = []
    for faults in ({"busy": {"*a.wav": 100}}, {"denied": ["*a.wav"]}, {"dropped": {"GET *a.wav": 100}}):
        s3.faults.__init__(**faults)
        with pytest.raises(LaliaError) as raised:
            copies.fetch(s3.url("a.wav"))
        said.append(str(raised.value))

    assert all(word not in text for word in (KEY, SECRET) for text in (*said, caplog.text))
    assert "Trying again" in caplog.text
    kept = [path.read_bytes() for path in copies.folder.rglob("*") if path.is_file()]
    assert all(SECRET.encode() not in content for content in kept)


def test_local_files_are_read_without_what_reads_stores(tmp_path):
    tone(tmp_path / "a1.wav"), tone(tmp_path / "b1.wav")
    (tmp_path / "metadata.csv").write_text(TABLE)
    code = (
        "import sys; from lalia.data.table import read_table; from lalia.data import audio, storage\n"
        "from lalia.settings import DataSettings\n"
        f"table = read_table(DataSettings(metadata={str(tmp_path / 'metadata.csv')!r}, traits=('breathy',)))\n"
        "audio.scan_recordings(table.recordings, audio.Preprocessing(16_000, None, 30.0, 30.0), min_seconds=0.1)\n"
        "heavy = ('fsspec', 's3fs', 'gcsfs', 'botocore', 'aiohttp', 'lalia.data.remote')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    assert run.stdout.strip() == "[]"


def test_the_command_line_shows_and_clears_copies(s3, capsys):
    s3.put("a.wav", b"sound")
    path = open_copies().fetch(s3.url("a.wav"))
    said = []
    for action in ("show", "clear"):
        assert call_lalia("cache", action) == 0
        said.append(capsys.readouterr().out.splitlines()[0].partition(": ")[2])

    assert said == ["1 copies, 0.00 MB", "deleted 1 copies, 0.00 MB"]
    assert not path.exists()
