import pytest
import torch
from coral_pytorch.losses import coral_loss, corn_loss

from lalia.model.heads import build_head
from lalia.model.losses import rating_loss
from lalia.scale import Scale


def make_head(kind, method="cumulative", n_levels=5, n_traits=1):
    levels = tuple(float(level) for level in range(n_levels))
    return build_head(kind, method=method, width=4, n_traits=n_traits, scale=Scale(levels, present_from=2.0))


def test_binary_loss_is_torchs_bce_with_logits():
    raw, ratings = torch.randn(20, 3, 1), torch.randint(0, 5, (20, 3)).float()
    losses, has_rating = rating_loss(make_head("binary", n_traits=3), raw, ratings)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(raw[..., 0], (ratings >= 2).float())
    torch.testing.assert_close(losses.sum() / has_rating.sum(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_corn_loss_is_that_of_coral_pytorch_up_to_the_normaliser(seed):
    torch.manual_seed(seed)
    raw, level_index = torch.randn(30, 4), torch.randint(0, 5, (30,))
    losses = rating_loss(make_head("ordinal", "corn"), raw.unsqueeze(1), level_index.float().unsqueeze(1)).losses
    # corn_loss divides by the number of conditional terms: thresholds whose lower level is reached
    n_terms = sum(int((level_index >= threshold).sum()) for threshold in range(4))
    torch.testing.assert_close(4 * losses.sum() / n_terms, corn_loss(raw, level_index, num_classes=5))


def test_corn_loss_of_coral_pytorchs_docstring_example():
    torch.manual_seed(123)
    embedding = torch.rand(8, 99)
    raw = torch.nn.Linear(99, 4)(embedding)
    level_index = torch.tensor([0, 1, 2, 2, 2, 3, 4, 4])
    losses = rating_loss(make_head("ordinal", "corn"), raw.unsqueeze(1), level_index.float().unsqueeze(1)).losses
    n_terms = 8 + 7 + 6 + 3
    assert round((4 * losses.sum() / n_terms).item(), 4) == 0.7127


def test_cumulative_probabilities_are_the_proportional_odds_model():
    head = make_head("ordinal")
    head.outputs[0].set_thresholds(torch.tensor([-1.0, 0.0, 0.5, 2.0]))
    embedding = torch.randn(6, 4)
    latent = head.outputs[0].latent(head.layers(embedding)[0])
    # McCullagh 1980: P(y <= j) = 1 / (1 + exp(-(theta_j - latent)))
    at_most = 1 / (1 + torch.exp(-(torch.tensor([-1.0, 0.0, 0.5, 2.0]) - latent)))
    torch.testing.assert_close(head.reach_probabilities(head(embedding))[:, 0], 1 - at_most)


def test_coral_loss_is_that_of_coral_pytorch_per_threshold():
    torch.manual_seed(0)
    raw, level_index = torch.randn(30, 4), torch.randint(0, 5, (30,))
    losses = rating_loss(make_head("ordinal", "coral"), raw.unsqueeze(1), level_index.float().unsqueeze(1)).losses
    reached = (level_index.unsqueeze(1) > torch.arange(4)).float()
    torch.testing.assert_close(4 * losses.mean(), coral_loss(raw, reached))
