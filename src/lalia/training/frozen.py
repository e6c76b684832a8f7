"""The frozen part of a rater: what training does not change, and how it becomes entries of a store and inputs again."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lalia.data.audio import Preprocessing
from lalia.errors import EmptyRecordingError, EncoderError
from lalia.model.encoders.base import Depth, Frames, SpeechEncoder, mask_up_to
from lalia.model.inputs import Inputs, KnownFrames, KnownVectors
from lalia.model.layer_mix import WeightedDepths
from lalia.model.pooling import STATISTICS, Statistic
from lalia.model.rater import SpeechRater
from lalia.training.cache import StorageType, content_key
from lalia.training.fingerprint import encoder_fingerprints
from lalia.training.moments import Moments, measure_frames, pool_moments

Entry = Mapping[str, Tensor]

# of an entry's file: the header of safetensors with names, shapes and checksum
_HEADER_BYTES: Final = 384


@dataclass(frozen=True)
class FrozenPart(ABC):
    """What an encoder makes of a recording up to some depths, as entries of a store.

    Attributes:
        depths: those that a rater starts from, in the order in which it asks for them.
        fingerprints: of the encoder, for each entry of a recording.
        preprocessing: from file to windows.
        dtype: how the store keeps floats.
    """

    depths: tuple[Depth, ...]
    fingerprints: tuple[str, ...]
    preprocessing: Preprocessing
    dtype: StorageType

    def keys(self, audio: str, view: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Return the keys of a recording's entries.

        Args:
            audio: the SHA-256 of its file.
            view: how it is augmented, as JSON; None for the recording as it is.
        """
        common = {
            "preprocessing": asdict(self.preprocessing),
            "dtype": self.dtype,
            "audio": audio,
            **({} if view is None else {"view": view}),
        }
        return tuple(content_key(encoder=each, **self._described(), **common) for each in self.fingerprints)

    @property
    def pass_key(self) -> str:
        """What two raters have alike whose frozen part is computed once for both, whatever the recordings."""
        return content_key(
            encoder=list(self.fingerprints),
            preprocessing=asdict(self.preprocessing),
            dtype=self.dtype,
            **self._described(),
        )

    @abstractmethod
    def encode(
        self, encoder: SpeechEncoder, recordings: Mapping[str, Sequence[Tensor]], most_samples: int
    ) -> list[tuple[Entry, ...]]:
        """Compute the entries of recordings, in the encoder's present mode and without gradients.

        Args:
            encoder: the one of the fingerprints.
            recordings: the windows of each, 1-d, by its id.
            most_samples: of a forward pass, padding included, unless one window has more.

        Raises:
            EmptyRecordingError: names a recording without a single frame.
            EncoderError: names a recording for which the encoder gives values that are not finite.
        """

    @abstractmethod
    def collate(self, recordings: Sequence[Sequence[Entry]]) -> Inputs:
        """Return what a rater takes, from the entries of each recording."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is kept, in words."""

    @abstractmethod
    def count_bytes(self, encoder: SpeechEncoder, n_samples: Sequence[Sequence[int]]) -> int:
        """Return how many bytes the entries of recordings take, given the samples of the windows of each."""

    @abstractmethod
    def _described(self) -> dict[str, Any]:
        """Return what besides the fingerprint tells an entry from others."""


