"""The arithmetic of a forward pass: float32, or autocast to 16 bits, with gradients scaled where these need it."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16", "float16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which a forward pass is computed with a precision; weights stay float32.

    Example:
        >>> with autocast(torch.device("cpu"), "bfloat16"):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.bfloat16
    """
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "float32")


def make_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return what keeps the gradients of float16 from vanishing; with other precisions it does nothing.

    It multiplies the loss, takes the factor out of the gradients before the step, leaves a step out whose gradients
    overflow, and then lowers the factor (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2).
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
