"""Many patients: the same planner over a cohort, its tables and its summary.

    from planner import cohort

    cases = cohort.read_manifest(Path("manifest.csv"))
    cohort.run(cases, Path("cohort"))
    cohort.summarize(Path("cohort"))
    paths = cohort.read_table(Path("cohort"), "trajectories")

Names are loaded when they are first used, as they need the extra `cohort`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.cohort.association import associations
    from planner.cohort.cases import Case
    from planner.cohort.manifest import read_manifest, write_manifest
    from planner.cohort.outcomes import before_after, cement, leaks
    from planner.cohort.root import read_run
    from planner.cohort.running import Progress, RunReport, run
    from planner.cohort.scanning import scan
    from planner.cohort.statistics import feasibility_rows, patients_of
    from planner.cohort.summary import summarize
    from planner.cohort.tables import read_table
    from planner.cohort.virtual import simulate

_PLACES = {
    "Case": "cases",
    "read_manifest": "manifest",
    "write_manifest": "manifest",
    "scan": "scanning",
    "run": "running",
    "read_run": "root",
    "Progress": "running",
    "RunReport": "running",
    "simulate": "virtual",
    "summarize": "summary",
    "read_table": "tables",
    "patients_of": "statistics",
    "feasibility_rows": "statistics",
    "before_after": "outcomes",
    "cement": "outcomes",
    "leaks": "outcomes",
    "associations": "association",
}

__all__ = [
    "Case",
    "Progress",
    "RunReport",
    "associations",
    "before_after",
    "cement",
    "feasibility_rows",
    "leaks",
    "patients_of",
    "read_manifest",
    "read_run",
    "read_table",
    "run",
    "scan",
    "simulate",
    "summarize",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'planner.cohort' has no attribute {name!r}")
    try:
        return getattr(import_module(f"planner.cohort.{_PLACES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("planner"):
            raise
        raise ImportError(
            f"cohorts need {error.name}, which is not installed: pip install 'planner[cohort]'"
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
