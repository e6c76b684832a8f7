import numpy as np
import pytest

from lalia.measures import weighted
from lalia.measures.discrimination import auc
from lalia.measures.weighted import over_replicates


def test_values_have_the_shape_of_the_leading_axes():
    for shape in [(), (3,), (2, 3), (0,)]:
        assert auc([0, 1], [0.1, 0.2], weights=np.ones((*shape, 2))).shape == shape


def test_blocks_of_replicates_join_without_a_seam(monkeypatch):
    monkeypatch.setattr(weighted, "_BLOCK_NUMBERS", 6)  # 2 replicates of 3 rows
    drawn = np.arange(15).reshape(5, 3)
    np.testing.assert_array_equal(over_replicates(lambda block: block.sum(axis=1), drawn, 3), drawn.sum(axis=1))


def test_without_rows_every_value_is_nan():
    assert np.isnan(auc([], []))
    assert np.isnan(auc([], [], weights=np.ones((2, 0)))).all()


def test_weights_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"weights must have shape \(..., 2\), one per row, got \(5, 3\)"):
        auc([0, 1], [0.1, 0.2], weights=np.ones((5, 3)))
