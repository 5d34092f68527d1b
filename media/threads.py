"""Work on the items of a stream in threads, for work that leaves Python's lock to others: NumPy, PIL, OpenCV, PyAV."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 8
AHEAD = 2  # items a thread that are begun before the first result is taken


def thread_count(item_bytes: int, budget: int = 1 << 28) -> int:
    """Return how many threads to use: one a core, and as many as `budget` bytes hold of what one needs."""
    return max(1, min(MOST_THREADS, os.cpu_count() or 1, budget // item_bytes))


def map_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Yield the result of each item in their order; what `work` raises is raised here.

    Close the generator to end early: items that no thread has begun are dropped, and the others are waited for.
    """
    pool, begun = ThreadPoolExecutor(threads), deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > AHEAD * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
