"""How fast a training goes and what memory it takes, in the words beside its progress bar."""

import psutil
import torch


def memory_bytes(device: torch.device) -> int:
    """Return the memory that counts on a device: the peak of what a GPU holds, on a CPU what this process holds now."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def pace_in_words(*, loss: float, rate: float, audio_seconds: float, seconds: float, memory: int) -> str:
    """Return the words beside the bar.

    Args:
        loss: the mean of the epoch so far.
        rate: the largest learning rate of the last step.
        audio_seconds: of the recordings that the epoch has trained on so far.
        seconds: that this took.
        memory: in bytes.

    Example:
        >>> pace_in_words(loss=0.4321, rate=1e-4, audio_seconds=90.0, seconds=2.0, memory=3 * 2**29)
        'loss 0.4321, rate 1.0e-04, 45 s of audio per second, 1.5 GiB'
    """
    pace = audio_seconds / max(seconds, 1e-9)
    return f"loss {loss:.4f}, rate {rate:.1e}, {pace:.0f} s of audio per second, {memory / 2**30:.1f} GiB"
