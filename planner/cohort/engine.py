"""Running many cases: dask.distributed, on this machine or on a cluster of the user's.

Whether the scheduler is ours or the user's makes one difference only: ours is started here, sized
to what the cases were measured to need. As many cases are under way as there are workers, so that
memory does not grow with their number; a case whose worker is killed is tried once more elsewhere
and then told as killed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import dask
import psutil
from distributed import Client, Future, LocalCluster, wait
from distributed.scheduler import KilledWorker

from planner.cohort.content import program
from planner.cohort.dictionary import KILLED
from planner.cohort.task import Record, Task
from planner.errors import ConfigurationError, ServerError

COUNT_S = 2.0
"""How often workers are counted: of thousands the list is long."""
LOOK_S, MOST_LOOKS = 20, 3
"""So often it is looked whether there are workers, and so often in vain before the run ends."""
SPARE = 0.85
"""Part of the free memory that cases may fill."""
MARGIN = 1.3
"""Over the largest need measured: the next case may be larger."""
FIRST_NEED_MB = 3000.0
"""Of a case before any was measured: 1.8 to 2.6 GB were measured for CTs of 15 to 40 million
voxels."""
PATIENCE_S = 60
GONE = (OSError, asyncio.CancelledError, concurrent.futures.CancelledError)
"""How dask tells that its scheduler is away."""
Tell = Callable[[Task, Record], None]


@dataclass(frozen=True)
class Size:
    """Of a local cluster: workers, threads of each, MB of memory of each."""

    workers: int
    threads: int
    memory_mb: float


def fit(need_mb: float, cases: int, cores: int | None = None, free_mb: float | None = None) -> Size:
    """Size a cluster to this machine.

    need_mb: the most that a case was measured to hold; 0 for none yet. cases: to be run.
    """
    cores = cores or _cores()
    free = SPARE * (free_mb or psutil.virtual_memory().available / 1e6)
    each = MARGIN * (need_mb or FIRST_NEED_MB)
    workers = max(1, min(cores, cases, int(free // each)))
    return Size(workers, max(1, cores // workers), free / workers)


def asked(workers: int) -> Size:
    """So many workers as the user asks for, whether they fit or not."""
    free = SPARE * psutil.virtual_memory().available / 1e6
    return Size(workers, max(1, _cores() // workers), free / workers)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def local(size: Size) -> Iterator[Client]:
    """Start workers on this machine; loopback only, and encrypted, as the scheduler runs code."""
    quiet()
    with (
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": 1,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
                "distributed.worker.memory.pause": False,
                "distributed.comm.timeouts.connect": PATIENCE_S,
                # Its default also has the allocator give back all memory at once, to take it again
                # for the next volume: a third of the time of a case.
                "distributed.nanny.pre-spawn-environ": {
                    "OMP_NUM_THREADS": 1,
                    "MKL_NUM_THREADS": 1,
                    "OPENBLAS_NUM_THREADS": 1,
                },
            }
        ),
        LocalCluster(
            n_workers=size.workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=int(size.memory_mb * 1e6),
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            security=True,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, timeout=PATIENCE_S) as client,
    ):
        yield client


@contextmanager
def joined(address: str) -> Iterator[Client]:
    """Join the user's scheduler (tcp://… or tls://…); raises ServerError where there is none."""
    quiet()
    try:
        client = Client(address, timeout=PATIENCE_S)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise ServerError(
            f"no scheduler of dask answers at {address} ({type(error).__name__}). Check that "
            "`dask scheduler` runs there, that its version is the same as here, and, for tls://, "
            "that dask's own configuration names the certificates."
        ) from error
    with client:
        _check_workers(client, address)
        yield client


def run_tasks(client: Client, tasks: Iterable[Task], tell: Tell) -> None:
    """Run every task, as workers are free; tell: called with each and its record.

    A worker is given one case at a time: were others waiting beside one that kills it, they would
    be counted as killed as well. Raises ServerError where the scheduler or all of its workers go
    away; what was told until then is done.
    """
    waiting = iter(tasks)
    under_way: dict[Future[Record], Task] = {}
    # Keys are seen on the dashboard and shared by all clients of a scheduler: they name no case,
    # and are this run's own.
    mine, seen, alone = secrets.token_hex(8), 0, 0
    workers, looked = _workers(client), time.monotonic()
    while True:
        if time.monotonic() - looked > COUNT_S:
            workers, looked = _workers(client), time.monotonic()
        free = max(1, workers) - len(under_way)
        for task in islice(waiting, max(0, free)):
            seen += 1
            key = f"case-{mine}-{seen}"
            under_way[client.submit(_run, task, key=key, pure=False)] = task
        if not under_way:
            return
        try:
            done = wait(list(under_way), timeout=LOOK_S, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            alone = 0 if _workers(client) else alone + 1
            if alone >= MOST_LOOKS:
                raise ServerError(
                    f"no worker is left for {MOST_LOOKS * LOOK_S} s. Start them again and run the "
                    "same command: what was done until then is kept."
                ) from None
            continue
        except GONE as error:
            raise _gone() from error
        for future in done:
            task = under_way.pop(future)
            record = _record_of(future, task)
            future.release()
            tell(task, record)


def _workers(client: Client) -> int:
    try:
        return len(client.scheduler_info(n_workers=-1)["workers"])
    except (TimeoutError, *GONE) as error:
        raise _gone() from error


def _gone() -> ServerError:
    return ServerError(
        "the scheduler went away, or dropped what it was given. What was done until then is kept: "
        "run the same command again."
    )


def _run(task: Task) -> Record:
    # Imported by the workers only: what computes takes half a gigabyte.
    from planner.cohort.one import run_case

    return run_case(task)


def dashboard_of(client: Client) -> str:
    """Address of the page that shows what the workers do."""
    return str(client.dashboard_link)


def quiet() -> None:
    """Silence the libraries' logs: they name tasks and addresses, and are told by us."""
    for name in ("distributed", "tornado", "bokeh"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _record_of(future: Future[Record], task: Task) -> Record:
    if future.status == "finished":
        result = future.result()
        assert isinstance(result, Record)
        return result
    if future.status in ("cancelled", "lost"):
        raise _gone()
    error = future.exception()
    killed = isinstance(error, KilledWorker)
    words = (
        "its worker was killed twice, most likely because the memory did not suffice"
        if killed
        else f"its worker failed: {type(error).__name__}"
    )
    return Record(
        task.case.id,
        KILLED if killed else 1,
        f"{words}. Run again with fewer workers (--workers), or on a machine with more memory.",
        signature=task.signature,
        kept=False,
    )


def _check_workers(client: Client, address: str) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise ServerError(f"the scheduler at {address} has no workers yet; start them first.")
    try:
        theirs = client.run(program)
    except Exception as error:
        raise ConfigurationError(
            f"the workers of {address} cannot run this planner ({type(error).__name__}). Install "
            "the same version of it on every machine."
        ) from error
    other = [name for name, found in theirs.items() if found != program()]
    if other:
        raise ConfigurationError(
            f"{len(other)} of {len(theirs)} workers of {address} have another planner, or other "
            "libraries, than this machine; results would not be comparable. Install the same "
            "versions everywhere."
        )
