"""Where a sweep's files and its trials are: in a folder, or at a URL and mirrored in a folder of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lalia.data.storage import locate
from lalia.errors import DataError
from lalia.places import join_url, name_of, parent_url
from lalia.run_at_url import fetch_run
from lalia.run_folder import runs_folder
from lalia.run_mirror import RunMirror

_TRIALS = "trials"


@dataclass(frozen=True)
class SweepPlace:
    """The folder of a sweep, or its URL.

    Attributes:
        place: the folder or the URL.
        folder: of the sweep's own files on this machine.
    """

    place: str | Path
    folder: Path

    @property
    def trials(self) -> str:
        """What the setting ``runs`` of all trials is: a folder or a URL."""
        return join_url(self.place, _TRIALS) if isinstance(self.place, str) else str(self.place / _TRIALS)

    def open_mirror(self) -> RunMirror | None:
        """Bring the sweep's own files here from its URL, and return what uploads them; None of a folder.

        Raises:
            StorageError: if the URL cannot be read.
        """
        if not isinstance(self.place, str):
            return None
        mirror = RunMirror(self.place, self.folder)
        mirror.pull()
        return mirror

    def name(self, run: Path) -> str:
        """Return how the sweep's files call the run of a trial: its path in the sweep's folder."""
        return f"{_TRIALS}/{run.name}"

    def find(self, name: str) -> Path:
        """Return the folder of a trial's run on this machine, brought here from a URL if need be.

        Args:
            name: as ``name`` gives it.

        Raises:
            RunError: if there is no such run at the URL.
            StorageError: if it cannot be read.
        """
        return fetch_run(join_url(self.place, name)) if isinstance(self.place, str) else self.place / name

    def address(self, name: str) -> str:
        """Return under which path or URL a run, or another file of the sweep, is found."""
        return join_url(self.place, name) if isinstance(self.place, str) else str(self.place / name)


def locate_sweep(place: str | Path) -> SweepPlace:
    """Return where a sweep is, or will be.

    Raises:
        DataError: if it is neither a path nor a URL of a store that is written to.
    """
    found = locate(place)
    if isinstance(found, Path):
        return SweepPlace(Path(place), Path(place))
    url = found.rstrip("/")
    if url.startswith("hf:"):
        raise DataError(f"'{url}' is not written to. Give an s3:// or gs:// URL, or a local path.")
    return SweepPlace(url, runs_folder(parent_url(url)) / name_of(url))


@contextmanager
def opened_sweep(place: str | Path) -> Iterator[SweepPlace]:
    """Give the place of a sweep, its folder made; what the block writes is uploaded when it ends without an error.

    Raises:
        DataError: as ``locate_sweep``.
        RunError: if another process has written to the URL meanwhile.
        StorageError: if it cannot be read or written.
    """
    found = locate_sweep(place)
    mirror = found.open_mirror()
    found.folder.mkdir(parents=True, exist_ok=True)
    found.folder.chmod(0o700)
    yield found
    if mirror is not None:
        mirror.push()
