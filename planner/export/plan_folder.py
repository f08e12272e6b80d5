"""The plan folder and the table of the files in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from planner.export import entry_map, plan_json, report, segmentation_nrrd
from planner.export.atomic import check_folder, write_folder
from planner.export.overview import FILE_NAME as OVERVIEW_FILE
from planner.export.overview import write_overview
from planner.export.revision import keep_reviewed
from planner.model.plan import Plan
from planner.model.volume import Volume

PLAN_FILES = (
    plan_json.FILE_NAME,
    segmentation_nrrd.FILE_NAME,
    OVERVIEW_FILE,
    entry_map.MESH_FILE,
    entry_map.PICTURE_FILE,
    report.FILE_NAME,
    report.PRINTED_NAME,
)
"""Every file that belongs to a plan folder; anything else in it is the user's own."""

__all__ = ["PLAN_FILES", "check_folder", "write_plan"]


def write_plan(
    plan: Plan,
    volume: Volume,
    folder: Path,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a plan folder, whole or not at all; progress: called with the part done, 0 to 1.

    Raises OutputError where the folder exists and overwrite is not given, or cannot be written.
    """
    writers = {
        segmentation_nrrd.FILE_NAME: partial(segmentation_nrrd.write_anatomy, plan.anatomy),
        OVERVIEW_FILE: partial(write_overview, plan, volume),
        plan_json.FILE_NAME: partial(plan_json.write_plan_json, plan),
        report.FILE_NAME: partial(report.write_report, plan, volume, progress=progress),
    }
    if plan.entry_map is not None:
        writers[entry_map.MESH_FILE] = partial(entry_map.write_entry_mesh, plan)
        writers[entry_map.PICTURE_FILE] = partial(entry_map.write_entry_picture, plan)
    check_folder(Path(folder), overwrite)
    keep_reviewed(Path(folder))
    write_folder(Path(folder), writers, PLAN_FILES, overwrite)
