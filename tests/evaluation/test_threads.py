"""Pieces side by side: in order, with one thread each, and stopped by the first error."""

import pytest
from threadpoolctl import threadpool_info

from lalia.evaluation.threads import run_side_by_side


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("alone", [True, False])
def test_results_come_in_the_order_of_the_tasks(alone):
    assert list(run_side_by_side([lambda n=n: n for n in range(20)], alone=alone)) == list(range(20))


@pytest.mark.parametrize("alone", [True, False])
def test_each_task_has_one_thread_and_afterwards_all_are_back(alone):
    before = blas_threads()
    assert list(run_side_by_side([blas_threads] * 3, alone=alone)) == [{1}] * 3
    assert blas_threads() == before


def test_an_error_reaches_the_caller_and_what_has_not_begun_is_left():
    done = []

    def fail():
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        list(run_side_by_side([fail, *[lambda: done.append(1)] * 1000]))
    assert len(done) < 1000
