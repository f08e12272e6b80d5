"""Folders for a while: a patient's images, gone however the program ends, and compiled kernels.

A program that is killed cannot clear up. So every folder is locked for as long as it is used, and
who makes one first removes those of this user that nobody holds any more.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KERNELS, NOT_KEPT = "NUMBA_CACHE_DIR", "PLANNER_KERNELS"
PREFIX, LOCK, CONTENT = "planner-", ".lock", "content"
SETTLED_S = 60.0
"""A younger folder may be on its way to its lock."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make an empty folder that only this user can read, and remove it afterwards."""
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        content = Path(name) / CONTENT
        content.mkdir(mode=0o700)
        from filelock import FileLock

        with FileLock(Path(name) / LOCK):
            yield content


def keep_kernels() -> None:
    """Give compiled kernels a folder of this process alone, where none can be written to.

    Numba looks beside the module and in the user's cache, and fails where neither can be written:
    in a container without a home, on a cluster's read-only modules.
    """
    if os.environ.get(KERNELS):
        return
    beside = Path(__file__).parent / "__pycache__"
    users = (os.environ.get("XDG_CACHE_HOME"), os.environ.get("LOCALAPPDATA"), "~/.cache")
    own = next(Path(place).expanduser() for place in users if place)
    if any(_can_write(place) for place in (beside, own)):
        return
    folder = tempfile.mkdtemp(prefix="planner-kernels-")
    os.environ[KERNELS] = folder
    os.environ[NOT_KEPT] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def kernels_are_not_kept() -> bool:
    """Whether compiled kernels are thrown away at the end of this process."""
    return os.environ.get(NOT_KEPT, "") == os.environ.get(KERNELS, " ")


def _can_write(place: Path) -> bool:
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _sweep(place: Path) -> None:
    """Remove the folders of this user that no running program holds."""
    with suppress(OSError):
        for path in place.glob(f"{PREFIX}*"):
            if _is_stale(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_stale(path: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = path / LOCK
    try:
        about = path.lstat()
        if path.is_symlink() or not lock.is_file() or time.time() - about.st_mtime < SETTLED_S:
            return False
        if hasattr(os, "getuid") and about.st_uid != os.getuid():
            return False
        with FileLock(lock, timeout=0):
            return True
    except (OSError, Timeout):
        return False
