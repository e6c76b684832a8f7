"""Which ids and relative paths may become file names, by the rules of POSIX and of Windows alike."""

import os
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
