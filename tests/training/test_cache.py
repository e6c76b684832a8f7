"""The store of activations: what it keeps, what it refuses to believe, and what it deletes."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lalia.errors import CacheError
from lalia.training.cache import (
    ActivationStore,
    content_key,
    default_cache_folder,
    fits_float16,
)

KEY = content_key(audio="a")
VALUES = {"mean": torch.tensor([[0.1, -3.0]]), "count": torch.tensor([7])}


@pytest.fixture
def store(tmp_path):
    return ActivationStore(tmp_path / "cache", max_gb=1.0, dtype="float32")


def entry_of(store, key=KEY):
    (path,) = store.folder.rglob(f"{key}.safetensors")
    return path


def test_what_is_saved_comes_back_with_its_names_shapes_and_types(store):
    store.save(KEY, VALUES)
    found = store.load(KEY)
    assert set(found) == {"count", "mean"}
    assert torch.equal(found["mean"], VALUES["mean"])
    assert torch.equal(found["count"], VALUES["count"])


def test_an_entry_that_was_never_saved_is_none(store):
    assert store.load(KEY) is None


def test_the_folders_are_closed_to_other_users(store):
    store.save(KEY, VALUES)
    for folder in (store.folder, entry_of(store).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_of(store).stat().st_mode) == 0o600


@pytest.mark.parametrize("length", [0, 5, 60, -1], ids=["empty", "no header", "half a header", "half the values"])
def test_half_an_entry_is_none_and_is_written_anew(store, length):
    store.save(KEY, VALUES)
    path = entry_of(store)
    path.write_bytes(path.read_bytes()[:length])
    assert store.load(KEY) is None
    store.save(KEY, VALUES)
    assert torch.equal(store.load(KEY)["mean"], VALUES["mean"])


def test_an_entry_with_a_changed_byte_is_none(store):
    store.save(KEY, VALUES)
    path = entry_of(store)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.load(KEY) is None


def test_the_entry_of_another_key_under_this_name_is_none(store):
    other = content_key(audio="b")
    store.save(other, VALUES)
    path = store.folder / KEY[:2] / f"{KEY}.safetensors"
    path.parent.mkdir(exist_ok=True)
    entry_of(store, other).rename(path)
    assert store.load(KEY) is None


def test_a_foreign_file_under_the_name_of_an_entry_is_none(store):
    path = store.folder / KEY[:2] / f"{KEY}.safetensors"
    path.parent.mkdir(parents=True)
    save_file(VALUES, path)
    assert store.load(KEY) is None


def test_float16_halves_the_bytes_and_errs_by_at_most_one_in_2048(tmp_path):
    values = torch.randn(100, 100, generator=torch.Generator().manual_seed(0)) * 50
    sizes = {}
    for dtype in ("float32", "float16"):
        store = ActivationStore(tmp_path / dtype, dtype=dtype)
        store.save(KEY, {"mean": values})
        sizes[dtype] = store.summary().size_bytes
        found = store.load(KEY)["mean"]
        assert found.dtype == torch.float32
    assert ((found - values).abs() <= values.abs() * 2**-11).all()
    assert sizes["float16"] < 0.51 * sizes["float32"]


def test_a_tensor_that_would_overflow_is_kept_in_float32_and_its_neighbour_is_not(tmp_path):
    store = ActivationStore(tmp_path, dtype="float16")
    large, small = torch.tensor([70_000.0, 1 / 3]), torch.tensor([1 / 3])
    store.save(KEY, {"large": large, "small": small})
    found = store.load(KEY)
    assert torch.equal(found["large"], large)
    assert torch.equal(found["small"], small.half().float())


def test_a_tensor_below_the_normal_range_is_kept_in_float32(tmp_path):
    store = ActivationStore(tmp_path, dtype="float16")
    tiny = torch.tensor([1e-6, 3e-6])
    store.save(KEY, {"tiny": tiny})
    assert torch.equal(store.load(KEY)["tiny"], tiny)


def test_what_is_not_finite_does_not_count_as_overflow():
    assert fits_float16(torch.tensor([torch.inf, torch.nan, 1.0]))


def fill(store, count, start=0):
    keys = [content_key(number=number) for number in range(start, start + count)]
    for number, key in enumerate(keys):
        store.save(key, {"mean": torch.zeros(250)})  # about 1.2 kB with its header
        # whole seconds apart, so that the order of use does not hang on the file system's clock
        used = 1_000_000_000 + start + number
        os.utime(entry_of(store, key), (used, used))
    return keys


def test_beyond_the_budget_the_entries_used_longest_ago_go(tmp_path):
    def another_store():
        return ActivationStore(tmp_path / "cache", max_gb=12e-6, dtype="float32")

    keys = fill(another_store(), 8)
    assert another_store().load(keys[0]) is not None  # used now: the last to go
    store = another_store()
    fill(store, 4, start=100)
    assert store.summary().size_bytes <= 12_000
    assert store.load(keys[0]) is not None
    assert store.load(keys[1]) is None


def test_what_a_store_uses_itself_is_not_evicted_for_more_of_it(tmp_path, caplog):
    store = ActivationStore(tmp_path / "cache", max_gb=12e-6, dtype="float32")
    keys = [content_key(number=number) for number in range(20)]
    kept = [store.save(key, {"mean": torch.zeros(250)}) for key in keys]
    assert kept == [True] * sum(kept) + [False] * (20 - sum(kept))
    assert 5 <= sum(kept) <= 11
    assert [store.load(key) is not None for key in keys] == kept
    assert "the budget of 1.2e-05 GB is full with what is in use" in caplog.text


def test_an_entry_is_checked_again_when_its_file_has_changed_since(store):
    store.save(KEY, VALUES)
    assert store.load(KEY) is not None
    path = entry_of(store, KEY)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.load(KEY) is None


def test_the_budget_counts_what_other_stores_put_into_the_folder(tmp_path):
    first, second = (ActivationStore(tmp_path / "cache", max_gb=12e-6, dtype="float32") for _ in range(2))
    for number in range(20):
        fill(first, 1, start=number)
        fill(second, 1, start=100 + number)
    assert first.summary().size_bytes <= 12_000


def test_an_entry_larger_than_the_budget_is_left_out_with_a_warning(tmp_path, caplog):
    store = ActivationStore(tmp_path, max_gb=1e-6)
    store.save(KEY, {"mean": torch.zeros(1000)})
    assert store.summary().entries == 0
    assert "larger than the budget" in caplog.text


def test_a_budget_of_0_stores_nothing_and_says_nothing(tmp_path, caplog):
    store = ActivationStore(tmp_path, max_gb=0)
    store.save(KEY, VALUES)
    assert (store.summary().entries, caplog.text) == (0, "")


def test_a_full_disk_is_a_warning(store, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lalia.training.cache.save_file", fail)
    store.save(KEY, VALUES)
    store.save(KEY, VALUES)
    assert caplog.text.count("No space left on device") == 1
    assert list(store.folder.rglob("*.safetensors*")) == []


def test_clearing_deletes_entries_and_nothing_else(store):
    store.save(KEY, VALUES)
    mine = store.folder / KEY[:2] / "notes.txt"
    mine.write_text("mine")
    assert store.clear().entries == 1
    assert store.summary().entries == 0
    assert mine.exists()


def test_clearing_leaves_what_another_process_is_writing_and_takes_what_a_killed_one_left(store):
    store.save(KEY, VALUES)
    fresh, old = (entry_of(store).with_name(f".{KEY}.safetensors.{name}.tmp") for name in ("fresh", "old"))
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.clear()
    assert (fresh.exists(), old.exists()) == (True, False)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"Cannot use the cache folder '.*file': .*\. Set another one in cache\.dir\."):
        ActivationStore(tmp_path / "file")


def test_the_default_folder_follows_the_users_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_folder() == Path("/somewhere/lalia/activations")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_cache_folder() == Path.home() / ".cache" / "lalia" / "activations"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_cache_folder() == Path.home() / "Library" / "Caches" / "lalia" / "activations"


def test_the_versions_of_the_libraries_are_part_of_a_key(monkeypatch):
    monkeypatch.setattr("lalia.training.cache._library_versions", lambda: {"torch": "0.0"})
    assert content_key(audio="a") != KEY


WRITER = """
import sys, torch
from lalia.training.cache import ActivationStore, content_key
store = ActivationStore(sys.argv[1], max_gb=1.0, dtype="float32")
print("ready", flush=True)
for round in range(30):
    for number in range(10):
        store.save(content_key(number=number), {"mean": torch.full((1000,), float(number))})
"""


def test_several_processes_write_and_read_the_same_entries_at_once(store):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(store.folder)], stdout=subprocess.PIPE) for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == b"ready\n"
    keys = [content_key(number=number) for number in range(10)]
    while any(writer.poll() is None for writer in writers):
        for number, key in enumerate(keys):
            found = store.load(key)
            assert found is None or torch.equal(found["mean"], torch.full((1000,), float(number)))
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert [store.load(key) is not None for key in keys] == [True] * 10
    assert store.summary().entries == 10
