"""Settings of augmentation: distortions of the training part's recordings, a variant for each."""

from typing import Annotated, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from lalia.settings.base import Count, Fraction, Number, Settings


def _as_range(value: object) -> object:
    """Read one number as a range of that number alone."""
    return (value, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _within(lowest: float, highest: float) -> AfterValidator:
    def check(value: tuple[float, float]) -> tuple[float, float]:
        if not lowest <= value[0] <= value[1] <= highest:
            raise ValueError(
                f"a range goes from a lower to a higher number within {lowest:g} to {highest:g}, got {list(value)}"
            )
        return value

    return AfterValidator(check)


Range = Annotated[tuple[Number, Number], BeforeValidator(_as_range)]


class _Distortion(Settings):
    probability: Fraction = 0.5
    """How often it is applied."""


class NoiseDistortion(_Distortion):
    """Noise is added."""

    kind: Literal["noise"] = "noise"
    snr_db: Annotated[Range, _within(-20, 100)] = (10.0, 30.0)
    """The range of the ratio of the recording's mean power to the noise's, in dB; one number is a range of itself."""
    color: Literal["white", "pink"] = "pink"
    """white: the same power in every hertz; pink: in every octave."""


class MixDistortion(_Distortion):
    """Another recording of the training part is added, of another speaker."""

    kind: Literal["mix"] = "mix"
    snr_db: Annotated[Range, _within(-20, 100)] = (10.0, 30.0)
    """The range of the ratio of the recording's mean power to the other one's, in dB."""


class GainDistortion(_Distortion):
    """The level changes."""

    kind: Literal["gain"] = "gain"
    gain_db: Annotated[Range, _within(-60, 60)] = (-6.0, 6.0)
    """The range of the change, in dB."""


class ClippingDistortion(_Distortion):
    """Samples beyond a limit are clipped, as by an overloaded microphone."""

    kind: Literal["clipping"] = "clipping"
    below_peak_db: Annotated[Range, _within(0, 40)] = (1.0, 6.0)
    """The range of the limit, in dB below the highest sample."""


class PolarityDistortion(_Distortion):
    """The sign of every sample changes."""

    kind: Literal["polarity"] = "polarity"


class ShiftDistortion(_Distortion):
    """The recording moves in time; what comes in is silence, what goes out is lost."""

    kind: Literal["shift"] = "shift"
    shift_ms: Annotated[Range, _within(-1000, 1000)] = (-50.0, 50.0)
    """The range of the shift in ms, at most half the recording; more than 0 is later."""


class TimeMaskDistortion(_Distortion):
    """Stretches are silenced."""

    kind: Literal["time_mask"] = "time_mask"
    mask_ms: Annotated[Range, _within(0, 1000)] = (20.0, 100.0)
    """The range of the length of a stretch in ms; all together are at most half the recording."""
    count: Count = 1
    """The number of stretches."""


class FrequencyMaskDistortion(_Distortion):
    """A band of frequencies is taken out."""

    kind: Literal["frequency_mask"] = "frequency_mask"
    width_hz: Annotated[Range, _within(0, 24_000)] = (100.0, 500.0)
    """The range of the band's width in Hz, at most half of all frequencies; it lies anywhere among them."""


class ReverberationDistortion(_Distortion):
    """A room's echoes are added: the direct sound stays in its place, and the level stays."""

    kind: Literal["reverberation"] = "reverberation"
    rt60_seconds: Annotated[Range, _within(0.01, 5)] = (0.2, 0.6)
    """The range of the time in which the echoes fall by 60 dB."""
    direct_db: Annotated[Range, _within(-20, 60)] = (3.0, 12.0)
    """The range of the ratio of the direct sound's energy to the echoes', in dB."""


class TelephoneDistortion(_Distortion):
    """Only a telephone's band is left: 300 to 3,400 Hz, sampled at 8 kHz."""

    kind: Literal["telephone"] = "telephone"


class CodecDistortion(_Distortion):
    """The recording is compressed with loss and decompressed."""

    kind: Literal["codec"] = "codec"
    codecs: Annotated[tuple[Literal["mp3", "vorbis", "opus"], ...], Field(min_length=1)] = ("mp3", "vorbis", "opus")
    """One of them is drawn."""
    compression: Annotated[Range, _within(0, 0.99)] = (0.5, 0.95)
    """The range of libsndfile's compression level, from 0 (hardly any) to 0.99 (at 16 kHz 10 to 35 kbit/s)."""


class SpeedDistortion(_Distortion):
    """The recording is played faster or slower, which changes its length, its pitch and its formants."""

    kind: Literal["speed"] = "speed"
    factor: Annotated[Range, _within(0.5, 2)] = (0.95, 1.05)
    """The range of the speed; 1 is as recorded."""


class PitchDistortion(_Distortion):
    """Pitch and formants move, and the length stays."""

    kind: Literal["pitch"] = "pitch"
    semitones: Annotated[Range, _within(-12, 12)] = (-1.0, 1.0)
    """The range of the change, in semitones."""


class AudiomentationsDistortion(_Distortion):
    """A transform of audiomentations, which is installed with ``pip install 'lalia[augment]'``."""

    kind: Literal["audiomentations"] = "audiomentations"
    transform: str
    """The name of a class of audiomentations for waveforms, such as AddGaussianNoise."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Its keywords, but for p, which is ``probability``."""


def _read_kind_alone(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


DistortionSettings = Annotated[
    Union[  # noqa: UP007
        NoiseDistortion,
        MixDistortion,
        GainDistortion,
        ClippingDistortion,
        PolarityDistortion,
        ShiftDistortion,
        TimeMaskDistortion,
        FrequencyMaskDistortion,
        ReverberationDistortion,
        TelephoneDistortion,
        CodecDistortion,
        SpeedDistortion,
        PitchDistortion,
        AudiomentationsDistortion,
    ],
    Field(discriminator="kind"),
    BeforeValidator(_read_kind_alone),
]


class SpecAugmentSettings(Settings):
    """Frames and features are hidden from the encoder's blocks: their mean stands in their place."""

    masks_per_second: Annotated[float, Field(ge=0.0, le=100.0)] = 0.5
    """How many stretches of frames are hidden, on average; 0 hides none."""
    mask_seconds: Annotated[Range, _within(0, 10)] = (0.0, 0.2)
    """The range of the length of a stretch; all together are at most half of a window."""
    feature_share: Annotated[Range, _within(0, 0.9)] = (0.0, 0.1)
    """The range of the share of the features that is hidden in a whole recording; 0 hides none."""


class AugmentSettings(Settings):
    """Distortions of the training part's recordings, never of the others'; a list is short for ``apply``."""

    apply: tuple[DistortionSettings, ...] = ()
    """The distortions, in the order in which they are applied, each with its probability; empty: none."""
    views: Count | None = None
    """null draws anew in every epoch; a number makes that many seeded views of each recording, which the epochs take
    in turn."""
    spec_augment: SpecAugmentSettings | None = None
    """What is hidden between the encoder's stem and its blocks, anew in every epoch; null: nothing."""


def read_augment(value: object) -> object:
    """Read a list, or one kind's name, as the distortions to apply."""
    if isinstance(value, str):
        value = [value]
    return {"apply": value} if isinstance(value, (list, tuple)) else value
