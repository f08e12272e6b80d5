"""Outputs that appear whole or not at all.

A new folder or file is made beside its place under a hidden name and renamed. In a folder that
exists, only the files of a plan are replaced; every other file in it is left where it is.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from planner.errors import OutputError

Writer = Callable[[Path], None]

PART = ".part"
HIDDEN = re.compile(r"\.[0-9a-f]{8}\.part(\.\w+)?$")
STALE_S = 3600.0
"""Nothing is written for so long: what is older was left behind."""


def check_folder(folder: Path, overwrite: bool, reserved: Path | None = None) -> None:
    """Refuse an output folder that could not be written later (OutputError).

    reserved: the CT; nothing is written into its folder.
    """
    _check_reserved(folder, reserved)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"the output {folder} exists and is not a folder. Choose another name.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(
            f"the output folder {folder} exists already and is not empty; nothing was changed. "
            "Choose another folder, or give --overwrite."
        )
    _check_writable(folder)


def check_file(path: Path, overwrite: bool, reserved: Path | None = None) -> None:
    """Refuse an output file that could not be written later (OutputError); reserved: the CT."""
    _check_reserved(path, reserved)
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder; a file name is expected.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"the output {path} exists already; nothing was changed. Choose another name, or give "
            "--overwrite."
        )
    _check_writable(path.parent)


def _check_reserved(output: Path, reserved: Path | None) -> None:
    if reserved is None or not reserved.is_dir():
        return
    if output.resolve().is_relative_to(reserved.resolve()):
        raise OutputError(
            f"the output {output} lies inside the CT's folder {reserved}; results are never "
            "written among the images. Choose a place outside it."
        )


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
        for here, part in zip(paths, parts, strict=True):
            here.parent.mkdir(parents=True, exist_ok=True)
            _clear_stale(part)
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

    writers: file name to what writes it; one that writes nothing leaves its name as it was, and the
    last is of the file by which such a folder is known. known:
    every file name that belongs to such a folder; those of an earlier run are removed, even where
    this run has no writer of that name.
    Raises OutputError; the folder is then as it was before.
    """
    check_folder(folder, overwrite)
    exists = folder.is_dir()
    made = [] if exists else _make_parents(folder)
    stage = (folder if exists else folder.parent) / _hidden(folder.name)
    try:
        _clear_stale(stage)
        stage.mkdir()
        for name, writer in writers.items():
            writer(stage / name)
        made_here = tuple(name for name in writers if (stage / name).exists())
        for path in stage.rglob("*"):
            on_disk(path)
        if exists:
            _replace(folder, stage, made_here, tuple(n for n in known if n not in writers))
        else:
            _appear(stage, folder)
            made = []
    except OSError as error:
        raise _refusal(folder, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in reversed(made):
            _remove_empty(parent)


def _appear(stage: Path, folder: Path) -> None:
    """Rename a whole folder to its name, unless another run has just done so."""
    try:
        stage.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise OutputError(
            f"the output folder {folder} was written by another run meanwhile; it was left as it "
            "is. Choose another folder, or give --overwrite."
        ) from error


def _clear_stale(part: Path) -> None:
    """Remove parts of the same output that a program left when it was killed, an hour ago."""
    name = part.name.rsplit(".", 2)[0] if part.suffix == PART else part.stem.rsplit(".", 2)[0]
    with suppress(OSError):
        for path in part.parent.glob(f"{glob.escape(name)}.*{PART}*"):
            if HIDDEN.search(path.name) and time.time() - path.lstat().st_mtime > STALE_S:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _replace(folder: Path, stage: Path, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Swap the known files of a folder for the staged ones; on failure put the old ones back.

    A file takes the place of the old one in one step and in the order of names. The last one is
    that by which such a folder is known: the old one goes first and the new one comes last, so that
    a folder whose replacement was cut off is known as none, and not as a plan on other files.
    """
    kept = stage / "before"
    kept.mkdir()
    there = {name for name in (*names, *known) if (folder / name).exists()}
    done: list[str] = []
    try:
        for name in {*names[-1:]} & there:
            done.append(name)
            (folder / name).rename(kept / name)
            on_disk(folder)
        for name in names:
            target = folder / name
            if target.is_file() and (stage / name).is_file():
                shutil.copy2(target, kept / name)
            elif target.exists():
                target.rename(kept / name)
            if name not in done:
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
    return f".{name}.{secrets.token_hex(4)}{PART}"


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {error.strerror or error}. Nothing was left behind and what "
        "stood there before is unchanged. Free some space or choose another place."
    )
