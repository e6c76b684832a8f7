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
from lalia.processes import Processes
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
    processes: Processes | None = None,
) -> dict[str, float | None]:
    """Return ``validation_loss`` and ``validation_<metric>`` of a rater, in eval mode.

    The loss is the mean over valid ratings, by ``loss`` as in training, None: the head's plain one. A metric is the
    mean over the traits where it is defined, None where it is for none; a trait counts as called present at a
    probability of 0.5. Where several ``processes`` share the recordings, all of them get the numbers of all.
    """
    scored = _score(rater, dataset, settings, reader, processes or Processes())
    if scored is None:
        return {"validation_loss": None}
    raw, rows = scored
    losses, has_rating = PartLoss(loss or RatingLoss(), rater, dataset)(raw, rows)
    n_ratings = int(has_rating.sum())
    values: dict[str, float | None] = {"validation_loss": float(losses.sum()) / n_ratings if n_ratings else None}
    judged = _judge(dataset.ratings[rows], rater.decode(raw), rater.scale)
    return values | {f"validation_{metric.name}": _mean(metric, judged) for metric in METRICS}


@torch.inference_mode()
def why_undefined(
    rater: SpeechRater,
    dataset: RecordingDataset,
    settings: TrainSettings,
    name: str,
    reader: InputReader | None = None,
    processes: Processes | None = None,
) -> str:
    """Return why a metric, or the ``loss``, is undefined on a validation part: the reasons of all traits, each once."""
    scored = _score(rater, dataset, settings, reader, processes or Processes())
    if scored is None or np.isnan(dataset.ratings).all():
        return "no rated recordings"
    raw, rows = scored
    if name == "loss" or not raw.isfinite().all():
        return "the loss or the scores are not finite"
    (metric,) = [each for each in METRICS if each.name == name]
    reasons = [metric.reason(judged) for judged in _judge(dataset.ratings[rows], rater.decode(raw), rater.scale)]
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or "its values are not finite"


def _score(
    rater: SpeechRater,
    dataset: RecordingDataset,
    settings: TrainSettings,
    reader: InputReader | None,
    processes: Processes,
) -> tuple[Tensor, Tensor] | None:
    """Return the raw outputs of a part, (recordings, traits, outputs), and their rows; None if it has no recordings."""
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
    reader = reader or InputReader(rater, workers=settings.workers)

    def score_share() -> list[tuple[Tensor, Tensor]]:
        outputs = []
        for batch in reader.read(dataset, processes.deal(batches)):
            with autocast(device, settings.precision):
                outputs.append((rater(batch.inputs.to(device)).float().cpu(), batch.rows))
        return outputs

    outputs = processes.collect(processes.together(score_share))
    rater.train(was_training)
    if not outputs:
        return None
    raw, rows = map(torch.cat, zip(*outputs, strict=True))
    return raw.to(device), rows


def _judge(rated: NDArray[np.float32], scores: Scores, scale: Scale) -> list[Judged]:
    """Return the rated recordings of each trait with what was said of them."""
    ratings = rated.astype(np.float64)
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
