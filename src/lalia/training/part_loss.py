"""The loss of a part's recordings, with what it needs of them beside their ratings."""

import torch
from torch import Tensor

from lalia.data.dataset import RecordingDataset
from lalia.model.heads import Head
from lalia.model.losses import RatingLoss, RatingLosses


class PartLoss:
    """A loss that looks up what else is known of a recording by its row.

    Args:
        loss: of ratings.
        dataset: the recordings of the part.
        device: of the raw outputs.
    """

    def __init__(self, loss: RatingLoss, dataset: RecordingDataset, device: torch.device) -> None:
        self._loss = loss.to(device)
        self._device = device
        self._shares = torch.from_numpy(dataset.single_ratings.level_shares()) if loss.takes_shares else None

    def __call__(self, head: Head, raw: Tensor, ratings: Tensor, rows: Tensor) -> RatingLosses:
        """Return the loss of every rating.

        Args:
            head: that made the raw outputs.
            raw: shape (recordings, traits, outputs).
            ratings: NaN where missing, shape (recordings, traits).
            rows: of the recordings in the part, on the CPU, shape (recordings,).
        """
        shares = None if self._shares is None else self._shares[rows].to(self._device)
        return self._loss(head, raw, ratings, shares)
