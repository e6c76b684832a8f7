import pytest

from lalia.errors import ModelError
from lalia.model.sharing import Sharing


@pytest.mark.parametrize(
    ("sharing", "stack_of_trait"),
    [
        (Sharing(3), (0, 0, 0)),
        (Sharing(3, shared=False), (0, 1, 2)),
        (Sharing(4, groups={"voice": [0, 3], "rate": [1, 2]}), (0, 1, 1, 0)),
        (Sharing(2, groups={"all": [1, 0]}), (0, 0)),
    ],
)
def test_each_trait_has_the_stack_of_its_group(sharing, stack_of_trait):
    assert sharing.stack_of_trait == stack_of_trait
    assert sharing.n_stacks == len(set(stack_of_trait))


def test_the_order_in_which_groups_are_given_changes_nothing():
    one = Sharing(3, groups={"b": [0, 1], "a": [2]})
    other = Sharing(3, groups={"a": [2], "b": [1, 0]})
    assert (one.group_names, one.stack_of_trait) == (other.group_names, other.stack_of_trait)


@pytest.mark.parametrize("sharing", [Sharing(3), Sharing(3, shared=False), Sharing(3, groups={"a": [2], "b": [0, 1]})])
def test_sharing_is_made_again_from_its_config(sharing):
    assert Sharing(3, **sharing.config).stack_of_trait == sharing.stack_of_trait
    assert Sharing(3, **sharing.config).config == sharing.config


@pytest.mark.parametrize(
    "groups", [{"a": [0, 1]}, {"a": [0, 1, 2, 3]}, {"a": [0, 1], "b": [1, 2]}, {"a": [0, 1, 2], "b": []}]
)
def test_groups_that_miss_repeat_or_invent_traits_are_refused(groups):
    with pytest.raises(
        ModelError, match="Each of the traits 0 to 2 belongs in exactly one group, and no group is empt"
    ):
        Sharing(3, groups=groups)


def test_groups_of_a_head_that_shares_nothing_are_refused():
    with pytest.raises(ModelError, match="Groups share layers and shared=False shares none: give one of the two"):
        Sharing(2, shared=False, groups={"a": [0, 1]})