@dataclass(frozen=True)
class FrozenVectors(FrozenPart):
    """Mean, maximum and standard deviation over the frames of a recording, at every depth: one entry.

    Attributes:
        all_depths: of the entry.
        statistics: those that the rater takes of it.
    """

    all_depths: tuple[Depth, ...]
    statistics: tuple[Statistic, ...]

    def encode(
        self, encoder: SpeechEncoder, recordings: Mapping[str, Sequence[Tensor]], most_samples: int
    ) -> list[tuple[Entry, ...]]:
        """Compute the entries of recordings."""
        nothing = [Moments.of_nothing(encoder.width)] * len(self.all_depths)
        found: dict[str, list[Moments]] = dict.fromkeys(recordings, nothing)
        for names, frames_at in encode_windows(encoder, recordings, self.all_depths, most_samples):
            of_depths = [measure_frames(frames_at[depth]) for depth in self.all_depths]
            for row, name in enumerate(names):
                found[name] = [old.join(new[row]) for old, new in zip(found[name], of_depths, strict=True)]
        entries = []
        for name, moments in found.items():
            _refuse_no_frame(name, all(one.frames for one in moments))
            entries.append(pool_moments(moments))
            _refuse_not_finite(name, entries[-1].values(), encoder)
        return [({str(name): values for name, values in vectors.items()},) for vectors in entries]

    def collate(self, recordings: Sequence[Sequence[Entry]]) -> KnownVectors:
        """Return the vectors of the rater's depths."""
        places = [self.all_depths.index(depth) for depth in self.depths]
        vectors = {
            name: torch.stack([entry[name][places] for (entry,) in recordings]).float() for name in self.statistics
        }
        return KnownVectors(self.depths, vectors)

    def count_bytes(self, encoder: SpeechEncoder, n_samples: Sequence[Sequence[int]]) -> int:
        """Return how many bytes the entries of recordings take."""
        n_values = len(STATISTICS) * len(self.all_depths) * encoder.width
        return len(n_samples) * (n_values * _bytes_of(self.dtype) + _HEADER_BYTES)

    @property
    def title(self) -> str:
        """What is kept, in words."""
        return "pooled vectors of all depths"

    def _described(self) -> dict[str, Any]:
        return {"what": "pooled"}


@dataclass(frozen=True)
class FrozenFrames(FrozenPart):
    """Frames of some depths, one entry for each: the windows of the recording joined in time, with their lengths.

    Attributes:
        keeps_padding: whether frames that hold no speech are kept, with their mask: blocks that are computed from here
            attend to them.
    """

    keeps_padding: bool

    def encode(
        self, encoder: SpeechEncoder, recordings: Mapping[str, Sequence[Tensor]], most_samples: int
    ) -> list[tuple[Entry, ...]]:
        """Compute the entries of recordings."""
        found: dict[str, list[list[Frames]]] = {name: [[] for _ in self.depths] for name in recordings}
        for names, frames_at in encode_windows(encoder, recordings, self.depths, most_samples):
            for row, name in enumerate(names):
                for of_depth, depth in zip(found[name], self.depths, strict=True):
                    of_depth.append(Frames(*(each[row].to("cpu", copy=True) for each in frames_at[depth])))
        for name, of_depths in found.items():
            _refuse_no_frame(name, any(window.is_real.any() for window in of_depths[0]))
            _refuse_not_finite(name, (each.values[each.is_real] for windows in of_depths for each in windows), encoder)
        return [tuple(self._join(windows) for windows in of_depths) for of_depths in found.values()]

    def collate(self, recordings: Sequence[Sequence[Entry]]) -> KnownFrames:
        """Return the frames of the windows of all recordings, padded together."""
        lengths = [entries[0]["n_frames"].tolist() for entries in recordings]
        counts = torch.tensor([n for of_windows in lengths for n in of_windows])
        is_real = mask_up_to(counts, int(counts.max()))
        if self.keeps_padding:
            is_real = _pad([entries[0]["is_real"].bool() for entries in recordings], lengths)
        frames_at = {
            depth: Frames(_pad([entries[number]["values"].float() for entries in recordings], lengths), is_real)
            for number, depth in enumerate(self.depths)
        }
        n_windows = torch.tensor([len(of_windows) for of_windows in lengths])
        return KnownFrames(frames_at, torch.repeat_interleave(torch.arange(len(recordings)), n_windows))

    def count_bytes(self, encoder: SpeechEncoder, n_samples: Sequence[Sequence[int]]) -> int:
        """Return how many bytes the entries of recordings take."""
        lengths = [n for windows in n_samples for n in windows]
        if self.keeps_padding:
            n_frames = len(lengths) * _count_positions(encoder)
        elif encoder.n_blocks:
            n_frames = int(encoder.count_frames(torch.tensor(lengths)).sum())
        else:  # counting would run the model on each of them
            second = encoder.count_frames(torch.tensor([encoder.rate_hz]))
            n_frames = round(sum(lengths) / encoder.rate_hz * int(second))
        per_depth = n_frames * encoder.width * _bytes_of(self.dtype) + len(n_samples) * _HEADER_BYTES
        return len(self.depths) * per_depth

    @property
    def title(self) -> str:
        """What is kept, in words."""
        if self.depths == ("features",):
            return "the features below depth 0"
        plural = "depths" if len(self.depths) > 1 else "depth"
        return f"the frames of {plural} {', '.join(map(str, self.depths))}"

    def _join(self, windows: Sequence[Frames]) -> dict[str, Tensor]:
        if self.keeps_padding:
            return {
                "values": torch.cat([each.values for each in windows]),
                "is_real": torch.cat([each.is_real for each in windows]).to(torch.uint8),
                "n_frames": torch.tensor([len(each.values) for each in windows]),
            }
        return {
            "values": torch.cat([each.values[each.is_real] for each in windows]),
            "n_frames": torch.tensor([int(each.is_real.sum()) for each in windows]),
        }

    def _described(self) -> dict[str, Any]:
        return {"what": "frames", "keeps_padding": self.keeps_padding}


