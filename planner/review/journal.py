"""The journal: every change on disk before the page shows it, so that no crash loses work.

One JSON object per line beside plan.json. The first line names the plan.json that the changes
rest on; a journal of another plan.json is set aside, never replayed and never deleted.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from planner.errors import OutputError
from planner.review.state import Change

FILE_NAME = "review.jsonl"


class Journal:
    """Changes since the last saved revision; folder: the plan's. base: sha256 of its plan.json."""

    def __init__(self, folder: Path, base: str) -> None:
        self.path = folder / FILE_NAME
        self._base = base

    def recover(self) -> tuple[list[Change], Path | None]:
        """Read the changes that were not saved; and where a journal of another plan was put.

        A last line that a crash cut off is left out: its change was never shown.
        """
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return [], None
        except OSError as error:
            raise self._refusal(error) from error
        records = [record for record in map(_record, lines) if record is not None]
        if records and records[0].get("base_sha256") != self._base:
            return [], self._set_aside()
        return [Change(**record) for record in records[1:]], None

    def add(self, change: Change) -> None:
        """Write a change down; returns when it is on the disk."""
        size = self.path.stat().st_size if self.path.exists() else 0
        lines = [] if size else [{"base_sha256": self._base}]
        lines.append(asdict(change))
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        try:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            with suppress(OSError):  # what was refused must not come back with the next start
                os.truncate(self.path, size)
            raise self._refusal(error) from error

    def mend(self) -> None:
        """Cut off a last line that a crash left half-written, so that the next one stands alone."""
        try:
            data = self.path.read_bytes()
            if data and not data.endswith(b"\n"):
                self.path.write_bytes(data[: data.rfind(b"\n") + 1])
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refusal(error) from error

    def clear(self, base: str) -> None:
        """Begin again on a plan.json that holds all changes; base: its sha256."""
        self.path.unlink(missing_ok=True)
        self._base = base

    def _set_aside(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        place = self.path.with_name(f"review-set-aside-{stamp}.jsonl")
        self.path.rename(place)
        return place

    def _refusal(self, error: OSError) -> OutputError:
        return OutputError(
            f"the journal {self.path} cannot be written or read: {error.strerror or error}. "
            "Changes would not survive a crash, so none is made. Free some space, or check the "
            "folder's permissions."
        )


def _record(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
