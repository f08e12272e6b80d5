"""Transfers in rounds: what is missing is asked for again until nothing is, or nothing comes.

A connection that breaks, a server that is restarted and one that gives half of what it was asked
for are the same thing here: something is still missing after the round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from planner.errors import ServerError
from planner.pacs.archive import Archive

# So many files go over a connection before the next is opened: enough to make opening cheap, few
# enough that what a broken connection loses is seconds.
BATCH = 32
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


def in_rounds(
    missing: Callable[[], list[T]],
    transfer: Callable[[Sequence[T]], None],
    archive: Archive,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Transfer in batches, over as many connections as the server allows, until none is missing.

    missing: what is still to be done. transfer: does a batch; a ServerError of it ends the batch
    only. After `retries` rounds in a row that brought nothing the last such error is raised;
    any other error at once, and whatever is under way is broken off.
    """
    idle = 0
    left = missing()
    while left:
        before = len(left)
        fault = _round(left, transfer, archive)
        left = missing()
        if not left:
            return
        idle = idle + 1 if len(left) == before else 0
        if idle > archive.server.retries:
            raise fault or ServerError(f"{len(left)} files that were asked for never came.")
        sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**idle))


def _round(
    left: Sequence[T], transfer: Callable[[Sequence[T]], None], archive: Archive
) -> ServerError | None:
    """Do every batch once; returns the last error of a server."""
    batches = [left[start : start + BATCH] for start in range(0, len(left), BATCH)]
    fault: ServerError | None = None
    pool = ThreadPoolExecutor(archive.server.at_once)
    try:
        futures = {pool.submit(transfer, batch) for batch in batches}
        while futures:
            done, futures = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                error = future.exception()
                if isinstance(error, ServerError):
                    fault = error
                elif error is not None:
                    raise error
    except BaseException:
        # A disk is full, or the user has had enough: nobody waits for a server then.
        pool.shutdown(wait=False, cancel_futures=True)
        archive.abort()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return fault
