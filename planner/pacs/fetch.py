"""Fetches a series into a folder that appears whole or not at all, and goes on where it stopped.

Files arrive in a hidden folder beside the one that was asked for, each under its SOP instance UID
and each whole (`Landing`); the folder takes its name when the last one is there. What arrives must
be of the series that was asked for: a server's word is not taken for it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from planner.errors import OutputError, ServerError
from planner.export.atomic import check_file, check_folder, on_disk, write_file
from planner.pacs.archive import MOST_INSTANCES, Archive
from planner.pacs.received import read_whole
from planner.pacs.reference import Reference, is_uid
from planner.pacs.rounds import in_rounds

MANIFEST = ".fetched.json"
SUFFIX = ".dcm"

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Fetched:
    """A series that was fetched. new: how many files came over the net this time."""

    folder: Path
    instances: int
    new: int


def fetch_series(
    archive: Archive,
    wanted: Reference,
    folder: Path,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch a series into a folder; one that holds it already is left as it is.

    Raises ServerError where the server does not give all of it: what came is kept, and the same
    call goes on from there. Raises OutputError where the folder holds something else or the disk
    is full.
    """
    tell = progress or (lambda _stage, _part: None)
    folder = folder.resolve()
    there = _held(folder, wanted)
    if not there:
        check_folder(folder, overwrite=False)
        check_file(folder.with_name(f".{folder.name}.fetch"), overwrite=True)  # it arrives there
        if folder.is_mount():
            raise OutputError(f"{folder} is a disk of its own; name a folder in it.")
    tell("fetch", 0.0)
    expected = _expected(archive, wanted)
    if there:
        _check_same(folder, expected)
        return Fetched(folder, len(expected), 0)
    landing = Landing(folder, wanted, expected)

    def transfer(uids: Sequence[str]) -> None:
        try:
            archive.retrieve(wanted.study, wanted.series, uids, keep)
        finally:
            landing.raise_fault()  # which is the cause, where the server was told of a failure

    def keep(data: bytes) -> None:
        landing.keep(data)
        tell("fetch", 1 - landing.left / len(expected))

    before = landing.left
    try:
        in_rounds(landing.missing, transfer, archive, sleep)
    except ServerError as error:
        left = landing.left
        raise ServerError(
            f"{error} {len(expected) - left} of {len(expected)} files of the series are kept in "
            f"{landing.folder}; the same command goes on from there."
        ) from error
    landing.finish()
    return Fetched(folder, len(expected), before)


class Landing:
    """The folder in which files arrive; safe to use from several threads."""

    def __init__(self, folder: Path, wanted: Reference, expected: Sequence[str]) -> None:
        self._target, self._wanted = folder, wanted
        self._expected = frozenset(expected)
        mark = hashlib.sha256(f"{wanted.study}/{wanted.series}".encode()).hexdigest()[:12]
        self.folder = folder.absolute().with_name(f".{folder.name}.{mark}.fetch")
        self._lock = Lock()
        self._fault: Exception | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} could not be made: {error.strerror}.") from error
        self._here = set(self._expected & _uids(self.folder))

    @property
    def left(self) -> int:
        """How many have not come yet."""
        with self._lock:
            return len(self._expected) - len(self._here)

    def missing(self) -> list[str]:
        """UIDs that have not come yet, sorted."""
        with self._lock:
            return sorted(self._expected - self._here)

    def keep(self, data: bytes) -> None:
        """Keep a file that came; raises OutputError, or ServerError for what is not of the series.

        A callback of the network cannot raise through it, so the fault is kept for `raise_fault`.
        """
        try:
            uid = self._uid_of(data)
            if uid not in self._expected:
                raise ServerError("the server sent an image that it had not listed.")
            write_file(self.folder / f"{uid}{SUFFIX}", lambda path: _write(path, data))
        except Exception as error:
            with self._lock:
                self._fault = self._fault or error
            raise
        with self._lock:
            self._here.add(uid)

    def raise_fault(self) -> None:
        """Raise what `keep` could not, once."""
        with self._lock:
            fault, self._fault = self._fault, None
        if isinstance(fault, OutputError):
            raise OutputError(
                f"{fault} The files that came before are kept in {self.folder}; the same command "
                "goes on from there."
            ) from fault
        if fault is not None:
            raise fault

    def finish(self) -> None:
        """Give the folder its name, now that all is there."""
        values = {
            "study": self._wanted.study,
            "series": self._wanted.series,
            "instances": len(self._expected),
        }
        text = json.dumps(values, indent=1) + "\n"
        write_file(self.folder / MANIFEST, lambda path: _write(path, text.encode()))
        try:
            for strange in self.folder.iterdir():
                if strange.name != MANIFEST and strange.stem not in self._expected:
                    strange.unlink()  # of an earlier call: no longer in the series, or never whole
            if self._target.is_dir():
                self._target.rmdir()  # empty: `check_folder` has seen to it
            self.folder.rename(self._target)
            on_disk(self._target.absolute().parent)
        except OSError as error:
            raise OutputError(
                f"{self._target} could not be put in place: {error.strerror}. The series is whole "
                f"in {self.folder}."
            ) from error

    def _uid_of(self, data: bytes) -> str:
        made = read_whole(data)
        tags = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
        uid, series, study = (str(made.get(name, "")) for name in tags)
        if (study, series) != (self._wanted.study, self._wanted.series):
            raise ServerError("the server sent an image of another series.")
        return uid


def _expected(archive: Archive, wanted: Reference) -> list[str]:
    uids = list(dict.fromkeys(archive.instances(wanted.study, wanted.series)))
    if not uids:
        raise ServerError(
            f"the server {wanted.server} has no images of that series in that study; see `planner "
            "pacs find` for what it has."
        )
    if len(uids) > MOST_INSTANCES:
        raise ServerError(
            f"the series has more than {MOST_INSTANCES} files, which are not fetched; choose the "
            "series of one CT."
        )
    if not all(is_uid(uid) for uid in uids):
        raise ServerError("the server lists images under what is no DICOM UID.")
    _check_count(archive, wanted, len(uids))
    return uids


def _check_count(archive: Archive, wanted: Reference, listed: int) -> None:
    """Refuse a list that was cut off: the series itself may say that it has more."""
    said = [each.instances for each in archive.series(wanted.study) if each.uid == wanted.series]
    for count in said:
        if count.isdecimal() and int(count) > listed:
            raise ServerError(
                f"the server lists {listed} images of the series and says that it has {count}; "
                "half a series is never fetched. Does it limit the number of answers to a search?"
            )


def _held(folder: Path, wanted: Reference) -> bool:
    """Tell whether a folder is a whole fetch of the series."""
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return (values["study"], values["series"]) == (wanted.study, wanted.series)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_same(folder: Path, expected: Sequence[str]) -> None:
    if not set(expected) == _uids(folder):
        raise OutputError(
            f"{folder} holds an earlier fetch of this series, which has other images on the server "
            "now; nothing was changed. Choose another folder, or move that one away."
        )


def _uids(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for path in folder.glob(f"*{SUFFIX}") if path.is_file())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
