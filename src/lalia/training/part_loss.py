"""The loss of a part's recordings, with what it needs of them beside their ratings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lalia.data.dataset import RecordingDataset
from lalia.model.heads import Head
from lalia.model.losses import RatingLoss, RatingLosses
from lalia.training.reader import RatedInputs


class PartLoss:
    """A loss that looks up what is known of each recording by its row.

    Args:
        loss: of ratings.
        head: makes the raw outputs.
        dataset: the recordings of the part.
    """

    def __init__(self, loss: RatingLoss, head: Head, dataset: RecordingDataset) -> None:
        self._loss = loss
        self._head = head
        self._speakers = torch.from_numpy(dataset.speakers)
        self._shares = torch.from_numpy(dataset.single_ratings.level_shares()) if loss.takes_shares else None

    def __call__(self, raw: Tensor, ratings: Tensor, rows: Tensor) -> RatingLosses:
        """Return the loss of every rating, on the device of the raw outputs.

        Args:
            raw: shape (recordings, traits, outputs).
            ratings: NaN where missing, shape (recordings, traits).
            rows: of the recordings in the part, on the CPU, shape (recordings,).
        """
        shares = None if self._shares is None else self._shares[rows].to(raw.device)
        speakers = self._speakers[rows].to(raw.device)
        return self._loss.to(raw.device)(self._head, raw, ratings.to(raw.device), shares, speakers)

    def sum(self, raw: Tensor, batches: Sequence[RatedInputs]) -> Tensor:
        """Return the sum of the losses of all ratings.

        Args:
            raw: shape (recordings, traits, outputs).
            batches: what it was made of, in this order.
        """
        ratings = torch.cat([batch.ratings for batch in batches])
        return self(raw, ratings, torch.cat([batch.rows for batch in batches])).losses.sum()
