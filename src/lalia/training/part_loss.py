"""The loss of a part's recordings, with what it needs of them beside their ratings."""

from dataclasses import replace

import torch
from torch import Tensor

from lalia.data.dataset import RecordingDataset
from lalia.model.losses import RatingLoss, RatingLosses
from lalia.model.rater import SpeechRater


class PartLoss:
    """A loss that looks up what is known of each recording by its row.

    Args:
        loss: of ratings.
        rater: makes the raw outputs.
        dataset: the recordings of the part.
    """

    def __init__(self, loss: RatingLoss, rater: SpeechRater, dataset: RecordingDataset) -> None:
        self._loss = loss
        self._rater = rater
        self._ratings = torch.tensor(dataset.ratings)
        self._speakers = torch.from_numpy(dataset.speakers)
        self._given = torch.from_numpy(dataset.single_ratings.of_raters(rater.raters))
        self._shares = torch.from_numpy(dataset.single_ratings.level_shares()) if loss.takes_shares else None

    def __call__(self, raw: Tensor, rows: Tensor) -> RatingLosses:
        """Return the loss of every rating, on the device of the raw outputs.

        Args:
            raw: shape (recordings, traits, outputs); where the raters' heads gave theirs too, (recordings,
                traits + raters * traits, outputs). A rating's loss is then that of the rating, plus the weighted mean
                of its raters' losses.
            rows: of the recordings in the part, on the CPU, shape (recordings,).
        """
        shares = None if self._shares is None else self._shares[rows].to(raw.device)
        speakers = self._speakers[rows].to(raw.device)
        ratings = self._ratings[rows].to(raw.device)
        loss, n_traits = self._loss.to(raw.device), ratings.shape[1]
        found = loss(self._rater.head, raw[:, :n_traits], ratings, shares, speakers)
        if raw.shape[1] == n_traits:
            return found
        of_raters = self._mean_over_raters(raw[:, n_traits:], rows, speakers)
        return found._replace(losses=found.losses + loss.rater_weight * of_raters)

    def _mean_over_raters(self, raw: Tensor, rows: Tensor, speakers: Tensor) -> Tensor:
        assert self._rater.rater_heads is not None
        given = self._given[rows].to(raw.device)
        loss = self._loss.to(raw.device)
        if loss.weights is not None:
            loss = replace(loss, weights=loss.weights.repeat(given.shape[1], 1))
        losses, has_rating = loss(self._rater.rater_heads, raw, given.flatten(1), speakers=speakers)
        n_raters = has_rating.view_as(given).sum(dim=1).clamp(min=1)
        return losses.view_as(given).sum(dim=1) / n_raters

    def count(self, rows: Tensor) -> int:
        """Return how many ratings some recordings have."""
        return int((~self._ratings[rows].isnan()).sum())
