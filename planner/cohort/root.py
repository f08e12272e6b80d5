"""The folder of a cohort: whose it is, who works in it, and its run.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from planner.errors import OutputError
from planner.export.atomic import check_folder

RUN_FILE, LOCK_FILE = "run.json", ".run.lock"
RUN_VERSION = 1


def check_root(output: Path, inputs: Sequence[Path | None]) -> None:
    """Refuse a folder that is no cohort's, or that and the input lie in each other (OutputError).

    A folder with our lock in it is ours, even where its run.json is gone or damaged.
    """
    if (output / RUN_FILE).is_file():
        _check_version(output)
    elif not (output / LOCK_FILE).is_file():
        check_folder(output, overwrite=False)
    for path in inputs:
        if path is None:
            continue
        if path.is_dir() and lies_below(output, path):
            raise OutputError(
                f"the output folder {output} lies inside the folder of a CT; results are never "
                "written among the images. Choose a folder outside it."
            )
        if lies_below(path, output):
            raise OutputError(
                f"a CT, anatomy or target lies inside the output folder {output}, where results "
                "would be written over it. Choose another folder."
            )


def lies_below(path: Path, folder: Path) -> bool:
    """Tell whether a path, links followed, is a folder or in it."""
    return path.resolve().is_relative_to(folder.resolve())


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold a cohort's folder; raises OutputError where another run holds it.

    The system takes the lock back from a program that was killed.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / LOCK_FILE)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"another run is at work in {output}. Wait until it ends, or choose another folder."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{output} cannot be written to ({error.strerror}). Choose another output, or change "
            "its permissions."
        ) from error
    try:
        yield
    finally:
        lock.release()


def read_run(root: Path) -> dict[str, Any]:
    """Read run.json of a cohort (OutputError where it is none)."""
    try:
        values = json.loads((Path(root) / RUN_FILE).read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not isinstance(values.get("runs"), list):
            raise ValueError
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(
            f"{root} is no cohort's folder, or its {RUN_FILE} is damaged. Give the folder that "
            "`planner cohort run` wrote; running the cohort again makes that file anew."
        ) from error
    if values.get("run_version") != RUN_VERSION:
        raise OutputError(
            f"{root} was written by another version of this program ({RUN_FILE} says "
            f"{values.get('run_version')}, expected {RUN_VERSION}). Choose another folder."
        )
    return values


def _check_version(output: Path) -> None:
    """Refuse a folder of another version; one whose run.json is damaged is taken where it has our
    lock."""
    try:
        read_run(output)
    except OutputError as error:
        if isinstance(error.__cause__, ValueError) and (output / LOCK_FILE).is_file():
            return
        raise
