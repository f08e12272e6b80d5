"""`planner export`: a plan in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.terminal import progress_bar
from planner.errors import ConfigurationError


def export_command(
    plan_dir: Annotated[Path, typer.Argument(metavar="PLAN_DIR", help="A plan folder.")],
    formats: Annotated[
        list[str],
        typer.Option("--format", "-f", help="A format, repeatable, or all."),
    ] = [],  # noqa: B006
    ct: Annotated[Path | None, typer.Option("--ct", help="The plan's CT.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder (default: export in PLAN_DIR).")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier export wrote.")
    ] = False,
    reproducible: Annotated[
        bool,
        typer.Option("--reproducible", help="The same plan gives the same UIDs and bytes."),
    ] = False,
    multiple_of: Annotated[
        int,
        typer.Option("--multiple-of", help="Pad rows and columns of DICOM labels, such as to 8."),
    ] = 1,
    anonymize: Annotated[
        bool,
        typer.Option(
            "--anonymize",
            help="Leave out whatever identifies the patient (PS3.15 Basic Profile; extra).",
        ),
    ] = False,
    serve: Annotated[
        str | None,
        typer.Option("--serve", help="HOST:PORT for openigtlink (default 127.0.0.1:18944)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Export a plan in the formats of other programs.

    Paths that a reviewer rejected are left out of all but json and report, which say that they are.
    """
    from planner.exchange import Settings, export_plan
    from planner.exchange.serving import NAME

    if serve is not None or NAME in formats:
        if formats != [NAME] or output is not None or overwrite or ct is not None:
            raise ConfigurationError(
                f"{NAME} is served (--serve), not written: name it alone, without --ct, --output "
                "and --overwrite."
            )
        _serve(plan_dir, serve or "", anonymize, quiet)
        return
    with progress_bar(quiet) as progress:
        written, said = export_plan(
            plan_dir,
            formats,
            ct=ct,
            output=output,
            settings=Settings(reproducible, multiple_of, anonymize),
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        for line in said:
            typer.echo(line)
        typer.echo(f"Written: {', '.join(str(each) for each in written)}")


def _serve(plan_dir: Path, text: str, anonymize: bool, quiet: bool) -> None:
    from contextlib import suppress

    from planner.exchange.serving import is_loopback, parse_address, serve_plan

    host, port = parse_address(text)
    if not is_loopback(host):
        typer.echo(
            f"planner: {host} can be reached from other machines, and the protocol knows neither "
            "password nor encryption: whoever connects gets the plan.",
            err=True,
        )

    def ready(host: str, port: int) -> None:
        if not quiet:
            typer.echo(f"Serving OpenIGTLink on {host}:{port}; Ctrl+C ends it.")

    with suppress(KeyboardInterrupt):
        serve_plan(plan_dir, (host, port), ready, anonymize=anonymize)
