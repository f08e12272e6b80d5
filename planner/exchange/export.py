"""Writes the formats that a user asked for into one folder, all of them or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from planner.errors import ConfigurationError, OutputError, PlannerError
from planner.exchange.anonymous import EXTRA, anonymous
from planner.exchange.formats import FORMATS, Format, Needs
from planner.exchange.handover import Handover, Settings
from planner.export.atomic import Writer, check_folder, write_folder

FOLDER = "export"
ALL = "all"
MANIFEST = ".exported.json"
"""Lists the files of exported folders, so that nothing else in them is ever replaced."""


def export_plan(
    folder: Path,
    names: Iterable[str],
    *,
    ct: Path | None = None,
    output: Path | None = None,
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[list[Path], list[str]]:
    """Export a plan folder in formats; returns what was written, and what is to be said of it.

    names: of FORMATS, or "all" for every one that can be written with what was given, save those
    that are written on request only. ct: the plan's CT. output: the folder to write into (default:
    FOLDER in the plan folder); files of other names in it stay. progress: called with the format at
    hand and the part done, 0 to 1.
    Raises ConfigurationError for what cannot be written and OutputError where a file exists and
    overwrite is not given; nothing is written then.
    """
    formats, everything = _chosen(names)
    target = Path(folder) / FOLDER if output is None else Path(output)
    _check_place(target, Path(folder), ct)
    settings = settings or Settings()
    wants = any(item.needs in (Needs.DICOM, Needs.FRAME) for item in formats)
    dicom = ct is not None and (wants or settings.anonymize)
    handover = _opened(Path(folder), ct, settings, dicom, everything or not wants)
    said: list[str] = []
    if settings.anonymize:
        handover = _without_patient(handover, said)
    if handover.rejected:
        names_of = ", ".join(handover.rejected)
        said.append(f"left out of all but json and report, as a reviewer rejected them: {names_of}")
    if everything:
        said += [
            f"{item.name} was left out: it is written only where it is named"
            for item in FORMATS.values()
            if item not in formats
        ]
    writable = _writable(formats, handover, everything, said)
    manifest = _check_free(target, writable, overwrite)
    tell = progress or (lambda _name, _part: None)
    left_out: list[Format] = []

    def write(number: int, item: Format, path: Path) -> None:
        tell(item.name, number / len(writable))
        try:
            item.write(handover, path)
        except PlannerError as error:
            if not everything:
                raise
            _remove(path)
            left_out.append(item)
            said.append(f"{item.name} was left out: {error}")

    files = tuple(item.file for item in writable)
    writers: dict[str, Writer] = {f.file: partial(write, k, f) for k, f in enumerate(writable)}
    writers[MANIFEST] = partial(_list, manifest, files)
    write_folder(target, writers, (*files, MANIFEST), overwrite=True)
    tell("done", 1.0)
    return [target / item.file for item in writable if item not in left_out], said


def _check_place(target: Path, folder: Path, ct: Path | None) -> None:
    """Refuse to write among the images, or into the plan folder itself."""
    check_folder(target, overwrite=True, reserved=ct)
    if target.resolve() == folder.resolve():
        raise OutputError(
            f"{target} is the plan folder itself, whose files an export would replace. Leave "
            "--output out, or name another folder."
        )


def _writable(
    formats: list[Format], handover: Handover, everything: bool, said: list[str]
) -> list[Format]:
    found = []
    for item in formats:
        missing = item.missing(handover)
        if not missing:
            found.append(item)
        elif everything:
            said.append(f"{item.name} was left out: it needs {missing}")
        else:
            raise ConfigurationError(f"the format {item.name} needs {missing}.")
    return found


def _chosen(names: Iterable[str]) -> tuple[list[Format], bool]:
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in FORMATS and name != ALL]
    if unknown or not wanted:
        told = f"there is no format {unknown[0]!r}" if unknown else "no format was named"
        raise ConfigurationError(f"{told}; there are {', '.join(FORMATS)} and {ALL}.")
    everything = ALL in wanted
    chosen = [
        item
        for name, item in FORMATS.items()
        if name in wanted or (everything and not item.on_request)
    ]
    return chosen, everything


def _opened(
    folder: Path, ct: Path | None, settings: Settings, dicom: bool, everything: bool
) -> Handover:
    """Open the plan; everything: whether a CT without headers is no fault."""
    if not everything:
        return Handover.of(folder, ct, settings, dicom)
    opened = Handover.of(folder, ct, settings, False)
    if dicom and opened.document.ct.kind == "dicom":
        return Handover.of(folder, ct, settings, True)
    return opened


def _without_patient(handover: Handover, said: list[str]) -> Handover:
    if find_spec(EXTRA[1]) is None:
        raise ConfigurationError(
            f"--anonymize needs the extra {EXTRA[0]}; install it with: pip install "
            f"'planner[{EXTRA[0]}]'"
        )
    if not handover.headers:
        said.append(
            "the headers of the CT were not at hand, so ids of paths could not be searched for the "
            "patient's name: read them"
        )
    return anonymous(handover)


def _check_free(target: Path, formats: list[Format], overwrite: bool) -> dict[str, list[str]]:
    """Refuse to replace what is there unasked, or what others put there; returns the manifest."""
    taken = [item.file for item in formats if (target / item.file).exists()]
    if taken and not overwrite:
        raise OutputError(
            f"{target} holds {', '.join(taken)} already; nothing was changed. Give --overwrite to "
            "replace them, or another --output."
        )
    manifest = _manifest(target)
    for name in taken:
        strange = set(_contents(target / name)) - set(manifest.get(name, []))
        if (target / name).is_dir() and strange:
            raise OutputError(
                f"{target / name} holds {len(strange)} files that no export wrote, such as "
                f"{min(strange)}; nothing was changed. Move them away, or choose another --output."
            )
    return manifest


def _manifest(target: Path) -> dict[str, list[str]]:
    """Read what earlier exports wrote into folders of theirs; nothing where it cannot be read."""
    try:
        values = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        return {str(name): [str(each) for each in files] for name, files in values.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _contents(place: Path) -> list[str]:
    """Names of the files in a folder and below, or none for a file."""
    if not place.is_dir():
        return []
    files = (path for path in place.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(place).as_posix() for path in files)


def _list(before: dict[str, list[str]], names: tuple[str, ...], path: Path) -> None:
    """Write the manifest of a staged export beside its files."""
    made = {name: _contents(path.parent / name) for name in names if (path.parent / name).is_dir()}
    text = json.dumps(before | made, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
