"""Write docs/supply.md, what lalia depends on and under which licences: python docs/make_supply.py.

With --check nothing is written: licences that do not fit and known advisories end it with 1. Advisories are those of
the package index, which pip-audit asks too; where it cannot be reached, that is said.
"""

import http.client
import json
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
INDEX = "https://pypi.org"

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC"),
    *("MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}
# they bind who changes these libraries themselves; lalia uses them as they are, as parts that can be replaced
WEAK_COPYLEFT = {"LGPL-2.1-or-later", "MPL-2.0"}
# known by their names on some machines alone: they come with torch's builds for these machines
OF_TORCH = ("nvidia-", "cuda-", "triton")

# what a free text means, the first that fits
TEXTS = {
    r"^Apache": "Apache-2.0",
    r"MIT\b": "MIT",
    r"(3-Clause BSD|BSD[ -]3-Clause)": "BSD-3-Clause",
    r"BSD[ -]2-Clause": "BSD-2-Clause",
    r"BSD": "BSD",
    r"ISC": "ISC",
    r"(PSF|Python Software Foundation)": "PSF-2.0",
    r"(MPL|Mozilla Public License 2)": "MPL-2.0",
}
NOTES = {
    "av": "its wheels bring FFmpeg along, under the LGPL or the GPL as it was built",
    "soundfile": "its wheels bring libsndfile along, under the LGPL-2.1",
    "soxr": "libsoxr; linked as a library that can be replaced",
    "audiomentations": "brings numba, librosa and scipy",
}

HEAD = """# What lalia depends on

lalia is under the Apache License 2.0. What it needs is under licences that permit that: permissive ones, or ones that
bind only who changes the library itself (MPL-2.0, LGPL), which lalia does not. Whatever else is an extra, and is not
installed unasked; praat-parselmouth (GPL-3.0) and opensmile (not for commercial use) are no dependency at all.

This page is written by `python docs/make_supply.py` from the metadata of what is installed. `make check-supply` checks
it and asks the package index, whose advisories pip-audit shows too, for what is known of the installed versions; it
says so where the index cannot be reached. What torch's builds for graphics cards bring along (`nvidia-*`, `cuda-*`,
under NVIDIA's terms) is of that machine.

| package | licence | needed by | |
|---|---|---|---|
"""


def closure(requirements: Iterable[str | Requirement]) -> tuple[dict[str, Distribution], set[str]]:
    """Return what is installed of some requirements and all that these need, by name, and what of it is missing."""
    found: dict[str, Distribution] = {}
    missing: set[str] = set()
    waiting = [Requirement(str(each)) for each in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        extras = {"", *wanted.extras}
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        if name in found and not wanted.extras:
            continue
        try:
            found[name] = distribution(wanted.name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        for each in map(Requirement, found[name].requires or []):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                each.marker = None
                if canonicalize_name(each.name) not in found:
                    waiting.append(each)
    return found, missing


def read_project() -> tuple[list[str], dict[str, list[str]]]:
    """Return the requirements of lalia itself, and those of each extra that is not for its developers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name != "dev"}
    return project["dependencies"], extras


def find_licence(metadata: Message) -> str:
    """Return the licence that a package's metadata name, as SPDX where that can be told, else ``unknown``."""
    expression, text = metadata.get("License-Expression"), metadata.get("License") or ""
    if expression:
        return expression
    if is_allowed(text):
        return text
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier") or [] if "License ::" in each]
    for each in [*classifiers, text.partition("\n")[0]]:
        meant = next((name for pattern, name in TEXTS.items() if re.search(pattern, each)), None)
        if meant is not None:
            return meant
    return "unknown"


def is_allowed(expression: str) -> bool:
    """Return whether an SPDX expression leaves a choice among licences that fit.

    Example:
        >>> is_allowed("MPL-2.0 AND (Apache-2.0 OR GPL-3.0-only)"), is_allowed("GPL-3.0-only"), is_allowed("see file")
        (True, False, False)
    """
    text = re.sub(r" WITH [\w.-]+", "", expression)
    while (simpler := re.sub(r"\(([^()]*)\)", lambda inner: "MIT" if _fits(inner[1]) else "no", text)) != text:
        text = simpler
    return _fits(text)


def _fits(expression: str) -> bool:
    known = PERMISSIVE | WEAK_COPYLEFT
    return any(all(name.strip() in known for name in choice.split(" AND ")) for choice in expression.split(" OR "))


def list_licences() -> dict[str, tuple[str, str]]:
    """Return of each package that lalia or an extra needs its licence, and what needs it; those of the core first."""
    needs, extras = read_project()
    core, _ = closure(needs)
    found = {name: (find_licence(core[name].metadata), "lalia") for name in sorted(core)}
    for extra, wanted in extras.items():
        installed, missing = closure(wanted)
        for name in sorted({*installed, *missing} - {*core}):
            licence = find_licence(installed[name].metadata) if name in installed else "not installed here"
            others = f"{found[name][1]}, " if name in found else ""
            found[name] = (licence, f"{others}[{extra}]")
    return found


def find_unfit(licences: Mapping[str, tuple[str, str]]) -> list[str]:
    """Say which packages that lalia itself needs have a licence that does not fit, or an extra's without a note."""
    return [
        f"{name} ({needed_by}): {licence}"
        for name, (licence, needed_by) in licences.items()
        if not (is_allowed(licence) or name.startswith(OF_TORCH))
        and (needed_by == "lalia" or (licence != "not installed here" and name not in NOTES))
    ]


def render() -> str:
    """Return the page."""
    rows = [
        f"| {name} | {licence} | {needed_by} | {NOTES.get(name, '')} |"
        for name, (licence, needed_by) in list_licences().items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def find_advisories(versions: Mapping[str, str], index: str = INDEX) -> Iterator[str]:
    """Yield a line for each advisory that a package index has of an installed version.

    Raises:
        OSError: if the index cannot be reached, or is none that tells of advisories.
    """
    for number, (name, version) in enumerate(versions.items()):
        try:
            # a local part, such as that of a CPU build, is not the index's
            with urllib.request.urlopen(f"{index}/pypi/{name}/{version.partition('+')[0]}/json", timeout=30) as answer:
                told = json.load(answer).get("vulnerabilities", [])
        except urllib.error.HTTPError as error:
            if number == 0 or error.code != 404:
                raise
            yield f"note: {name} {version} is not known to {index}"
            continue
        except (ValueError, http.client.HTTPException) as error:
            raise OSError(f"its answer cannot be read: {error}") from error
        for each in told:
            if not each.get("withdrawn"):
                names = ", ".join([each["id"], *each.get("aliases", [])])
                mended = ", ".join(each.get("fixed_in") or []) or "nowhere yet"
                yield f"{name} {version}: {names}; mended in {mended}. {each.get('link', '')}".rstrip()


def check(index: str = INDEX) -> int:
    """Print what does not fit and what is known of the installed versions; return 1 where there is any such thing."""
    licences = list_licences()
    unfit = find_unfit(licences)
    print(f"Licences: {len(licences)} packages, {len(unfit)} do not fit.")
    for line in unfit:
        print(f"  {line}")
    needs, extras = read_project()
    installed, _ = closure([*needs, *(each for wanted in extras.values() for each in wanted)])
    try:
        told = list(find_advisories({name: installed[name].version for name in sorted(installed)}, index))
    except OSError as error:
        print(f"Advisories: NOT CHECKED, {index} cannot be asked ({error}). Run it where the index can be reached.")
        return 1 if unfit else 0
    known = [line for line in told if not line.startswith("note: ")]
    print(f"Advisories of {index}: {len(installed)} packages, {len(known)} known.")
    for line in told:
        print(f"  {line}")
    return 1 if unfit or known else 0


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(check())
    (ROOT / "docs" / "supply.md").write_text(render(), encoding="utf-8")
