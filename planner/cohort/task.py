"""What a worker is given and what it gives back: plain values that travel between machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.cohort.cases import Case
from planner.model.configuration import Configuration

CASES, CASE_FILE = "cases", "case.json"
LABELS_REFUSED, PICTURE_REFUSED = "anatomy-rejected.seg.nrrd", "overview-rejected.png"
THUMBNAIL, ATLAS_FILE, TRACE_FILE = "thumbnail.jpg", "atlas.npz", "traceback.txt"
RECORD_VERSION = 1


@dataclass(frozen=True)
class Task:
    """One case to be planned.

    root: the cohort's folder, which every worker sees under the same path. signature: of the input
    when the task was made. program: what shall compute it. threads: of its process. phantom:
    parameters of a phantom that takes the CT's place, None for a real case. draws: misplaced
    needles per path against a phantom's truth.
    """

    case: Case
    configuration: Configuration
    root: Path
    signature: str
    program: Mapping[str, str]
    threads: int = 1
    phantom: Any = None
    draws: int = 0

    @property
    def folder(self) -> Path:
        """The case's folder."""
        return self.root / CASES / self.case.id


@dataclass(frozen=True)
class Record:
    """What became of a case, as case.json holds it.

    rows: by table, without the case's name. kept: False where it could not be written.
    """

    case_id: str
    status: int
    reason: str = ""
    result_key: str = ""
    input_sha256: str = ""
    signature: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = True
    reused: bool = False
