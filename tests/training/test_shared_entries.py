import pickle

import pytest
import torch

from cloud_stores import s3_store
from lalia.config import load_config
from lalia.data import remote
from lalia.settings import CacheSettings
from lalia.training.cache import ActivationStore, content_key, open_store
from lalia.training.shared_entries import SharedEntries
from toy_run import QUICK

KEYS = [content_key(audio=number) for number in range(3)]
VALUES = {"mean": torch.tensor([0.5, 2.0])}


@pytest.fixture(scope="module")
def s3_server():
    with s3_store() as store:
        yield store


@pytest.fixture
def s3(s3_server, monkeypatch):
    for name in s3_server.names():
        s3_server.remove(name)
    s3_server.faults.__init__()
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.001)
    return s3_server


@pytest.fixture
def machine(s3, tmp_path):
    """Return the store of a machine, by its name."""
    return lambda name: ActivationStore(tmp_path / name, shared=SharedEntries(s3.url("entries")))


def fill(store, keys=KEYS):
    for key in keys:
        store.save(key, VALUES)
    store.settle()


def test_what_one_machine_computes_another_reads(machine):
    fill(machine("first"))
    second = machine("second")

    assert all(key in second for key in KEYS)
    assert torch.equal(second.load(KEYS[0])["mean"], VALUES["mean"])
    assert second.summary().entries == 1


def test_entries_are_brought_several_at_a_time_after_one_listing(machine, s3):
    fill(machine("first"))
    s3.faults.requests.clear()
    second = machine("second")
    second.bring([*KEYS, content_key(audio="unknown")])

    assert second.summary().entries == 3
    assert len(s3.faults.asked_for("*list-type=2*")) == 1
    assert len(s3.faults.requests) == 4


def test_what_is_there_is_not_uploaded_again(machine, s3):
    fill(machine("first"))
    s3.faults.requests.clear()
    fill(machine("second"))

    assert not s3.faults.asked_for("PUT *")


def test_a_damaged_shared_entry_is_computed_and_shared_anew(machine, s3):
    fill(machine("first"), KEYS[:1])
    name = f"entries/{KEYS[0][:2]}/{KEYS[0]}.safetensors"
    whole = s3.get(name)
    s3.put(name, whole[:-1] + bytes([whole[-1] ^ 1]))
    second = machine("second")

    assert second.load(KEYS[0]) is None
    fill(second, KEYS[:1])
    assert s3.get(name) == whole


def test_a_store_that_refuses_is_told_once_and_costs_time_alone(machine, s3, caplog):
    fill(machine("first"))
    s3.faults.denied.append("*")
    second = machine("second")

    assert second.load(KEYS[0]) is None
    fill(second)
    assert second.load(KEYS[0]) is not None
    assert caplog.text.count("Not all activations are shared: Cannot list") == 1


def test_an_entry_larger_than_the_local_budget_stays_where_it_is(machine, s3, tmp_path):
    fill(machine("first"))
    small = ActivationStore(tmp_path / "small", max_gb=1e-8, shared=SharedEntries(s3.url("entries")))

    assert small.load(KEYS[0]) is None
    assert small.summary().entries == 0


def test_a_store_goes_to_a_process_that_reads_ahead(machine):
    fill(machine("first"))
    second = machine("second")
    assert KEYS[0] in second

    assert torch.equal(pickle.loads(pickle.dumps(second)).load(KEYS[0])["mean"], VALUES["mean"])


def test_the_setting_takes_a_url(tmp_path, monkeypatch, finished_corpus):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = load_config(finished_corpus / "run.yaml", [*QUICK, "cache.dir=s3://bucket/entries"])
    store = open_store(settings.cache)

    assert store.folder == tmp_path / "lalia" / "activations"
    assert store.shared is not None and store.shared.url == "s3://bucket/entries"
    assert open_store(CacheSettings(dir=str(tmp_path / "own"))).shared is None


def test_a_second_machine_computes_nothing(s3, finished_corpus, tmp_path, monkeypatch):
    from lalia.data.dataset import RecordingDataset
    from lalia.prepare import prepare
    from lalia.training.reader import open_reader

    settings = load_config(
        finished_corpus / "run.yaml", [*QUICK, "model.adapt=frozen", f"cache.dir={s3.url('entries')}"]
    )
    prepared = prepare(settings)
    dataset = RecordingDataset(prepared.part("train"), prepared.rater.preprocessing)
    computed = []
    for name in ("first", "second"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        reader = open_reader(prepared.rater, settings.cache)
        reader.fill(dataset)
        computed.append(reader.computed)

    assert computed == [len(dataset), 0]
