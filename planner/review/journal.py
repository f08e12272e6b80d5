"""The journal: every change on disk before the page shows it, so that no crash loses work.

One JSON object per line beside plan.json, in ASCII. The first line names the plan.json that the
changes rest on. A journal of another plan.json, or one that is damaged, is kept under another name
and told of; nothing of it is replayed past the damage, and it is never deleted.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from planner.errors import OutputError
from planner.export.atomic import on_disk
from planner.review.state import Change, State

FILE_NAME = "review.jsonl"
# A change takes 1 kB at most, unless a long note was typed: a journal holds thousands of them.
LARGEST_BYTES = 64 * 1024**2


class Journal:
    """Changes since the last saved revision; folder: the plan's. base: sha256 of its plan.json."""

    def __init__(self, folder: Path, base: str) -> None:
        self.path = folder / FILE_NAME
        self._base = base
        self._old = False

    def recover(self, state: State, saved_on: str = "") -> tuple[list[Change], str]:
        """Read the changes that were not saved, and what the person should be told of it.

        state: what they rest on. saved_on: sha256 of the plan.json before the one that is open: a
        journal that rests on it was saved with it, and only not cleared. A last line without its
        end is cut off: its change never counted.
        """
        try:
            if not self._is_readable():
                return [], (
                    "what lay in the folder as the journal is no file, or larger than any journal. "
                    f"It is kept as {self._set_aside().name}; nothing of it is in this review."
                )
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self.path, whole)
        except FileNotFoundError:
            return [], ""
        except OSError as error:
            raise self._refusal(error) from error
        lines = data[:whole].splitlines()
        head = _record(lines[0]) if lines else {}
        base = "" if head is None else head.get("base_sha256", "")
        if not lines or (saved_on and base == saved_on):
            self._unlink()
            return [], ""
        if base != self._base:
            return [], (
                f"a journal of changes to another plan.json lay in the folder. It is kept as "
                f"{self._set_aside().name}; nothing of it is in this review."
            )
        return self._read(lines[1:], state)

    def add(self, change: Change) -> None:
        """Write a change down; returns when it is on the disk."""
        if self._old:  # of the plan.json before: what joined it would be thrown away with it
            self.clear(self._base)
        size = self.path.stat().st_size if self.path.exists() else 0
        lines: list[dict[str, Any]] = [] if size else [{"base_sha256": self._base}]
        lines.append(asdict(change))
        text = "".join(json.dumps(line) + "\n" for line in lines)
        try:
            with self.path.open("a", encoding="ascii") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            if not size:
                on_disk(self.path.parent)
        except OSError as error:
            with suppress(OSError):  # what was refused must not come back with the next start
                os.truncate(self.path, size)
            raise self._refusal(error) from error

    def clear(self, base: str) -> None:
        """Begin again on a plan.json that holds all changes; base: its sha256."""
        self._base, self._old = base, True
        self._unlink()
        self._old = False

    def _read(self, lines: list[bytes], state: State) -> tuple[list[Change], str]:
        changes: list[Change] = []
        for number, line in enumerate(lines, 2):
            try:
                change = Change(**(_record(line) or {}))
                state = state.after(change)
            except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError):
                kept = self._set_aside()
                for known in changes:
                    self.add(known)
                return changes, (
                    f"the journal of unsaved changes is damaged from line {number} on: "
                    f"{len(changes)} changes are here again, {len(lines) - len(changes)} lines are "
                    f"not. The whole journal is kept as {kept.name}."
                )
            changes.append(change)
        if not changes:
            return [], ""
        return changes, (
            f"{len(changes)} changes up to {changes[-1].time} were not saved when the last review "
            "ended; they are here again."
        )

    def _is_readable(self) -> bool:
        state = self.path.stat()
        return stat.S_ISREG(state.st_mode) and state.st_size <= LARGEST_BYTES

    def _unlink(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error) from error

    def _set_aside(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        place = self.path.with_name(f"review-set-aside-{stamp}.jsonl")
        try:
            self.path.rename(place)
        except OSError as error:
            raise self._refusal(error) from error
        return place

    def _refusal(self, error: OSError) -> OutputError:
        return OutputError(
            f"the journal {self.path} cannot be written or read: {error.strerror or error}. "
            "Changes would not survive a crash, so none is made. Free some space, or check the "
            "folder's permissions."
        )


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name} is not finite")
