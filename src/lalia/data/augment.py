"""Augmentation: a chain of distortions for the recordings of the training part, seeded by recording and epoch."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lalia.data import catalogue, channels, distortions, tempo
from lalia.data.decoding import Waveform
from lalia.data.spec_augment import Hidden, SpecAugment

DISTORTIONS: dict[str, Callable[..., Waveform]] = {
    "noise": distortions.add_noise,
    "mix": distortions.add_recording,
    "gain": distortions.change_gain,
    "clipping": distortions.clip_peaks,
    "polarity": distortions.flip_polarity,
    "shift": distortions.shift_in_time,
    "time_mask": distortions.mask_time,
    "frequency_mask": channels.mask_frequencies,
    "reverberation": channels.reverberate,
    "telephone": channels.telephone,
    "codec": channels.compress,
    "speed": tempo.change_speed,
    "pitch": tempo.change_pitch,
    "audiomentations": catalogue.apply_transform,
}
"""What each kind of distortion does: waveform, rate in Hz and random generator in, waveform out."""

VERSION = 1
"""Is raised when a distortion gives other values for the same options and seed."""


@dataclass(frozen=True)
class Step:
    """One distortion of a chain.

    Args:
        kind: a key of ``DISTORTIONS``.
        probability: how often it is applied.
        options: its own keywords.
    """

    kind: str
    probability: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Augmentation:
    """A chain of distortions, and what is hidden of the frames afterwards.

    What is drawn depends on the seed, the recording's id, and the epoch or the view; not on other recordings, their
    order, or the process that reads them. Each step has a random generator of its own.

    With views, every recording has that many fixed versions, and epoch e takes number (e + an offset that depends on
    the recording) modulo the number of views: after as many epochs as there are views, each has been taken once. Two
    views of a recording are alike only where the same steps without a random draw, or none at all, made them.

    Args:
        steps: in the order in which they are applied.
        seed: of the run.
        views: the number of versions; None draws anew in every epoch.
        min_samples: a change of speed that would make a recording shorter is left out.
        spec_augment: draws in every epoch what is hidden, with views too; None hides nothing.
    """

    steps: tuple[Step, ...]
    seed: int
    views: int | None = None
    min_samples: int = 1
    spec_augment: SpecAugment | None = None

    @property
    def mixes(self) -> bool:
        """Whether other recordings are needed."""
        return any(step.kind == "mix" for step in self.steps)

    def view_of(self, recording: str, epoch: int) -> int | None:
        """Return which view of a recording an epoch takes, from 0; None where every epoch draws anew."""
        if self.views is None:
            return None
        return (epoch + int.from_bytes(_digest(recording)[:8], "big")) % self.views

    def partner_of(
        self, recording: str, epoch: int, hashes: NDArray[np.uint64], may_be: NDArray[np.bool_]
    ) -> int | None:
        """Return the place of the recording that is mixed in, or None if none may be.

        Each has a rank drawn from the seed, the recording, the epoch or view, and its own id: which one is the first
        does not change with their order, nor when one of the rest comes or goes.

        Args:
            recording: its id.
            epoch: of the training.
            hashes: of the ids of all recordings, from ``hash_ids``.
            may_be: whether each may be the partner.
        """
        if not may_be.any():
            return None
        key = _digest("partner", self.seed, recording, self._number(recording, epoch))
        ranks = _scramble(hashes ^ np.uint64(int.from_bytes(key[:8], "big")))
        places = np.flatnonzero(may_be)
        return int(places[np.argmin(ranks[places])])

    def apply(
        self,
        waveform: Waveform,
        rate_hz: int,
        recording: str,
        epoch: int,
        partner: Callable[[], Waveform | None] | None = None,
    ) -> Waveform:
        """Return a recording as an epoch hears it, as float32.

        Distortions may push samples beyond full scale. Nothing is clipped for that: the whole is made softer, so that
        its peak is at most 1, or the peak that the recording came with. What no step changes comes back as it is.

        Args:
            waveform: the whole recording, not its windows, shape (samples,).
            rate_hz: of the waveform.
            recording: its id.
            epoch: of the training.
            partner: loads the recording of ``partner_of``; called only when mixing is drawn.
        """
        words = np.frombuffer(_digest(recording), dtype="<u4").tolist()
        seeds = np.random.SeedSequence([self.seed, self._number(recording, epoch), *words]).spawn(len(self.steps))
        changed = waveform
        for step, seed in zip(self.steps, seeds, strict=True):
            rng = np.random.default_rng(seed)
            if rng.random() >= step.probability:
                continue
            options = dict(step.options)
            if step.kind == "mix":
                options["other"] = partner() if partner is not None else None
            result = DISTORTIONS[step.kind](changed, rate_hz, rng, **options)
            if len(result) >= self.min_samples or len(result) >= len(changed):
                changed = result
        if changed is waveform:
            return waveform
        return distortions.limit_peak(changed, max(1.0, float(np.abs(waveform).max(initial=0.0))))

    def draw_hidden(
        self, recording: str, epoch: int, n_frames: Sequence[int], *, frame_rate_hz: float, width: int
    ) -> tuple[list[Hidden], Hidden]:
        """Return which frames and features of a recording an epoch hides, as ``SpecAugment.draw`` does.

        Args:
            recording: its id.
            epoch: of the training.
            n_frames: and all that follow, those of ``SpecAugment.draw``.
        """
        assert self.spec_augment is not None
        words = np.frombuffer(_digest("hidden", recording), dtype="<u4").tolist()
        rng = np.random.default_rng([self.seed, epoch, *words])
        return self.spec_augment.draw(rng, n_frames, frame_rate_hz=frame_rate_hz, width=width)

    def describe_draw(self, recording: str, epoch: int) -> dict[str, Any]:
        """Return, as JSON can hold it, all that the values of a recording depend on but the files' contents.

        These are the recording's own and, where ``mixes`` is true, its partner's. How many views there are is not
        part of it: the first four of eight are those of four.
        """
        described = self.describe()
        del described["views"]
        return {**described, "recording": recording, "number": self._number(recording, epoch)}

    def describe(self) -> dict[str, Any]:
        """Return the chain as JSON can hold it."""
        uses_catalogue = any(step.kind == "audiomentations" for step in self.steps)
        return {
            "version": VERSION,
            "scipy": scipy.__version__,
            **({"audiomentations": catalogue.package_version()} if uses_catalogue else {}),
            "seed": self.seed,
            "views": self.views,
            "min_samples": self.min_samples,
            "steps": [
                {
                    "kind": step.kind,
                    "probability": step.probability,
                    **{key: list(value) if isinstance(value, tuple) else value for key, value in step.options.items()},
                }
                for step in self.steps
            ],
        }

    def _number(self, recording: str, epoch: int) -> int:
        view = self.view_of(recording, epoch)
        return epoch if view is None else view


def hash_ids(recordings: Sequence[str]) -> NDArray[np.uint64]:
    """Return a number for each id, for ``Augmentation.partner_of``."""
    return np.array([int.from_bytes(_digest(recording)[:8], "big") for recording in recordings], dtype=np.uint64)


def _scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers as random as those of SplitMix64 (Steele, Lea and Flood 2014), the same for the same."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _digest(*parts: object) -> bytes:
    # Python's own hash of a text differs from process to process; NUL separates, because no id holds it
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()
