"""How fast a training goes and what memory it takes, in the words below its progress bar."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

import psutil
import torch


def memory_in_words(device: torch.device) -> str:
    """Return what memory this process holds now, and on a GPU the peak of what it held there.

    Example:
        >>> memory_in_words(torch.device("cpu")).endswith(" GiB")
        True
    """
    held = f"{_process(os.getpid()).memory_info().rss / 2**30:.1f} GiB"
    if device.type != "cuda":
        return held
    return f"{held}, GPU {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"


@cache
def _process(number: int) -> psutil.Process:
    # it reads when the process began, which takes longer than what is asked of it
    return psutil.Process(number)


def pace_in_words(
    *,
    loss: float,
    rates: Mapping[str, float | int | None],
    audio_seconds: float,
    seconds: float,
    seconds_left: float,
    memory: str,
) -> str:
    """Return the words below the bar.

    Args:
        loss: the mean of the epoch so far.
        rates: the largest of the last step by the names of the settings, None where nothing trains.
        audio_seconds: of the recordings that the epoch has trained on so far.
        seconds: that this took.
        seconds_left: until the last epoch's end, if none is left out.
        memory: as ``memory_in_words`` gives it.

    Example:
        >>> rates = {"learning_rate": 1e-3, "encoder_learning_rate": 1e-5, "mix_learning_rate": None}
        >>> pace_in_words(
        ...     loss=0.4321, rates=rates, audio_seconds=90.0, seconds=2.0, seconds_left=754.0, memory="1.5 GiB"
        ... )
        'loss 0.4321, rate 1.0e-03, encoder rate 1.0e-05, 45 s audio/s, 1.5 GiB, 0:12:34 left'
    """
    shown = [
        f"{name.removesuffix('learning_rate').replace('_', ' ')}rate {rate:.1e}"
        for name, rate in rates.items()
        if rate is not None
    ]
    pace = f"{audio_seconds / max(seconds, 1e-9):.0f} s audio/s"
    left = f"{timedelta(seconds=round(seconds_left))} left"
    return ", ".join([f"loss {loss:.4f}", *shown, pace, memory, left])
