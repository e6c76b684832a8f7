"""The validation part seen after each epoch: its loss, and its metrics as a mean over traits."""

import numpy as np
import torch
from numpy.typing import NDArray

from lalia.data.dataset import BucketedBatches, RecordingDataset
from lalia.measures.metrics import METRICS, judge
from lalia.model.heads import Scores
from lalia.model.losses import RatingLoss
from lalia.model.rater import SpeechRater
from lalia.scale import Scale
from lalia.settings import TrainSettings
from lalia.training.part_loss import PartLoss
from lalia.training.precision import autocast
from lalia.training.reader import InputReader

HIGHER_IS_BETTER = {metric.name for metric in METRICS if metric.better == "higher"}


@torch.inference_mode()
def validate(
    rater: SpeechRater,
    dataset: RecordingDataset,
    settings: TrainSettings,
    reader: InputReader | None = None,
    loss: RatingLoss | None = None,
) -> dict[str, float | None]:
    """Return ``validation_loss`` and ``validation_<metric>`` of a rater, in eval mode.

    The loss is the mean over valid ratings, by ``loss`` as in training, None: the head's plain one.
    A metric is the mean over the traits where it is defined, None where it is
    for none; a trait counts as called present at a probability of 0.5.
    """
    was_training = rater.training
    rater.eval()
    device = next(rater.parameters()).device
    batches = BucketedBatches(
        dataset.recordings,
        dataset.seconds,
        batch_seconds=settings.batch_seconds,
        seed=0,
        shuffle=False,
        preprocessing=dataset.preprocessing,
    )
    raws, ratings, rows = [], [], []
    reader = reader or InputReader(rater, workers=settings.workers)
    for batch in reader.read(dataset, batches):
        with autocast(device, settings.precision):
            raws.append(rater(batch.inputs.to(device)).float())
        ratings.append(batch.ratings)
        rows.append(batch.rows)
    rater.train(was_training)
    if not raws:
        return {"validation_loss": None}
    raw, rated = torch.cat(raws), torch.cat(ratings)
    losses, has_rating = PartLoss(loss or RatingLoss(), rater, dataset)(raw, rated, torch.cat(rows))
    n_ratings = int(has_rating.sum())
    values: dict[str, float | None] = {"validation_loss": float(losses.sum()) / n_ratings if n_ratings else None}
    means = _mean_metrics(rated.numpy().astype(np.float64), rater.decode(raw), rater.scale)
    return values | {f"validation_{name}": value for name, value in means.items()}


def _mean_metrics(ratings: NDArray[np.float64], scores: Scores, scale: Scale) -> dict[str, float | None]:
    score, level, probability = (values.cpu().numpy().astype(np.float64) for values in scores)
    has_rating = ~np.isnan(ratings)
    judged = [
        judge(
            ratings[rows, trait],
            scale,
            scores=score[rows, trait],
            levels=level[rows, trait],
            probability=probability[rows, trait],
            threshold=0.5,
        )
        for trait, rows in enumerate(has_rating.T)
    ]
    means: dict[str, float | None] = {}
    for metric in METRICS:
        values = [float(metric.compute(each)) for each in judged]
        defined = [value for value in values if not np.isnan(value)]
        means[metric.name] = float(np.mean(defined)) if defined else None
    return means
