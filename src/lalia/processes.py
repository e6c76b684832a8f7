"""Processes that train one rater together, each on its own device: how they share work, and how they stay alike."""

import atexit
import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from lalia.errors import ConfigError, RunError, TrainingError

T = TypeVar("T")

# the others wait while the first reads all recordings; one that dies is noticed at once
_PATIENCE = timedelta(hours=12)
# of gradients that are added at once
_BUCKET_BYTES = 2**26
_SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")


class Processes:
    """This process among those that train together; every one calls the same methods in the same order.

    Alone, work is not shared and nobody is waited for.

    Args:
        index: of this process, from 0.
        count: of all processes.
        device: of this process.
        messages: the group through which they tell each other what lies in main memory; None alone.

    Example:
        >>> alone = Processes()
        >>> alone.deal(["a", "b"]), alone.collect(["a", "b"]), alone.ask_first(lambda: 1)
        (['a', 'b'], ['a', 'b'], 1)
    """

    def __init__(
        self,
        index: int = 0,
        count: int = 1,
        device: torch.device | None = None,
        messages: distributed.ProcessGroup | None = None,
    ) -> None:
        self.index = index
        self.count = count
        self.device = device or torch.device("cpu")
        self._messages = messages

    @property
    def is_first(self) -> bool:
        """Whether this is the one that shows, logs and writes."""
        return self.index == 0

    def deal(self, work: Iterable[T]) -> list[T]:
        """Return this process's share: every ``count``-th piece of the work."""
        return list(work)[self.index :: self.count]

    def collect(self, share: Sequence[T]) -> list[T]:
        """Return what came of all that was dealt, in its order; tensors are to lie in main memory."""
        if self.count == 1:
            return list(share)
        shares = self._gather(list(share))
        return [shares[place % self.count][place // self.count] for place in range(sum(map(len, shares)))]

    def together(self, work: Callable[[], T]) -> T:
        """Do this process's share of some work; where it fails in one process, its error is raised in all.

        Args:
            work: waits for no other process.
        """
        if self.count == 1:
            return work()
        found: tuple[T, ...] = ()
        error: Exception | None = None
        try:
            found = (work(),)
        except Exception as raised:
            error = raised
        errors = self._gather(None if error is None else _as_message(error))
        if error is not None:
            raise error
        for other in errors:
            if other is not None:
                raise other
        return found[0]

    def ask_first(self, work: Callable[[], T]) -> T:
        """Return what the first process made of some work, or raise its error, in all of them."""
        if self.count == 1:
            return work()
        found: list[Any] = [None, None]
        if self.is_first:
            try:
                found[0] = work()
            except Exception as error:
                found[1] = _as_message(error)
        with _noticing_ends():
            distributed.broadcast_object_list(found, src=0, group=self._messages)
        if found[1] is not None:
            raise found[1]
        answer: T = found[0]
        return answer

    def largest(self, number: int) -> int:
        """Return the largest of the numbers that the processes have."""
        return number if self.count == 1 else max(self._gather(number))

    def check_alike(self, what: str, value: object) -> None:
        """Make sure that all processes have the same of something.

        Raises:
            RunError: if one has another value than the first.
        """
        if self.count == 1:
            return
        first, *others = self._gather(value)
        differing = [number for number, other in enumerate(others, start=2) if other != first]
        if differing:
            raise RunError(
                f"Process {differing[0]} of {self.count} has another {what} than the first. Give all of them the same "
                "settings, files and libraries."
            )

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the sum over all processes in the place of each gradient.

        Once per step and on its own, not while ``DistributedDataParallel`` goes backwards: that wants every process to
        pass through every parameter as often as the others, and a process may have no part in a step.
        """
        if self.count == 1:
            return
        given = list(parameters)
        has_gradient = torch.tensor([each.grad is not None for each in given], dtype=torch.int32)
        with _noticing_ends():
            distributed.all_reduce(has_gradient, distributed.ReduceOp.MAX, group=self._messages)
        gradients = []
        for parameter, has in zip(given, has_gradient.tolist(), strict=True):
            # what no process has a gradient of stays without: an optimiser leaves it as it is
            if has:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradients.append(parameter.grad)
        self.add(gradients)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over all processes in the place of each tensor; they lie on the processes' devices."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            whole = torch.cat([each.reshape(-1) for each in bucket])
            with _noticing_ends():
                distributed.all_reduce(whole)
            for each, summed in zip(bucket, torch.split(whole, [each.numel() for each in bucket]), strict=True):
                each.copy_(summed.view_as(each))

    def _gather(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.count
        with _noticing_ends():
            distributed.all_gather_object(found, value, group=self._messages)
        return found


@cache
def join_processes() -> Processes:
    """Return this process among those that ``torchrun`` or ``accelerate launch`` started, alone if they did not.

    Raises:
        ConfigError: if they were started to share the weights among them, or cannot find each other.
    """
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    for name in _SHARDED:
        if parse_flag_from_env(f"ACCELERATE_USE_{name}"):
            raise ConfigError(
                f"Each process of lalia holds the whole rater, and ACCELERATE_USE_{name} asks for parts of it. Launch "
                "without; train.gradient_checkpointing, bfloat16 and train.batch_seconds save memory instead."
            )
    count = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    # of several processes on one machine without devices of their own, each takes some of its cores
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (count > 1 and (device is None or device.type == "mps"))
    state = PartialState(cpu=on_cpu, timeout=_PATIENCE)
    if state.num_processes == 1:
        if count > 1:
            raise ConfigError(f"{count} processes were started, but there is nothing through which they could speak.")
        return Processes(device=state.device)
    atexit.register(state.destroy_process_group)
    messages = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes, state.device, messages)


@contextmanager
def _noticing_ends() -> Iterator[None]:
    """Say plainly that another process has ended, which shows as an error of the connection to it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise TrainingError(
            "Another process of this training has ended; what it said last tells why. Go on with --resume."
        ) from error


def _as_message(error: Exception) -> Exception:
    """Return an error as it can be raised in another process."""
    try:
        # as unpickling would: from its class and arguments
        return copy.copy(error)
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors of one type, as many at a time as fit a bucket."""
    for dtype in dict.fromkeys(each.dtype for each in tensors):
        bucket: list[Tensor] = []
        for each in (each for each in tensors if each.dtype == dtype):
            if bucket and sum(one.nbytes for one in bucket) + each.nbytes > _BUCKET_BYTES:
                yield bucket
                bucket = []
            bucket.append(each)
        if bucket:
            yield bucket
