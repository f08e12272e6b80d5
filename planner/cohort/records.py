"""Records of cases on the disk: case.json, written in one step and read with suspicion."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from planner.cohort.dictionary import FINAL
from planner.cohort.task import CASE_FILE, RECORD_VERSION, Record
from planner.export.disclaimer import DISCLAIMER
from planner.export.plan_json import FILE_NAME as PLAN_FILE


def read_record(folder: Path) -> Record | None:
    """Read the record of a case's folder; None where there is none or it is damaged."""
    try:
        values = json.loads((folder / CASE_FILE).read_text(encoding="utf-8"))
        if values.pop("record_version") != RECORD_VERSION:
            return None
        values.pop("disclaimer")
        record = Record(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: Record) -> bool:
    texts = (record.case_id, record.reason, record.result_key, record.input_sha256)
    parts = (record.values, record.rows, record.timings)
    return (
        all(isinstance(text, str) for text in (*texts, record.signature))
        and isinstance(record.status, int)
        and all(isinstance(part, dict) for part in parts)
        and all(
            isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
            for rows in record.rows.values()
        )
    )


def stands(record: Record, folder: Path, key: str) -> bool:
    """Tell whether a record is that of a key, and final, and still has its plan beside it."""
    whole = record.status != 0 or (folder / PLAN_FILE).is_file()
    return record.result_key == key and record.status in FINAL and whole


def keep_record(folder: Path, record: Record) -> Record:
    """Write a record into its folder in one step; what comes back tells whether it is kept."""
    kept = replace(record, kept=True, reused=False)
    part = folder / f".{CASE_FILE}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_record(kept, part)
        part.replace(folder / CASE_FILE)
    except (OSError, ValueError):
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return replace(record, kept=False)
    return kept


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left of a case: in its folder and beside it."""
    for place in (folder.parent.glob(f".{folder.name}.*.part"), folder.glob(".*.part")):
        for path in place:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def write_record(record: Record, path: Path) -> None:
    """Write a record to a file."""
    values = {"record_version": RECORD_VERSION, "disclaimer": DISCLAIMER, **asdict(record)}
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")