def find_frozen_part(rater: SpeechRater, dtype: StorageType) -> FrozenPart | None:
    """Return the part of a rater that training does not change, None if all of it may change.

    With a frozen encoder and a pooling without parameters that is the pooled vectors of all depths, where the layer mix
    gives the same before pooling as after: a weighted one only with the mean. Otherwise it is the frames of the pooled
    depths that do not change, and of the highest such depth if blocks follow it; or the features below depth 0, where
    the stem trains but for them.

    Args:
        rater: adapted; or read from its folder, which says from which depth on it was trained.
        dtype: how the store keeps floats.
    """
    encoder, mix = rater.encoder, rater.layer_mix
    first = rater.first_changing_depth
    if first == 0:
        return None if _features_change(encoder) else _frozen_frames(rater, ["features"], dtype, goes_on=True)
    if first > encoder.n_blocks and is_pooled_first(rater):
        return frozen_vectors(encoder, rater.preprocessing, dtype, mix.depths, rater.pooling.statistics)
    known: set[Depth] = {depth for depth in mix.depths if _number(depth, encoder) < first}
    goes_on = len(known) < len(mix.depths)
    if goes_on:
        known.add(first - 1)
    return _frozen_frames(rater, sorted(known, key=lambda depth: _number(depth, encoder)), dtype, goes_on=goes_on)


def is_pooled_first(rater: SpeechRater) -> bool:
    """Return whether a rater's score follows from statistics over the frames of each depth."""
    statistics = rater.pooling.statistics
    commutes = statistics == ("mean",) or not isinstance(rater.layer_mix, WeightedDepths)
    return bool(statistics) and commutes and not rater.head.layers.transformers


def frozen_vectors(
    encoder: SpeechEncoder,
    preprocessing: Preprocessing,
    dtype: StorageType,
    depths: Sequence[Depth] | None = None,
    statistics: Sequence[Statistic] = STATISTICS,
) -> FrozenVectors:
    """Return the pooled vectors of a frozen encoder.

    Args:
        encoder: used as it is.
        preprocessing: from file to windows.
        dtype: how the store keeps floats.
        depths: those to return from an entry; None returns all, the numbers and ``"last"``.
        statistics: those to return; all are kept.
    """
    every: tuple[Depth, ...] = (*range(encoder.n_blocks + 1), "last")
    fingerprint = encoder_fingerprints(encoder, ["last"])["last"]
    wanted = every if depths is None else tuple(depths)
    return FrozenVectors(wanted, (fingerprint,), preprocessing, dtype, every, tuple(statistics))


