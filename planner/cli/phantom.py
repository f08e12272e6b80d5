"""`planner phantom`: a parametric phantom as DICOM with its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def phantom_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the phantom.")],
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draw one of the population (default: its mean).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Write a parametric phantom as DICOM with its truth."""
    from numpy.random import default_rng

    from planner.phantom import PhantomParameters, make_phantom, write_phantom

    parameters = PhantomParameters()
    if seed is not None:
        parameters = PhantomParameters.sample(default_rng(seed))
    write_phantom(make_phantom(parameters), output, overwrite=overwrite)
    typer.echo(f"Written: {output}")
