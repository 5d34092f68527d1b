"""Two runs at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

SECONDS = 30


def together(*runs: Callable[[], Any]) -> list:
    """Call all in threads of their own, which begin together; return what they return, and raise the first error."""
    meet = Barrier(len(runs))

    def begin(run: Callable[[], Any]) -> Any:
        meet.wait(SECONDS)
        return run()

    with ThreadPoolExecutor(len(runs)) as pool:
        return [done.result() for done in [pool.submit(begin, run) for run in runs]]


def meeting(function: Callable, parties: int = 2) -> Callable:
    """Return `function`, whose callers wait until `parties` of them have called it."""
    meet = Barrier(parties)

    def wait_and_call(*arguments, **named):
        meet.wait(SECONDS)
        return function(*arguments, **named)

    return wait_and_call
