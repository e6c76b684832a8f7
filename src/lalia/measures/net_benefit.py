"""What a decision gains once false alarms are weighed against hits (Vickers and Elkin, Med. Decis. Making 26, 2006).

Somebody who acts from a probability of t on takes 1 / t - 1 false alarms for one hit: at 0.2, four. In units of true
positives per row, the net benefit is hits / n - false alarms / n * t / (1 - t). Acting on nobody has 0.

Everywhere there is one flag per row and none missing, and ``weights`` has shape (..., rows): how often each row was
drawn. Values have the shape of the leading axes.
"""

import numpy as np
from numpy.typing import ArrayLike

from lalia.measures.weighted import Floats, as_flags, as_numbers, divide, over_sums, same_size


def net_benefit(
    is_present: ArrayLike, is_called: ArrayLike, threshold: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """Return the net benefit of acting on the called rows; NaN without rows.

    Args:
        is_present: flags.
        is_called: flags.
        threshold: the probability from which on rows are called, 0 to below 1, one for all or each its own: it says
            what a false alarm costs.
        weights: as everywhere.

    Raises:
        ValueError: if the threshold is no such probability.

    Example:
        >>> float(net_benefit([1, 1, 0, 0], [1, 0, 1, 0], threshold=0.2))
        0.1875
    """
    present, called = same_size(as_flags(is_present), as_flags(is_called))
    limit = np.asarray(threshold, dtype=np.float64)
    if not ((limit >= 0) & (limit < 1)).all():
        raise ValueError(f"a threshold must be a probability from 0 to below 1, got {limit.tolist()}")
    gained = called * np.where(present, 1.0, -limit / (1 - limit))
    columns = np.column_stack([gained, np.ones(present.size)])
    return over_sums(lambda sums: divide(sums[:, 0], sums[:, 1]), columns, weights)


def net_benefit_of_all(is_present: ArrayLike, threshold: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the net benefit of acting on every row, which a model has to exceed to be of use.

    Example:
        >>> float(net_benefit_of_all([1, 1, 0, 0], threshold=0.2))
        0.375
    """
    present = as_flags(is_present)
    return net_benefit(present, np.ones_like(present), threshold, weights)


def decision_curve(
    is_present: ArrayLike, probability: ArrayLike, thresholds: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """Return the net benefit of acting from each threshold on, shape (thresholds, ...).

    Example:
        >>> decision_curve([1, 0, 1], [0.9, 0.4, 0.3], [0.2, 0.5]).round(3).tolist()
        [0.583, 0.333]
    """
    present, given = same_size(as_flags(is_present), as_numbers(probability))
    return np.stack([net_benefit(present, given >= one, float(one), weights) for one in as_numbers(thresholds)])
