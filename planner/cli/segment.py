"""`planner segment`: the anatomy alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.rejected import keeping_rejected
from planner.cli.terminal import (
    DeviceOption,
    DownloadOption,
    MethodChoice,
    MethodOption,
    find_method,
    progress_bar,
)


def segment_command(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="What `planner plan` takes.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .seg.nrrd file.")],
    series: Annotated[
        str | None, typer.Option("--series", help="Series UID, where there are several.")
    ] = None,
    method: MethodOption = MethodChoice.BUILTIN,
    allow_download: DownloadOption = False,
    device: DeviceOption = None,
    keep_doubtful: Annotated[
        bool,
        typer.Option(
            "--keep-doubtful",
            help="Write bones that cannot be trusted as well; the file then says so.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no report.")] = False,
) -> None:
    """Find the bones in a CT and write them as a 3D Slicer segmentation.

    Bones that cannot be trusted are refused and left under a name that says `rejected`, as `plan`
    does, unless --keep-doubtful is given.
    """
    if not output.name.endswith(".nrrd"):
        raise typer.BadParameter(f"{output} must end in .seg.nrrd", param_hint="--output")
    from planner.export.atomic import check_file, write_file

    check_file(output, overwrite, ct)
    program = find_method(method, allow_download, device)
    from planner.anatomy.findings import look_for_findings, to_warnings
    from planner.errors import UntrustedAnatomyError
    from planner.export.disclaimer import DISCLAIMER
    from planner.export.segmentation_nrrd import write_segmentation
    from planner.model.configuration import Configuration
    from planner.pipeline import find_bones, trusted_anatomy
    from planner.reading import read_ct

    with keeping_rejected(output, overwrite), progress_bar(quiet) as progress:
        volume = read_ct(ct, series=series, progress=progress)
        found = find_bones(volume, method=program, progress=progress)
        try:
            anatomy = trusted_anatomy(found, volume, Configuration())
        except UntrustedAnatomyError as error:
            if not keep_doubtful:
                raise
            doubt, kept = str(error), error.rejected or found
            write_file(output, partial(write_segmentation, kept.labels, kept.grid, doubt=doubt))
            typer.echo(f"warning: NOT TRUSTED, written all the same: {doubt}", err=True)
            return
        progress("findings", 0.0)
        special = to_warnings(look_for_findings(anatomy, volume))
    write_file(output, partial(write_segmentation, anatomy.labels, anatomy.grid))
    if quiet:
        return
    typer.echo(DISCLAIMER)
    typer.echo(f"Confidence of the anatomy as a whole: {anatomy.confidence:.2f}")
    for name, confidence in sorted(anatomy.confidences.items()):
        typer.echo(f"  {name:<22} confidence {confidence:.2f}")
    for warning in (*volume.warnings, *anatomy.warnings, *special):
        typer.echo(f"warning: {warning}")
    typer.echo(f"Written: {output}")
