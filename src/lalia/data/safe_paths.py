"""Which ids and relative paths may become file names, by the rules of POSIX and of Windows alike."""

import os
import re
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

# Windows opens a device where a file has such a name, whatever its extension
_DEVICES = frozenset(
    [
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "CONIN$",
        "CONOUT$",
        *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"),
    ]
)

# what nearly all paths are like, and most quickly told
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def why_unsafe(place: str, layout: str) -> str | None:
    """Say why an id or a relative path must not become a file name, or return None if it may.

    A plain id is needed for the layouts flat and structured, a path that stays inside the folder for the layout path.

    Example:
        >>> why_unsafe("../secret", "flat")
        'contains a path separator'
        >>> why_unsafe("session1/a.wav", "path") is None
        True
        >>> why_unsafe("nul.wav", "path")
        'is the name of a device on Windows'
    """
    if _PLAIN.fullmatch(place) and (layout == "path" or "/" not in place):
        stem = place.rpartition("/")[2].partition(".")[0].upper()
        return "is the name of a device on Windows" if stem in _DEVICES else None
    posix, windows = PurePosixPath(place), PureWindowsPath(place)
    if "\0" in place:
        return "contains a NUL character"
    if posix.is_absolute() or windows.drive or windows.root:
        return "is an absolute path"
    if layout != "path" and ("/" in place or "\\" in place):
        return "contains a path separator"
    if ".." in windows.parts:
        return "leaves the folder"
    if not windows.parts:
        return "names the folder itself"
    # a folder may be called so elsewhere, for the controls of a study say; Windows would not have made it
    if windows.parts[-1].partition(".")[0].partition(":")[0].rstrip().upper() in _DEVICES:
        return "is the name of a device on Windows"
    return None


class PlainFiles:
    """The regular files below a folder that no link leads to, listed a folder at a time: quick where there are many.

    One that is not among them may still be there: by a link, or under another spelling where a disk allows that.

    Args:
        folder: the one that they lie below.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, inside: str) -> bool:
        """Return whether a relative path is that of a regular file."""
        parent, _, name = inside.rpartition(os.sep)
        if parent not in self._names:
            self._names[parent] = self._list(parent)
        return name in self._names[parent]

    def _list(self, parent: str) -> frozenset[str]:
        place = self._folder
        try:
            for part in Path(parent).parts:
                place /= part
                if place.is_symlink():
                    return frozenset()
            with os.scandir(place) as entries:
                return frozenset(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        except (OSError, ValueError):
            return frozenset()


def leaves_by_link(folder: Path, inside: str) -> bool:
    """Return whether a relative path leads out of a folder by a symbolic link below that folder."""
    place = Path(folder)
    for part in Path(inside).parts:
        place /= part
        # not Path.is_symlink: a name may be too long for this disk
        if os.path.islink(place):  # noqa: PTH114
            return not Path(os.path.realpath(Path(folder, inside))).is_relative_to(os.path.realpath(folder))
    return False


def why_no_file(path: str) -> str:
    """Say what stands where a recording should be and is no file."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return "no audio file"
    if stat.S_ISLNK(mode):
        return "no audio file but a link that leads to none"
    return f"no audio file but a {'folder' if stat.S_ISDIR(mode) else 'pipe or device'} of its name"
