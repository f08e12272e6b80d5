"""From DICOM files to checked stacks, and from the chosen stack to a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UnsuitableCtError
from planner.model.volume import CtSource, Volume
from planner.reading import limits
from planner.reading.choose import choose
from planner.reading.fingerprint import fingerprint
from planner.reading.headers import SliceHeader, UnreadableDicomError, read_headers
from planner.reading.pixels import read_stack, same_pixels
from planner.reading.source import MOST_FILES, Source
from planner.reading.stacks import Stack, build_stacks

# As many as files are read; frames of multi-frame files count as well.
MOST_PLANES = MOST_FILES
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Findings:
    """What the DICOM files of a source hold.

    unreadable: relative names and reasons of DICOM files whose header does not parse.
    without_image: DICOM files that hold no image (DICOMDIR, RTSTRUCT, reports).
    """

    stacks: tuple[Stack, ...]
    unreadable: tuple[str, ...]
    without_image: int


def find_stacks(source: Source, progress: Progress | None = None) -> Findings:
    """Read the headers of all DICOM files and build their stacks."""
    headers: list[SliceHeader] = []
    unreadable = [f"{path.name} ({_why_lost(path)})" for path in source.lost]
    without_image = 0
    for number, path in enumerate(source.dicom, 1):
        try:
            planes = read_headers(path)
        except UnreadableDicomError as error:
            unreadable.append(f"{path.name} ({error})")
            continue
        images = [p for p in planes if p.frames]
        without_image += not images
        headers += images
        if len(headers) > MOST_PLANES:
            raise UnsuitableCtError(
                f"{source.given} holds more than {MOST_PLANES} images; give the folder of one "
                "examination"
            )
        if progress is not None:
            progress("reading headers", number / len(source.dicom))
    return Findings(build_stacks(headers, same_pixels), tuple(unreadable), without_image)


def _why_lost(path: Path) -> str:
    """Why a file that is named like a slice is none."""
    if path.stat().st_size == 0:
        return "named like a slice, and empty"
    return "named like a slice, and no DICOM file: damaged or packed"


def read_series(source: Source, series: str | None, progress: Progress | None) -> Volume:
    """Read the chosen series of a source; raises UnsuitableCtError."""
    findings = find_stacks(source, progress)
    refuse_unreadable(source, findings)
    if not findings.stacks:
        raise UnsuitableCtError(
            f"{source.given} holds {len(source.dicom)} DICOM files without a single image; give "
            "the folder that holds the CT"
        )
    stack, why, warnings = choose(findings.stacks, series)
    values = read_stack(stack, progress)
    grid = stack.grid()
    head = stack.first
    notes = list(stack.notes)
    if values.min() > limits.AIR_HU:
        notes.append(
            f"no value lies below {limits.AIR_HU} HU, so the field "
            "holds no air and probably no skin"
        )
    return Volume(
        values,
        grid,
        CtSource(
            kind="dicom",
            sha256=fingerprint(values, grid),
            study_instance_uid=head.study_uid,
            series_instance_uid=head.series_uid,
            series_description=head.description,
            convolution_kernel=head.kernel,
            patient_position=head.patient_position,
            slice_thickness_mm=head.thickness_mm,
            choice=why,
        ),
        (*warnings, *notes),
    )


def refuse_unreadable(source: Source, findings: Findings) -> None:
    """Refuse a source with DICOM files that do not parse: each may be a slice of the CT."""
    if findings.unreadable:
        raise UnsuitableCtError(
            f"{len(findings.unreadable)} of {len(source.dicom) + len(source.lost)} DICOM files in "
            f"{source.given} "
            f"cannot be read and may be slices of the CT, such as {findings.unreadable[0]}; copy "
            "them again, or take them away if they belong to something else"
        )
