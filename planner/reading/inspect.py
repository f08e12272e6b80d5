"""What `planner inspect` shows: every stack, its geometry, and whether it can be planned on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Float
from planner.reading import limits
from planner.reading.choose import choose
from planner.reading.images import lattice_problems, load_image, to_hu, value_problems
from planner.reading.series import find_stacks
from planner.reading.source import Source, image_kind, opened
from planner.reading.stacks import Stack

# Words for the two directions of each patient axis, LPS: towards plus, towards minus.
TOWARDS = (("left", "right"), ("posterior", "anterior"), ("head", "feet"))
# A direction within this of a patient axis (cosine of 1 degree) is not called oblique.
STRAIGHT = 0.99985


@dataclass(frozen=True)
class SeriesReport:
    """One stack of a series, or one volume file.

    uid: SeriesInstanceUID; label: the same, with "#n" where a series holds several stacks; either
    can be given to `read_ct` as the series. size: voxels along i, j, k; spacing_mm: the same order.
    orientation: where i, j and k point in the patient. problems forbid planning, notes do not.
    """

    uid: str
    label: str
    description: str
    modality: str
    kernel: str
    slices: int
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    extent_mm: float
    orientation: str
    tilt_deg: float
    frame_of_reference_uid: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    usable: bool
    chosen: bool
    why: str


def inspect_ct(path: Path | str) -> tuple[SeriesReport, ...]:
    """List every stack behind a path, the chosen one first.

    Raises UnsuitableCtError only where there is nothing to list.
    """
    with opened(Path(path)) as source:
        if source.image is not None:
            reports: tuple[SeriesReport, ...] = (_image_report(source.image, source.image_name),)
        else:
            reports = _dicom_reports(source)
        return tuple(replace(r, notes=(*source.notes, *r.notes)) for r in reports)


def _dicom_reports(source: Source) -> tuple[SeriesReport, ...]:
    findings = find_stacks(source)
    if not findings.stacks:
        broken = f" ({len(findings.unreadable)} cannot be read)" if findings.unreadable else ""
        raise UnsuitableCtError(
            f"{source.given} holds {len(source.dicom)} DICOM files without a readable "
            f"image{broken}; give the folder that holds the CT"
        )
    unreadable = tuple(
        f"a DICOM file of the folder cannot be read and may be one of its slices: {name}"
        for name in findings.unreadable
    )
    chosen: str | None = None
    try:
        best, why, _ = choose(findings.stacks)
        chosen = None if unreadable else best.label
    except UnsuitableCtError as error:
        why = str(error)
    reports = [_report(stack, unreadable, stack.label == chosen, why) for stack in findings.stacks]
    return tuple(sorted(reports, key=lambda r: (not r.chosen, not r.usable, -r.slices, r.label)))


def _report(stack: Stack, unreadable: tuple[str, ...], chosen: bool, why: str) -> SeriesReport:
    problems = (*stack.problems, *unreadable)
    shape = stack.grid().shape if stack.has_geometry else stack.shape
    rivals = (
        (f"shows the same place as {', '.join(stack.rivals)} at another time",)
        if stack.rivals
        else ()
    )
    return SeriesReport(
        uid=stack.first.series_uid,
        label=stack.label,
        description=stack.first.description,
        modality=stack.first.modality,
        kernel=stack.first.kernel,
        slices=len(stack.planes),
        size=shape,
        spacing_mm=_three(stack.spacing_mm),
        extent_mm=stack.extent_mm,
        orientation=orientation_words(stack.direction) if stack.has_geometry else "unknown",
        tilt_deg=stack.tilt_deg,
        frame_of_reference_uid=stack.first.frame_of_reference_uid,
        problems=problems,
        notes=(*stack.notes, *rivals),
        usable=not problems,
        chosen=chosen,
        why=why if chosen else _why_not(stack, problems, why),
    )


def _why_not(stack: Stack, problems: tuple[str, ...], why: str) -> str:
    if problems:
        return "cannot be planned on: " + "; ".join(problems)
    return f"can be planned on; {why}"


def _image_report(path: Path, shown: str) -> SeriesReport:
    image = load_image(path, shown)
    grid = image.grid
    problems = tuple(lattice_problems(image))
    if not problems:
        problems = tuple(value_problems(to_hu(image)))
    return SeriesReport(
        uid="",
        label="",
        description=image_kind(path),
        modality="",
        kernel="",
        slices=grid.shape[limits.cranio_caudal_axis(grid.direction)],
        size=grid.shape,
        spacing_mm=_three(grid.spacing_mm),
        extent_mm=limits.cranio_caudal_extent_mm(grid.shape, grid.spacing_mm, grid.direction),
        orientation=orientation_words(grid.direction),
        tilt_deg=0.0,
        frame_of_reference_uid="",
        problems=problems,
        notes=(*image.notes, *limits.size_notes(grid.spacing_mm)),
        usable=not problems,
        chosen=not problems,
        why="the only volume given" if not problems else "; ".join(problems),
    )


def orientation_words(direction: Float) -> str:
    """Say where i, j and k point, such as "left, posterior, head".

    direction: (3, 3) columns, patient LPS.
    """
    words = []
    for axis in direction.T:
        main = int(np.argmax(np.abs(axis)))
        word = TOWARDS[main][0 if axis[main] > 0 else 1]
        words.append(word if abs(axis[main]) >= STRAIGHT else f"{word} (oblique)")
    return ", ".join(words)


def _three(values: Float) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
