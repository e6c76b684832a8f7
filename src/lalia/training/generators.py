"""The random generators that a training draws from: python's, numpy's, torch's on the CPU and on each device."""

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def seed_generators(seed: int) -> None:
    """Set all random generators to a seed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        # the same for the CPU; the other also takes down a traceback for each kind of device that is not there
        torch.default_generator.manual_seed(seed)


def piece_seed(seed: int, step: int, place: int) -> int:
    """Return the seed of what is drawn in one piece of a step, such as dropout.

    It follows from its place alone: not from what was computed before, where, or how often.

    Args:
        seed: of the training.
        step: the number of the step, from 0.
        place: of the piece in the step, from 0.
    """
    return int(np.random.SeedSequence([seed, step, place]).generate_state(1)[0])


def generator_states() -> dict[str, Tensor]:
    """Return the states of all random generators.

    Example:
        >>> states = generator_states()
        >>> drawn = random.random(), torch.rand(2)
        >>> restore_generators(states)
        >>> random.random() == drawn[0], torch.equal(torch.rand(2), drawn[1])
        (True, True)
    """
    version, words, normal = random.getstate()
    _, key, position, has_normal, cached_normal = np.random.get_state()  # noqa: NPY002
    states = {
        "python": torch.tensor([version, *words]),
        # the second of a pair of normal draws, where the first was taken alone
        "python_normal": torch.tensor([] if normal is None else [normal], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(key).astype(np.int64)),
        "numpy_position": torch.tensor([position, has_normal]),
        "numpy_normal": torch.tensor([cached_normal], dtype=torch.float64),
        "cpu": torch.get_rng_state(),
    }
    states |= {f"cuda{i:03d}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_generators(states: Mapping[str, Tensor]) -> None:
    """Put all random generators back to where they were; those of devices only where there are as many."""
    version, *words = states["python"].tolist()
    normal = states["python_normal"].tolist()
    random.setstate((version, tuple(words), normal[0] if normal else None))
    position, has_normal = states["numpy_position"].tolist()
    key = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, position, has_normal, float(states["numpy_normal"][0])))  # noqa: NPY002
    torch.set_rng_state(states["cpu"])
    devices = [states[key] for key in sorted(states) if key.startswith("cuda")]
    if len(devices) == torch.cuda.device_count():
        for index, state in enumerate(devices):
            torch.cuda.set_rng_state(state, index)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
