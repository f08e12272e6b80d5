"""`planner pacs`: find a CT on a server, fetch it, and send back what was made of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.terminal import progress_bar
from planner.errors import ConfigurationError

if TYPE_CHECKING:
    from planner.pacs import Archive, Reference

MOST_FOUND = 200
# Fields of a study that name the patient, or are free text in which people do.
IDENTIFYING = ("patient_id", "patient_name", "birth_date", "description")

ServerArgument = Annotated[
    str, typer.Argument(metavar="SERVER", help="A name from your file of servers.")
]
ServersOption = Annotated[
    Path | None,
    typer.Option("--servers", help="File of servers, TOML (default: see the documentation)."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]

pacs_app = typer.Typer(
    help="Find, fetch and send images on servers (DIMSE, DICOMweb) that you name in a file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@pacs_app.command("find")
def find_command(
    server: ServerArgument,
    study: Annotated[
        str | None, typer.Option("--study", help="List the series of this study.")
    ] = None,
    patient_id: Annotated[str, typer.Option("--patient-id", help="* and ? allowed.")] = "",
    patient_name: Annotated[str, typer.Option("--patient-name", help="* and ? allowed.")] = "",
    accession: Annotated[str, typer.Option("--accession", help="Accession number.")] = "",
    date: Annotated[
        str, typer.Option("--date", help="YYYYMMDD, or a range YYYYMMDD-YYYYMMDD.")
    ] = "",
    modality: Annotated[str, typer.Option("--modality", help="Such as CT.")] = "CT",
    description: Annotated[
        str, typer.Option("--description", help="Of the study; * allowed.")
    ] = "",
    identify: Annotated[
        bool, typer.Option("--identify", help="Show who the patients are, and descriptions.")
    ] = False,
    servers: ServersOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Find studies on a server, or the series of a study."""
    from planner.pacs import Query
    from planner.pacs.reference import is_uid
    from planner.reading.quiet import quiet_pydicom

    query = Query(patient_id, patient_name, accession, date, modality, description)
    if study is not None and not is_uid(study):
        raise ConfigurationError("--study: a DICOM UID is expected, digits and dots.")
    archive = connect(server, servers)
    with quiet_pydicom():  # its remarks quote what a server says
        if study is not None:
            rows = [asdict(item) for item in archive.series(study)]
        else:
            rows = [asdict(item) for item in archive.studies(query, MOST_FOUND)]
    if not identify:
        rows = [{k: v for k, v in row.items() if k not in IDENTIFYING} for row in rows]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    _show(rows, "series" if study else "studies", identify)


@pacs_app.command("fetch")
def fetch_command(
    server: ServerArgument,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study instance UID.")],
    series: Annotated[str, typer.Argument(metavar="SERIES", help="Series instance UID.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images.")],
    servers: ServersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fetch a series; a fetch that broke off goes on where it stopped."""
    from planner.pacs import Reference

    wanted = Reference(server, study, series)
    fetch(wanted, output, servers, quiet)


@pacs_app.command("send")
def send_command(
    server: ServerArgument,
    places: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="DICOM files, or folders such as PLAN_DIR/export."),
    ],
    servers: ServersOption = None,
    read_back: Annotated[
        bool, typer.Option("--read-back/--no-read-back", help="Fetch and compare what was sent.")
    ] = True,
    quiet: QuietOption = False,
) -> None:
    """Send DICOM files to a server, and read back what it keeps.

    Of a folder every .dcm in it and below is sent; export a plan first.
    """
    from planner.pacs import dicom_files, send_files
    from planner.reading.quiet import quiet_pydicom

    archive = connect(server, servers)
    with quiet_pydicom(), progress_bar(quiet) as progress:
        files = dicom_files(places)
        sent = send_files(archive, files, progress, read_back=read_back)
    for keyword, count in sent.changed.items():
        typer.echo(f"planner: the server changed {keyword} in {count} of the files.", err=True)
    if not quiet:
        proof = "listed there and read back" if read_back else "listed there, not read back"
        typer.echo(f"Sent, {proof}: {sent.files} files.")


def connect(name: str, servers: Path | None) -> Archive:
    """Return the archive of a server by name, without speaking to it yet."""
    from planner.pacs import open_archive, read_servers, servers_file

    known = read_servers(servers)
    if name not in known:
        raise ConfigurationError(
            f"there is no server {name!r} in {servers or servers_file()}; it names "
            f"{', '.join(known) or 'none'}."
        )
    server = known[name]
    if server.remote and not server.encrypted:
        typer.echo(
            f"planner: images and names go to {name} and back unencrypted; name tls for it (or an "
            "https url) unless the network itself is trusted.",
            err=True,
        )
    return open_archive(server, name)


def fetch(wanted: Reference, output: Path, servers: Path | None, quiet: bool) -> Path:
    """Fetch a series into a folder; returns it."""
    from planner.pacs import fetch_series
    from planner.reading.quiet import quiet_pydicom

    archive = connect(wanted.server, servers)
    with quiet_pydicom(), progress_bar(quiet) as progress:
        made = fetch_series(archive, wanted, output, progress)
    if not quiet:
        kept = made.instances - made.new
        there = f", {kept} of which were there already" if kept else ""
        typer.echo(f"Fetched: {made.instances} files in {made.folder}{there}.", err=True)
    return made.folder


def local_ct(ct: str, output: Path, servers: Path | None, quiet: bool) -> Path:
    """Return where a CT lies on this machine; one on a server is fetched to beside the output."""
    from planner.pacs.reference import SCHEME, Reference

    if not ct.startswith(SCHEME):
        return Path(ct)
    place = output.resolve()
    return fetch(Reference.parse(ct), place.with_name(f"{place.name}-ct"), servers, quiet)


def _show(rows: list[dict[str, Any]], what: str, identify: bool) -> None:
    from rich.table import Table

    from planner.cli.tables import show

    if not rows:
        typer.echo(f"No {what} found.")
        return
    table = Table()
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_printable(value) for value in row.values()))
    show(table)
    if len(rows) == MOST_FOUND:
        typer.echo(f"These are the first {MOST_FOUND}; there may be more: narrow the search.")
    if not identify:
        typer.echo("Names and descriptions are left out; --identify shows them.")


def _printable(value: str) -> str:
    """What a server says is shown as text, and moves no cursor and colours nothing."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in value))
