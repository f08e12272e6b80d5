"""`planner plan`: from a CT to a plan folder."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.pacs import ServersOption, local_ct
from planner.cli.rejected import keeping_rejected
from planner.cli.terminal import (
    DeviceOption,
    DownloadOption,
    MethodChoice,
    MethodOption,
    find_method,
    progress_bar,
)

if TYPE_CHECKING:
    from planner.model.configuration import Configuration


SUMMARY_KEYS = (
    "id",
    "rank",
    "technique",
    "side",
    "level",
    "needle",
    "skin_entry_mm",
    "bone_entry_mm",
    "tip_mm",
    "skin_to_tip_mm",
    "intraosseous_length_mm",
    "breach_probability",
    "score",
)
"""What the summary repeats of a trajectory of plan.json."""


class SideChoice(StrEnum):
    """Sides to plan on."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


def plan_command(
    ct: Annotated[
        str,
        typer.Argument(
            metavar="CT",
            help="Folder, multi-frame file, .zip, .nii.gz/.nrrd/.mha volume, or "
            "pacs://SERVER/STUDY/SERIES.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the plan.")],
    side: Annotated[SideChoice | None, typer.Option("--side", help="Side (default both).")] = None,
    technique: Annotated[
        list[str] | None,
        typer.Option(
            "--technique",
            help="short_axis, long_axis, s2_entry or s2_s3_entry; repeatable (default all).",
        ),
    ] = None,
    needle: Annotated[
        str | None, typer.Option("--needle", help="8G, 10G, 11G or 13G (default 11G).")
    ] = None,
    anatomy: Annotated[
        Path | None,
        typer.Option(
            "--anatomy",
            help="Use this label map instead of segmentation: .seg.nrrd, DICOM SEG, NIfTI, or a "
            "folder of masks.",
        ),
    ] = None,
    method: MethodOption = MethodChoice.BUILTIN,
    allow_download: DownloadOption = False,
    device: DeviceOption = None,
    target: Annotated[
        Path | None, typer.Option("--target", help="A mask to reach: a fracture or lesion.")
    ] = None,
    placement_error: Annotated[
        str | None,
        typer.Option(
            "--placement-error",
            help="ct_checked, freehand, robot or fluoroscopy_2d (default ct_checked).",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Configuration, TOML.")] = None,
    top: Annotated[
        int | None, typer.Option("--top", help="Paths kept per technique and side (default 3).")
    ] = None,
    servers: ServersOption = None,
    series: Annotated[
        str | None, typer.Option("--series", help="Series UID, where there are several.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the plan in an existing folder.")
    ] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Threads.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The summary as JSON on standard output.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each path stands before the next.")
    ] = False,
) -> None:
    """Plan on a CT: read, segment, plan, and write the plan folder."""
    configuration = build_configuration(config, side, technique, needle, placement_error, top)
    from planner.export.plan_folder import check_folder, write_plan

    check_folder(output, overwrite, reserved=Path(ct))
    program = find_method(method, allow_download, device, anatomy)
    place = local_ct(ct, output, servers, quiet)
    from planner.pipeline import plan_ct

    with keeping_rejected(output, overwrite), progress_bar(quiet) as progress:
        volume, plan = plan_ct(
            place,
            configuration,
            series=series,
            anatomy_file=anatomy,
            method=program,
            target_file=target,
            progress=progress,
            jobs=jobs,
        )
        progress("write", 0.0)
        write_plan(plan, volume, output, overwrite, lambda part: progress("write", part))
    from planner.cli.tables import plan_table, show
    from planner.export.plan_json import plan_document
    from planner.scoring import explanations

    if as_json:
        values = summary(plan_document(plan), output)
        if explain:
            values["explanations"] = explanations(plan.trajectories)
        typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
    elif not quiet:
        show(plan_table(plan, output, explain=explain))


def build_configuration(
    config: Path | None,
    side: SideChoice | None,
    technique: list[str] | None,
    needle: str | None,
    placement_error: str | None,
    top: int | None,
) -> Configuration:
    """Put the options of the command line over the file, and the file over the defaults."""
    from planner.model.configuration import Configuration

    options: dict[str, Any] = {
        "sides": None if side is None else _sides(side),
        "techniques": tuple(dict.fromkeys(technique)) if technique else None,
        "needle": needle,
        "placement_error_preset": placement_error,
        "top": top,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if config is None:
        return Configuration.from_mapping(given)
    return Configuration.from_toml(config, **given)


def summary(document: Any, output: Path) -> dict[str, Any]:
    """Shorten a plan document to what a script wants to know first."""
    values = document.model_dump(mode="json", exclude_none=True)
    return {
        "output": str(output),
        "disclaimer": values["disclaimer"],
        "ct": values["ct"],
        "anatomy": {key: values["anatomy"][key] for key in ("source", "confidence")},
        "trajectories": [
            {key: item[key] for key in SUMMARY_KEYS}
            | {
                "clearance_mm": {
                    name: clearance["distance_mm"] for name, clearance in item["clearance"].items()
                }
            }
            for item in values["trajectories"]
        ],
        "rejections": values["rejections"],
        "warnings": values["warnings"],
        "timings_s": values["provenance"]["timings_s"],
    }


def _sides(side: SideChoice) -> tuple[str, ...]:
    return ("left", "right") if side is SideChoice.BOTH else (side.value,)
