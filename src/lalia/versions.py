"""Whether the libraries are new enough: older ones run code that a model folder brings along."""

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from lalia.errors import VersionError

FLOORS = {
    # weights_only has been got round before
    "torch": (2, 10),
    "transformers": (5, 5),
}


def check_versions(find: Callable[[str], str] = version) -> None:
    """Refuse libraries that are too old, by what is installed and without importing them.

    Args:
        find: gives the version of a package.

    Raises:
        VersionError: names each one, what it has to be, and how to get it.
    """
    problems = []
    for package, floor in FLOORS.items():
        wanted = ".".join(map(str, floor))
        try:
            found = find(package)
        except PackageNotFoundError:
            problems.append(f"{package} is not installed, it has to be {wanted} or newer")
            continue
        numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
        if numbers < floor:
            problems.append(f"{package} is {found}, it has to be {wanted} or newer")
    if problems:
        needed = " ".join(f"'{package}>={'.'.join(map(str, floor))}'" for package, floor in FLOORS.items())
        raise VersionError(f"{'; '.join(problems)}: older ones are not safe. Install them: pip install -U {needed}")
