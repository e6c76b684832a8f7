"""Which traits of a head share layers: all of them, the traits of a group, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lalia.errors import ModelError


@dataclass(frozen=True)
class Sharing:
    """How the traits of a head are dealt to stacks of layers; traits are known by their position, from 0.

    Args:
        n_traits: how many traits the head rates.
        shared: without groups, whether all traits share one stack or each has its own.
        groups: positions of the traits that share a stack, by the name of the group; empty for none.

    Raises:
        ModelError: if groups are given and not every trait is in exactly one of them, or nothing is to be shared.

    Example:
        >>> sharing = Sharing(3, groups={"rate": [2], "voice": [0, 1]})
        >>> sharing.group_names, sharing.stack_of_trait
        (('voice', 'rate'), (0, 0, 1))
    """

    n_traits: int
    shared: bool = True
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.groups:
            return
        if not self.shared:
            raise ModelError("Groups share layers and shared=False shares none: give one of the two.")
        given = sorted(trait for traits in self.groups.values() for trait in traits)
        if given != list(range(self.n_traits)) or not all(self.groups.values()):
            raise ModelError(
                f"Each of the traits 0 to {self.n_traits - 1} belongs in exactly one group, and no group is empty; got"
                f" {dict(self.groups)}."
            )

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the groups in the order of their stacks, that of their first traits; empty without groups."""
        # not in the order given: a mapping comes back from a file in another one
        return tuple(sorted(self.groups, key=lambda name: min(self.groups[name])))

    @property
    def stack_of_trait(self) -> tuple[int, ...]:
        """The number of each trait's stack."""
        if self.groups:
            stacks = [set(self.groups[name]) for name in self.group_names]
            return tuple(next(k for k, stack in enumerate(stacks) if trait in stack) for trait in range(self.n_traits))
        return (0,) * self.n_traits if self.shared else tuple(range(self.n_traits))

    @property
    def n_stacks(self) -> int:
        """The number of stacks."""
        return len(set(self.stack_of_trait))

    @property
    def config(self) -> dict[str, Any]:
        """What makes it again, with ``n_traits``."""
        return {"shared": self.shared, "groups": {name: list(self.groups[name]) for name in self.group_names}}
