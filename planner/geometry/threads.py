"""Kernels over the parts of a range, on several threads.

A kernel gets its arguments and a half-open part of the range, and writes only what belongs to that
part; so the result is the same for any number of threads. Kernels must release the interpreter's
lock (numba's `nogil`). Numba's own parallel loops do the same, but each takes many seconds to
compile, which every new installation would wait for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba


@lru_cache(maxsize=1)
def _pool(helpers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(helpers, thread_name_prefix="planner")


if hasattr(os, "register_at_fork"):  # a fork does not take the threads along; Windows has none
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_parts(kernel: Callable[..., None], size: int, *arguments: Any, grain: int = 1) -> None:
    """Run kernel(*arguments, start, stop) over range(size), a part per thread of numba's.

    grain: fewest items that are worth a thread; handing work over takes about 0.1 ms.
    """
    count = min(numba.get_num_threads(), size // grain)
    if count <= 1:
        kernel(*arguments, 0, size)
        return
    bounds = [size * n // count for n in range(count + 1)]
    parts = list(zip(bounds[:-1], bounds[1:], strict=True))
    pool = _pool(count - 1)
    others = [pool.submit(kernel, *arguments, start, stop) for start, stop in parts[1:]]
    kernel(*arguments, *parts[0])
    for other in others:
        other.result()