def limit_samples(encoder: SpeechEncoder, seconds: float) -> int:
    """Return how many samples should go through an encoder at once, 0 for a window at a time.

    On a CPU a window alone is as fast, nothing is padded, and the values depend on nothing else.
    """
    return 0 if encoder.device.type == "cpu" else int(seconds * encoder.rate_hz)


def encode_windows(
    encoder: SpeechEncoder, recordings: Mapping[str, Sequence[Tensor]], depths: Sequence[Depth], most_samples: int
) -> Iterator[tuple[list[str], dict[Depth, Frames]]]:
    """Yield the frames of windows, with the recording of each, as many at once as ``most_samples`` holds."""
    windows = [(name, window) for name, of_recording in recordings.items() for window in of_recording]
    start = 0
    while start < len(windows):
        stop = start + 1
        longest = len(windows[start][1])
        while stop < len(windows):
            longest = max(longest, len(windows[stop][1]))
            if longest * (stop + 1 - start) > most_samples:
                break
            stop += 1
        group = [window for _, window in windows[start:stop]]
        with torch.inference_mode():
            waveforms = pad_sequence(group, batch_first=True).to(encoder.device)
            frames_at = encoder(waveforms, torch.tensor([len(window) for window in group]), depths)
        yield [name for name, _ in windows[start:stop]], frames_at
        start = stop


def _frozen_frames(rater: SpeechRater, depths: Sequence[Depth], dtype: StorageType, *, goes_on: bool) -> FrozenFrames:
    prints = encoder_fingerprints(rater.encoder, depths)
    return FrozenFrames(
        tuple(depths),
        tuple(prints[depth] for depth in depths),
        rater.preprocessing,
        dtype,
        keeps_padding=goes_on and rater.encoder.attends_to_padding,
    )


def _features_change(encoder: SpeechEncoder) -> bool:
    """Return whether training changes, or changed, what lies below depth 0; so too where nothing is known to."""
    parameters = [
        (f"{encoder.path_of(module)}.{name}", parameter)
        for module in encoder.feature_modules
        for name, parameter in module.named_parameters()
    ]
    return not parameters or any(each.requires_grad or path in encoder.changed for path, each in parameters)


def _refuse_no_frame(name: str, has_frame: bool) -> None:
    if not has_frame:
        raise EmptyRecordingError(
            f"Recording '{name}' is too short for the encoder: it gives no frame. Leave it out with data.exclude."
        )


def _refuse_not_finite(name: str, values: Iterable[Tensor], encoder: SpeechEncoder) -> None:
    if not all(each.isfinite().all() for each in values):
        raise EncoderError(
            f"{encoder.source.name} gives values for recording '{name}' that are not finite numbers. "
            "Listen to it, and leave it out with data.exclude, or take another encoder."
        )


def _pad(recordings: Sequence[Tensor], lengths: Sequence[list[int]]) -> Tensor:
    """Return the windows that recordings are joined of, padded together, shape (windows, time, ...)."""
    of_windows = zip(recordings, lengths, strict=True)
    return pad_sequence([window for each, n in of_windows for window in torch.split(each, n)], batch_first=True)


def _number(depth: Depth, encoder: SpeechEncoder) -> int:
    return depth if isinstance(depth, int) else encoder.n_blocks


def _count_positions(encoder: SpeechEncoder) -> int:
    second = torch.tensor([max(encoder.rate_hz, encoder.min_samples)])
    with torch.inference_mode():
        return encoder.stem(torch.zeros(1, int(second), device=encoder.device), second).values.shape[1]


def _bytes_of(dtype: StorageType) -> int:
    return 2 if dtype == "float16" else 4
