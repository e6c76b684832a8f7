"""The validation part seen after each epoch: its loss, and its metrics as a mean over traits."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lalia.data.dataset import BucketedBatches, RecordingDataset
from lalia.measures.metrics import METRICS, Judged, Metric, judge
from lalia.model.heads import Scores
from lalia.model.losses import RatingLoss
from lalia.model.rater import SpeechRater
from lalia.scale import Scale
from lalia.settings import TrainSettings
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
    loss_sum, raw, ratings = _score(rater, dataset, settings, reader, loss)
    n_ratings = int((~np.isnan(ratings)).sum())
    values: dict[str, float | None] = {"validation_loss": loss_sum / n_ratings if n_ratings else None}
    if raw is not None:
        judged = _judge(ratings, rater.decode(raw), rater.scale)
        values |= {f"validation_{metric.name}": _mean(metric, judged) for metric in METRICS}
    return values


@torch.inference_mode()
def why_undefined(
    rater: SpeechRater,
    dataset: RecordingDataset,
    settings: TrainSettings,
    name: str,
    reader: InputReader | None = None,
) -> str:
    """Return why a metric, or the ``loss``, is undefined on a validation part: the reasons of all traits, each once."""
    _, raw, ratings = _score(rater, dataset, settings, reader, None)
    if np.isnan(ratings).all():
        return "no rated recordings"
    if name == "loss" or raw is None or not raw.isfinite().all():
        return "the loss or the scores are not finite"
    (metric,) = [each for each in METRICS if each.name == name]
    reasons = [metric.reason(judged) for judged in _judge(ratings, rater.decode(raw), rater.scale)]
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or "its values are not finite"


def _score(
    rater: SpeechRater,
    dataset: RecordingDataset,
    settings: TrainSettings,
    reader: InputReader | None,
    loss: RatingLoss | None,
) -> tuple[float, Tensor | None, NDArray[np.float64]]:
    """Return the sum of the losses, the raw outputs (recordings, traits, outputs), None for none, and the ratings."""
    loss = loss or RatingLoss()
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
    loss_sum = 0.0
    raws, ratings = [], [torch.empty(0, len(rater.traits))]
    reader = reader or InputReader(rater, workers=settings.workers)
    for batch in reader.read(dataset, batches):
        on_device = batch.to(device)
        with autocast(device, settings.precision):
            raw = rater(on_device.inputs)
        losses, _ = loss(rater.head, raw.float(), on_device.ratings)
        loss_sum += float(losses.sum())
        raws.append(raw.float())
        ratings.append(batch.ratings)
    rater.train(was_training)
    return loss_sum, torch.cat(raws) if raws else None, torch.cat(ratings).numpy().astype(np.float64)


def _judge(ratings: NDArray[np.float64], scores: Scores, scale: Scale) -> list[Judged]:
    """Return the rated recordings of each trait with what was said of them."""
    score, level, probability = (values.cpu().numpy().astype(np.float64) for values in scores)
    return [
        judge(
            ratings[rows, trait],
            scale,
            scores=score[rows, trait],
            levels=level[rows, trait],
            probability=probability[rows, trait],
            threshold=0.5,
        )
        for trait, rows in enumerate(~np.isnan(ratings).T)
    ]


def _mean(metric: Metric, judged: Sequence[Judged]) -> float | None:
    """Return the mean over the traits where a metric is defined, None where it is for none."""
    values = [float(metric.compute(each)) for each in judged]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else None
