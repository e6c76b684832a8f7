"""The distortions of audiomentations, an optional package, by the names of its catalogue."""

import importlib
import inspect
import json
import random
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np
from numpy.random import Generator

from lalia.data.decoding import Waveform
from lalia.errors import ConfigError, suggest

PACKAGE = "audiomentations"
_REFUSED = {
    "Lambda": "it takes a function, which settings cannot hold",
    "Resample": "it gives another sampling rate, which would be heard as another speed; Aliasing keeps the rate",
}
_TRY_SECONDS = 2
# audiomentations draws from the global generators of python and numpy
_generators_in_use = Lock()


def check_transform(transform: str, parameters: Mapping[str, Any], rate_hz: int) -> None:
    """Make sure that a transform is there, takes these parameters, and works on a waveform.

    Args:
        transform: the name of a class of audiomentations for waveforms.
        parameters: its keywords but for ``p``.
        rate_hz: of the waveforms.

    Raises:
        ConfigError: names what is wrong, and the nearest name that is known.
    """
    if find_spec(PACKAGE) is None:
        raise ConfigError(
            f"augment names {PACKAGE}, which is not installed. Install it with: pip install 'lalia[augment]', or take"
            " it out."
        )
    known = _find_transforms()
    if transform in _REFUSED:
        raise ConfigError(f"augment: {PACKAGE}' {transform} cannot be used: {_REFUSED[transform]}.")
    if transform not in known:
        raise ConfigError(f"augment: {PACKAGE} has no transform '{transform}'.{suggest(transform, known)}")
    takes = [name for name in inspect.signature(known[transform]).parameters if name != "p"]
    for name in parameters:
        if name == "p":
            raise ConfigError(f"augment: {PACKAGE}' {transform}: its p is the distortion's own setting, probability.")
        if name not in takes:
            raise ConfigError(f"augment: {PACKAGE}' {transform} has no parameter '{name}'.{suggest(name, takes)}")
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(_TRY_SECONDS * rate_hz)).astype(np.float32)
    try:
        apply_transform(noise, rate_hz, rng, transform=transform, parameters=parameters)
    except Exception as error:  # whatever it raises, at times an assertion without a word
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"augment: {PACKAGE}' {transform} cannot be used with {dict(parameters)}: {reason}"
        ) from error


def apply_transform(
    waveform: Waveform, rate_hz: int, rng: Generator, *, transform: str, parameters: Mapping[str, Any]
) -> Waveform:
    """Return the waveform as a transform changes it, at times with another length.

    The global generators of python and numpy are seeded for the call and put back.

    Args:
        waveform: shape (samples,).
        rate_hz: of the waveform.
        rng: draws their seeds.
        transform: as for ``check_transform``.
        parameters: likewise.
    """
    changes = _make_transform(transform, json.dumps(parameters))
    seeds = rng.integers(2**32, size=2).tolist()
    with _generators_in_use:
        of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(seeds[0])
        np.random.seed(seeds[1])  # noqa: NPY002
        try:
            changed = changes(samples=waveform.copy(), sample_rate=rate_hz)
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
    return np.ascontiguousarray(changed, dtype=np.float32)


def package_version() -> str:
    """Return the version of the package, by which its values may differ."""
    return version(PACKAGE)


def _find_transforms() -> dict[str, Any]:
    package = importlib.import_module(PACKAGE)
    base = importlib.import_module(f"{PACKAGE}.core.transforms_interface").BaseWaveformTransform
    return {
        name: each
        for name, each in vars(package).items()
        if inspect.isclass(each) and issubclass(each, base) and each is not base and name not in _REFUSED
    }


@lru_cache
def _make_transform(transform: str, parameters: str) -> Any:
    return _find_transforms()[transform](p=1.0, **json.loads(parameters))
