"""Work on files that may hang or crash a decoder: each in a process that can be killed."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from nonlocalnet.data.optional import require

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_killable(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    limit_s: float,
) -> Iterator[tuple[Item, Result | BaseException]]:
    """Pairs (item, result) in the order in which they are done.

    Args:
        function: Importable by name: the processes are started afresh (spawn).
        items: Taken as the work goes on; any number.
        workers: Processes at a time.
        limit_s: Seconds for one item; then its process is killed and replaced.

    Yields:
        In place of a result, TimeoutError after the limit, RuntimeError where the process died,
        or whatever the function raised.

    Raises:
        MissingLibrary: pebble is not installed.
        ValueError: No worker, or no time.
    """
    if workers < 1 or limit_s <= 0:
        raise ValueError(
            f"workers={workers} must be 1 or more, and limit={limit_s:g} s above 0: each file is "
            "read in a process of its own, for so long"
        )
    pebble = require("pebble", "checking and preparing videos", "video")
    queue = iter(items)
    waiting: dict[Future, Item] = {}
    context = multiprocessing.get_context("spawn")
    with pebble.ProcessPool(max_workers=workers, max_tasks=1000, context=context) as pool:
        try:
            while True:
                while len(waiting) < 4 * workers and (item := next(queue, None)) is not None:
                    waiting[pool.schedule(function, args=(item,), timeout=limit_s)] = item
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), _outcome(future, limit_s, pebble.ProcessExpired)
        finally:
            pool.stop()


def _outcome(future: Future, limit_s: float, expired: type[BaseException]):
    error = future.exception()
    if isinstance(error, TimeoutError):
        return TimeoutError(f"took more than {limit_s:g} s and was stopped")
    if isinstance(error, expired):
        return RuntimeError(f"crashed the decoder ({error})")
    return error if error is not None else future.result()
