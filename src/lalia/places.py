"""Places that are URLs: which are used, their parts, and how they are shown without a secret."""

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

SCHEMES: Final[Mapping[str, str]] = {
    "s3": "s3://bucket/folder",
    "gs": "gs://bucket/folder",
    "hf": "hf://datasets/owner/name/folder",
    "memory": "memory://folder",
}
"""The stores that are known, with an example of each."""

_HIDDEN: Final = "***"
_USER = re.compile(r"(?<=://)[^/@\s'\"]*@")
_QUERY = re.compile(r"(?<=://)([^\s'\"?]*)\?[^\s'\"]*")
# the environment's variables whose values are shown nowhere
_SECRET_NAME = re.compile(r"(SECRET|TOKEN|PASSWORD|ACCESS_KEY|PRIVATE_KEY|FSSPEC_\w+_(KEY|SECRET))", re.IGNORECASE)
# a shorter value is no secret, and would be found in words
_SHORTEST_SECRET = 8


def is_url(place: object) -> bool:
    """Return whether a place is a URL rather than a local path.

    Example:
        >>> is_url("s3://bucket/metadata.csv"), is_url("recordings/a.wav")
        (True, False)
    """
    return "://" in str(place)


def why_no_place(url: str) -> str | None:
    """Say why a URL is not used, or return None if it may be.

    Example:
        >>> why_no_place("s3://bucket/study") is None
        True
        >>> why_no_place("s3://key:secret@bucket/study")
        'holds credentials, which belong into the environment'
        >>> why_no_place("s3://bucket/../other")
        "has a part '..'"
    """
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if "@" in host:
        return "holds credentials, which belong into the environment"
    if "?" in rest or "#" in rest:
        return "holds a query, which may sign it: credentials belong into the environment"
    if scheme not in SCHEMES:
        return f"is of a kind that is not read; those that are look like {', '.join(SCHEMES.values())}"
    if "\0" in url or "://" in rest or "::" in rest:
        return "holds characters that no place has"
    if not host or (scheme == "hf" and len(PurePosixPath(rest).parts) < 2):
        return f"is not complete, compare {SCHEMES[scheme]}"
    if any(part in (".", "..") for part in path.split("/")):
        return "has a part '..'" if ".." in path.split("/") else "has a part '.'"
    return None


def redact(text: str) -> str:
    """Return a text without what URLs in it carry of credentials, and without the environment's secrets.

    Example:
        >>> redact("s3://key:secret@bucket/a.wav?X-Amz-Signature=12ab is there")
        's3://***@bucket/a.wav?*** is there'
    """
    text = _QUERY.sub(rf"\1?{_HIDDEN}", _USER.sub(f"{_HIDDEN}@", text))
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name):
            text = text.replace(value, _HIDDEN)
    return text


def join_url(folder: str, inside: str) -> str:
    """Return the URL of what lies in a folder.

    Example:
        >>> join_url("s3://bucket/study/", "a1.wav")
        's3://bucket/study/a1.wav'
    """
    return f"{folder.rstrip('/')}/{inside}"


def parent_url(url: str) -> str:
    """Return the folder of what a URL names.

    Example:
        >>> parent_url("s3://bucket/study/metadata.csv")
        's3://bucket/study'
    """
    return url.rstrip("/").rpartition("/")[0]


def name_of(place: object) -> str:
    """Return the last part of a path or URL.

    Example:
        >>> name_of("s3://bucket/study/metadata.csv")
        'metadata.csv'
    """
    return PurePosixPath(str(place).rstrip("/")).name if is_url(place) else os.path.basename(str(place))  # noqa: PTH119
