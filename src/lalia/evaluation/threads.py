"""Independent pieces of linear algebra side by side."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

_Result = TypeVar("_Result")

MOST_THREADS: Final = 8
"""A piece needs some hundred MB at most."""


def run_side_by_side(tasks: Iterable[Callable[[], _Result]], *, alone: bool = False) -> Iterator[_Result]:
    """Yield what tasks return, in their order; as many run at once as the linear algebra library has threads.

    Each task has one thread for its linear algebra. A library that divides every product among its threads lets them
    wait for each other, and where other processes use the same cores it waits for most of the time. The results do not
    depend on the number of threads either.

    Args:
        tasks: they do not know of each other.
        alone: one after the other, for tasks that are Python more than linear algebra.

    Example:
        >>> list(run_side_by_side([lambda: 1, lambda: 2]))
        [1, 2]
    """
    sizes = [int(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas"]
    with threadpool_limits(limits=1, user_api="blas"):
        if alone:
            yield from (task() for task in tasks)
            return
        pool = ThreadPoolExecutor(max(1, min([*sizes, MOST_THREADS])))
        try:
            yield from pool.map(lambda task: task(), tasks)
        finally:
            # a stop does not wait for what has not begun
            pool.shutdown(wait=True, cancel_futures=True)
