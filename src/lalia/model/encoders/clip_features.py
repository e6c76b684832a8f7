"""Waveform -> what a stem on spectrograms takes: Hugging Face's feature extractors, one clip at a time."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from lalia.errors import EncoderError
from lalia.model.untrusted import find_impossible

NAME_KEY = "feature_extractor_type"


def read_features(features: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return what of a preprocessor_config.json a feature extractor takes, its class's name among it.

    Args:
        features: with ``feature_extractor_type``, a class of transformers.
        origin: where they stand, for messages.

    Raises:
        EncoderError: if there is no such class.
    """
    extractor_class = _find_class(features.get(NAME_KEY), origin)
    known = set(inspect.signature(extractor_class.__init__).parameters) - {"self", "kwargs"}
    known |= {"feature_size", "sampling_rate", "padding_value"}
    return {NAME_KEY: features[NAME_KEY]} | {key: value for key, value in features.items() if key in known}


class ClipFeatures:
    """The features of clips, each extracted alone, so that no clip changes another's.

    Args:
        features: as ``read_features`` gives them.
        rate_hz: of the waveforms.
        origin: whose they are, for messages.

    Raises:
        EncoderError: if the feature extractor cannot be made of them.
    """

    def __init__(self, features: Mapping[str, Any], rate_hz: int, origin: str) -> None:
        extractor_class = _find_class(features.get(NAME_KEY), origin)
        wrong = find_impossible(features)
        if wrong is not None:
            raise EncoderError(f"{origin}: its feature extractor cannot be made. {wrong}.")
        arguments = {key: value for key, value in features.items() if key != NAME_KEY}
        try:
            # some bands of AST's own 128 are empty, of which it warns each time
            with warnings.catch_warnings(action="ignore"):
                self.extractor = extractor_class(**arguments)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise EncoderError(f"{origin}: its feature extractor cannot be made. {error}") from error
        self.rate_hz = rate_hz

    def __call__(self, waveforms: Tensor, lengths: Sequence[int]) -> list[dict[str, Tensor]]:
        """Return what the extractor gives for each clip, with a leading dimension of 1, on the waveforms' device.

        Args:
            waveforms: padded behind, shape (clips, samples).
            lengths: real samples of each clip.
        """
        on_cpu = waveforms.detach().float().cpu().numpy()
        return [self._extract(clip[:n], waveforms.device) for clip, n in zip(on_cpu, lengths, strict=True)]

    def _extract(self, clip: np.ndarray[Any, Any], device: torch.device) -> dict[str, Tensor]:
        extracted = self.extractor(
            clip, sampling_rate=self.rate_hz, return_tensors="pt", return_attention_mask=True, truncation=False
        )
        return {name: values.to(device) for name, values in extracted.items()}


def _find_class(name: object, origin: str) -> Any:
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, transformers.SequenceFeatureExtractor)):
        raise EncoderError(f"{origin}: transformers {transformers.__version__} has no feature extractor {name!r}.")
    return found
