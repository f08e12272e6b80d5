"""`planner cohort`: many patients, their tables and their summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import ConfigurationError, OutputError

if TYPE_CHECKING:
    from planner.cohort.running import Progress, RunReport

NEEDED = ("distributed", "pandas", "pandera", "pyarrow", "psutil", "statsmodels")

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder of the cohort.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration, TOML, as of `planner plan`.")
]
NeedleOption = Annotated[
    str | None, typer.Option("--needle", help="8G, 10G, 11G or 13G (default 11G).")
]
ErrorOption = Annotated[
    str | None,
    typer.Option("--placement-error", help="ct_checked, freehand, robot or fluoroscopy_2d."),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", help="Your dask scheduler, tcp://HOST:PORT (default: here)."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes here (default: what cores and memory allow)."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]

cohort_app = typer.Typer(
    help="Plan many CTs, and make tables and a summary of them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@cohort_app.command("scan")
def scan_command(
    folder: Annotated[Path, typer.Argument(help="A heap of DICOM files.")],
    manifest: Annotated[Path, typer.Option("--manifest", "-m", help="CSV to write.")],
    key: Annotated[
        Path,
        typer.Option("--key", help="File of who is who; in another folder than the manifest."),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the manifest.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a manifest of a heap of DICOM, with pseudonyms in place of identifiers."""
    require()
    from planner.cli.terminal import progress_bar
    from planner.cohort.scanning import scan

    with progress_bar(quiet) as progress:
        report = scan(
            folder,
            manifest,
            key,
            overwrite=overwrite,
            progress=lambda _step, part: progress("scan", part),
        )
    if quiet:
        return
    typer.echo(f"{len(report.cases)} CTs in {manifest}; who they are, in {key}: keep it apart.")
    for reason, count in report.skipped:
        typer.echo(f"left out, {count}: {reason}")
    for note in report.notes:
        typer.echo(note)


@cohort_app.command("run")
def run_command(
    manifest: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet (subject, ct, …), or a folder with one per subject."),
    ],
    output: OutputOption,
    config: ConfigOption = None,
    needle: NeedleOption = None,
    placement_error: ErrorOption = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Plan every CT of a manifest that is not done, and make the tables."""
    require()
    from planner.cli.plan import build_configuration
    from planner.cohort.manifest import read_manifest
    from planner.cohort.running import run

    configuration = build_configuration(config, None, None, needle, placement_error, None)
    cases = read_manifest(manifest)
    with _progress(quiet) as progress:
        report = run(
            cases,
            output,
            configuration,
            scheduler=scheduler,
            workers=workers,
            manifest=str(manifest),
            progress=progress,
        )
    _conclude(report, quiet)


@cohort_app.command("simulate")
def simulate_command(
    output: OutputOption,
    number: Annotated[int, typer.Option("--n", min=1, max=100_000, help="Phantoms.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the cohort.")] = 1,
    config: ConfigOption = None,
    needle: NeedleOption = None,
    placement_error: ErrorOption = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Plan on phantoms drawn from the published spread of sacra, and hold plans against truth."""
    require()
    from planner.cli.plan import build_configuration
    from planner.cohort.virtual import simulate

    configuration = build_configuration(config, None, None, needle, placement_error, None)
    with _progress(quiet) as progress:
        report = simulate(
            number,
            output,
            configuration,
            seed=seed,
            scheduler=scheduler,
            workers=workers,
            progress=progress,
        )
    _conclude(report, quiet)


@cohort_app.command("summarize")
def summarize_command(
    folder: Annotated[Path, typer.Argument(help="Folder of the cohort.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML (default: summary.html in it).")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Make the summary of a cohort: tables and pictures in one HTML file; it replaces its own."""
    require()
    from planner.cohort.summary import FILE_NAME, summarize

    target = folder / FILE_NAME if output is None else output
    summarize(folder, target)
    if not quiet:
        typer.echo(f"Written: {target}")


def require() -> None:
    """Refuse where the extra is not installed (ConfigurationError)."""
    missing = []
    for name in NEEDED:
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ConfigurationError(
            f"cohorts need {', '.join(missing)}, which this installation lacks: "
            "pip install 'planner[cohort]'."
        )


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show cases done, failures and the time left on stderr, where that is a terminal."""
    if quiet:
        yield lambda _progress: None
        return
    told = ""

    def announce(now: Progress) -> None:
        nonlocal told
        if now.dashboard and now.dashboard != told:
            told = now.dashboard
            typer.echo(f"Dashboard: {told}", err=True)

    if not sys.stderr.isatty():
        yield announce
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("Cases"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failures]} without a plan"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    # Its rate is that of the last twenty cases, or of what there were.
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=3600) as bar:
        task = bar.add_task("", total=None, failures=0)

        def show(now: Any) -> None:
            if now.dashboard and now.dashboard != told:
                bar.console.print(f"Dashboard: {now.dashboard}", soft_wrap=True)
                announce_once(now.dashboard)
            bar.update(task, total=now.cases, completed=now.done, failures=now.failures)

        def announce_once(address: str) -> None:
            nonlocal told
            told = address

        yield show


def _conclude(report: RunReport, quiet: bool) -> None:
    if not quiet:
        words = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in report.outcomes.items())
        typer.echo(
            f"{report.cases} cases: {words or 'none'}; {report.computed} computed now, "
            f"{report.reused} done before, {report.seconds:.0f} s."
        )
        typer.echo(f"Tables: {report.folder / 'tables'}; planner cohort summarize {report.folder}")
    if report.lost:
        raise OutputError(
            f"the records of {len(report.lost)} cases could not be written, such as "
            f"{report.lost[0].case_id}: {report.lost[0].reason} Free some space and run again."
        )
