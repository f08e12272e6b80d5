"""The plan folder and the table of the files in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from planner.export import entry_map, plan_json, report, segmentation_nrrd
from planner.export.atomic import Writer, check_folder, write_folder
from planner.export.overview import FILE_NAME as OVERVIEW_FILE
from planner.export.overview import write_overview
from planner.export.plan_document import PlanDocument
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
    document: PlanDocument | None = None,
    *,
    full_report: bool = True,
    more: Mapping[str, Writer] | None = None,
    known: tuple[str, ...] = (),
) -> None:
    """Write a plan folder, whole or not at all; progress: called with the part done, 0 to 1.

    document: what plan.json is to hold, where that is more than the plan, such as a review.
    full_report: write the report as well, which takes as long as the rest. more: further files by
    name, written after the plan's own. known: further names that belong to such a folder.

    Raises OutputError where the folder exists and overwrite is not given, or cannot be written.
    """
    saved = plan_json.plan_document(plan) if document is None else document
    writers: dict[str, Writer] = {
        segmentation_nrrd.FILE_NAME: partial(segmentation_nrrd.write_anatomy, plan.anatomy),
        OVERVIEW_FILE: partial(write_overview, plan, volume),
    }
    if full_report:
        writers[report.FILE_NAME] = partial(
            report.write_report, plan, volume, document=saved, progress=progress
        )
    if plan.entry_map is not None:
        writers[entry_map.MESH_FILE] = partial(entry_map.write_entry_mesh, plan)
        writers[entry_map.PICTURE_FILE] = partial(entry_map.write_entry_picture, plan)
    # Last, so that what is interrupted leaves the plan before, which then says that its bones are
    # other ones, and never a new plan on old bones.
    writers[plan_json.FILE_NAME] = partial(plan_json.write_document, saved)
    writers |= more or {}
    check_folder(Path(folder), overwrite)
    keep_reviewed(Path(folder))
    write_folder(Path(folder), writers, (*PLAN_FILES, *known), overwrite)
