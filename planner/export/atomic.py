"""Outputs that appear whole or not at all.

A new folder or file is made beside its place under a hidden name and renamed. In a folder that
exists, only the files of a plan are replaced; every other file in it is left where it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from planner.errors import OutputError

Writer = Callable[[Path], None]


def check_folder(folder: Path, overwrite: bool, reserved: Path | None = None) -> None:
    """Refuse an output folder that could not be written later (OutputError).

    reserved: the CT; nothing is written into its folder.
    """
    target = folder.resolve()
    if reserved is not None and reserved.is_dir() and target.is_relative_to(reserved.resolve()):
        raise OutputError(
            f"the output folder {folder} lies inside the CT's folder {reserved}; results are never "
            "written among the images. Choose a folder outside it."
        )
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"the output {folder} exists and is not a folder. Choose another name.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(
            f"the output folder {folder} exists already and is not empty; nothing was changed. "
            "Choose another folder, or give --overwrite."
        )
    _check_writable(folder)


def check_file(path: Path, overwrite: bool) -> None:
    """Refuse an output file that could not be written later (OutputError)."""
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder; a file name is expected.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"the output {path} exists already; nothing was changed. Choose another name, or give "
            "--overwrite."
        )
    _check_writable(path.parent)


def write_file(path: Path, writer: Writer) -> None:
    """Write one file; what stood there before stays until the new one is whole."""
    write_files((path,), lambda parts: writer(parts[0]))


def write_files(paths: Sequence[Path], writer: Callable[[Sequence[Path]], None]) -> None:
    """Write files that belong together, in one go: none takes its place before all are whole.

    writer: called with where to write each; a part keeps the suffix of its file.
    """
    parts = [path.with_name(_hidden(path.stem) + path.suffix) for path in paths]
    kept = [path.with_name(_hidden(path.stem) + path.suffix) for path in paths]
    here = paths[0]
    try:
        for here in paths:
            here.parent.mkdir(parents=True, exist_ok=True)
        writer(parts)
        for part in parts:
            on_disk(part)
        _put_in_place(paths, parts, kept)
    except OSError as error:
        raise _refusal(here, error) from error
    finally:
        for part in (*parts, *kept):
            part.unlink(missing_ok=True)


def on_disk(path: Path) -> None:
    """Return when a file, or the names in a folder, have reached the disk."""
    if path.is_dir() and os.name == "nt":
        return  # a folder cannot be opened there; its names are written with the files
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(paths: Sequence[Path], parts: Sequence[Path], kept: Sequence[Path]) -> None:
    """Rename whole parts to their names; on failure put back what stood there."""
    done: list[int] = []
    try:
        for number, path in enumerate(paths):
            if len(paths) > 1 and path.exists():
                shutil.copy2(path, kept[number])
            parts[number].replace(path)
            done.append(number)
        for folder in {path.parent for path in paths}:
            on_disk(folder)
    except BaseException:
        for number in reversed(done):
            if kept[number].exists():
                kept[number].replace(paths[number])
            elif len(paths) > 1:
                paths[number].unlink(missing_ok=True)
        raise


def write_folder(
    folder: Path, writers: Mapping[str, Writer], known: tuple[str, ...], overwrite: bool = False
) -> None:
    """Write a folder of files at once.

    writers: file name to what writes it; one that writes nothing leaves its name as it was. known:
    every file name that belongs to such a folder; those of an earlier run are removed, even where
    this run has no writer of that name.
    Raises OutputError; the folder is then as it was before.
    """
    check_folder(folder, overwrite)
    exists = folder.is_dir()
    made = [] if exists else _make_parents(folder)
    stage = (folder if exists else folder.parent) / _hidden(folder.name)
    try:
        stage.mkdir()
        for name, writer in writers.items():
            writer(stage / name)
        made_here = tuple(name for name in writers if (stage / name).exists())
        for path in stage.rglob("*"):
            on_disk(path)
        if exists:
            _replace(folder, stage, made_here, tuple(n for n in known if n not in writers))
        else:
            stage.rename(folder)
            made = []
    except OSError as error:
        raise _refusal(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in reversed(made):
            _remove_empty(parent)


def _replace(folder: Path, stage: Path, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Swap the known files of a folder for the staged ones; on failure put the old ones back.

    A file takes the place of the old one in one step and in the order of names, so that whatever
    interrupts it, each name holds the old file or the new one.
    """
    kept = stage / "before"
    kept.mkdir()
    there = {name for name in (*names, *known) if (folder / name).exists()}
    done: list[str] = []
    try:
        for name in names:
            target = folder / name
            if target.is_file() and (stage / name).is_file():
                shutil.copy2(target, kept / name)
            elif name in there:
                target.rename(kept / name)
            done.append(name)
            (stage / name).replace(target)
        for name in sorted(there - set(names)):
            done.append(name)
            (folder / name).rename(kept / name)
        on_disk(folder)
    except BaseException:
        for name in reversed(done):
            _put_back(folder / name, kept / name if name in there else None)
        raise


def _put_back(place: Path, before: Path | None) -> None:
    """Have a place hold again what it held; before: None where nothing was there."""
    if before is not None and not before.exists():
        return  # it never left
    if place.is_dir():
        shutil.rmtree(place)
    elif before is None:
        place.unlink(missing_ok=True)
    if before is not None:
        before.replace(place)


def _make_parents(folder: Path) -> list[Path]:
    missing = []
    parent = folder.parent
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    made = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
    except OSError as error:
        for path in reversed(made):
            _remove_empty(path)
        raise _refusal(folder, error) from error
    return made


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # somebody else has put something there: it is theirs


def _check_writable(folder: Path) -> None:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(
            f"{place} is not a folder that can be written to. Choose another output, or change "
            "its permissions."
        )


def _hidden(name: str) -> str:
    return f".{name}.{secrets.token_hex(4)}.part"


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {error.strerror or error}. Nothing was left behind and what "
        "stood there before is unchanged. Free some space or choose another place."
    )
