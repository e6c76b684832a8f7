"""From a file to samples, decoded in another process within limits: a broken or hostile file costs itself alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lalia.data.decoder_pool import Decoded, DecoderPool, Waveform
from lalia.errors import AudioError
from lalia.limits import Limits, UnusableFile

__all__ = ["Decoded", "Limits", "UnusableFile", "Waveform", "decode", "naming"]

_pool = DecoderPool()


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn what is unusable into an error that names the file, not where it lies."""
    try:
        yield
    except UnusableFile as error:
        raise AudioError(f"'{Path(path).name}' {error.problem}. {error.advice}.") from error.__cause__


def decode(path: Path, limits: Limits = Limits()) -> Decoded:  # noqa: B008
    """Return what a file holds, mono.

    Raises:
        UnusableFile: as ``lalia.data.audio.read_audio`` lists.
    """
    if not path.is_file():
        raise UnusableFile("does not exist or is not a file", "Check its name and folder, or list it in data.exclude")
    return _pool.decode(path, limits)
