"""Of a product of cases, those that the default suite runs; ``make test-slow`` runs the others."""

from itertools import product

import pytest


def cover(*axes, one_in, also=()):
    """Return the product of axes as parameters, those marked slow that a covering selection can do without.

    Every value of every axis is in the selection, in diagonals: about one case in ``one_in``. ``also`` are cases that
    matter by themselves.
    """
    axes = [list(axis) for axis in axes]
    found, covered = [], set()
    for places in product(*(range(len(axis)) for axis in axes)):
        case = tuple(axis[place] for axis, place in zip(axes, places, strict=True))
        is_selected = sum(places) % one_in == 0 or case in also
        if is_selected:
            covered |= set(enumerate(places))
        name = "-".join(map(str, case)) if all(isinstance(value, str | int) for value in case) else None
        found.append(pytest.param(*case, marks=() if is_selected else pytest.mark.slow, id=name))
    assert len(covered) == sum(map(len, axes)), "a value of an axis has no case in the selection"
    return found
