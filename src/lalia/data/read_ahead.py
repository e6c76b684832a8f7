"""Reading batches while the ones before are used: in a thread, or in processes that may die."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lalia.errors import AudioError, LaliaError, StorageError, list_some
from lalia.signals import ignore_stop_signals

T = TypeVar("T")

# torch's words on a worker that ended by itself
_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is )?(.*)")

# no single row
_NONE = -1


def read_ahead(
    read: Callable[[list[int]], T], batches: Sequence[list[int]], *, recordings: Sequence[str], workers: int = 0
) -> Iterator[T]:
    """Yield what ``read`` gives for each batch of rows, read while the one before is used.

    The result is the same for any number of workers, and no random generator of the caller's is used.

    Args:
        read: from rows to a batch, with a ``note_recording`` before each; with workers it goes to other processes.
        batches: rows of each batch.
        recordings: the id of each row.
        workers: processes that read; 0 reads in a thread of this one.

    Raises:
        AudioError: as ``read`` raises it; or if a worker died, with what it was reading.
    """
    if workers == 0:
        return _read_in_thread(read, batches)
    return _read_in_processes(read, batches, recordings, workers)


def _read_in_thread(read: Callable[[list[int]], T], batches: Sequence[list[int]]) -> Iterator[T]:
    executor = ThreadPoolExecutor(1)
    pending: Future[T] | None = None
    try:
        for rows in [*batches, None]:
            upcoming = None if rows is None else executor.submit(read, rows)
            if pending is not None:
                yield pending.result()
            pending = upcoming
    finally:
        executor.shutdown(cancel_futures=True)


def _read_in_processes(
    read: Callable[[list[int]], T], batches: Sequence[list[int]], recordings: Sequence[str], workers: int
) -> Iterator[T]:
    # each worker's process, the batch that it reads, and the row in it
    at_work = torch.full((workers, 3), _NONE).share_memory_()  # type: ignore[no-untyped-call]
    loader = DataLoader(
        _Reads(read, batches, at_work),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
        # its own generator: the default one would be advanced by every loader, also by one that resumes
        generator=torch.Generator(),
    )
    work = _Work(at_work, batches, recordings)
    _under_way.append(work)
    try:
        with naming_dead_workers():
            for batch in loader:
                if isinstance(batch, (AudioError, StorageError)):
                    raise batch
                yield batch
    finally:
        _under_way.remove(work)


def note_recording(row: int | None) -> None:
    """Note which recording is about to be read, so that it can be named if the process that reads ahead dies of it.

    In other processes nothing is noted.

    Args:
        row: in the ``recordings`` of ``read_ahead``; None: no single one.
    """
    worker = get_worker_info()
    if worker is not None and isinstance(worker.dataset, _Reads):
        worker.dataset.at_work[worker.id, 2] = _NONE if row is None else row


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Say which recording a process that reads ahead was at when it died, or of which batch it had read them all.

    torch tells of its death wherever the program is then: while it computes as well as while it waits.

    Raises:
        AudioError: in place of torch's own error.
    """
    try:
        yield
    except RuntimeError as error:
        died = _DIED.search(str(error))
        if died is None or isinstance(error, LaliaError):
            raise
        processes = {int(number) for number in died[1].split(",")}
        where = [said for work in _under_way for said in work.where(processes)]
        raise AudioError(
            f"A process that reads ahead died ({died[2].strip().rstrip('.')}){'; '.join(['', *where])}. "
            "Look there, and whether memory ran out; train.workers=0 reads without such processes."
        ) from error


@dataclass(frozen=True, eq=False)
class _Work:
    """What the processes of one reading are at: for each its number, that of its batch, and the row it reads."""

    at_work: Tensor
    batches: Sequence[list[int]]
    recordings: Sequence[str]

    def where(self, processes: set[int]) -> list[str]:
        """Return in words where some processes are."""
        return [
            f"it was reading recording '{self.recordings[row]}'"
            if row != _NONE
            else f"it had read recordings {list_some([self.recordings[each] for each in self.batches[number]])}"
            for process, number, row in self.at_work.tolist()
            if process in processes
        ]


_under_way: list[_Work] = []


class _Reads(Dataset[Any]):
    """Each item is a whole batch, or what went wrong: torch would give an error raised in a worker another message."""

    def __init__(self, read: Callable[[list[int]], Any], batches: Sequence[list[int]], at_work: Tensor) -> None:
        self._read = read
        self._batches = batches
        self.at_work = at_work

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> Any:
        worker = get_worker_info()
        assert worker is not None
        self.at_work[worker.id] = torch.tensor([os.getpid(), number, _NONE])
        try:
            return self._read(self._batches[number])
        except (AudioError, StorageError) as error:
            return error
        finally:
            note_recording(None)


def _as_it_is(batch: T) -> T:
    """In place of torch's conversion, which makes lists of tuples."""
    return batch


def _start_worker(number: int) -> None:
    # the training loop answers: it saves its state and ends the workers
    ignore_stop_signals()
    torch.set_num_threads(1)
