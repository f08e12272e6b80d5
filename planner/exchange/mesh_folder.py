"""The folders of stl and ply: one file per segment and per path, and a README that says the frame.

All points are patient LPS, mm; nothing is moved, mirrored or scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from planner.exchange.file_names import file_stem, title
from planner.exchange.handover import Handover
from planner.exchange.surfaces import (
    THINNED_MM,
    Surface,
    needle_surface,
    segment_surfaces,
)
from planner.export.flat import skin_shown
from planner.export.plan_document import TrajectoryObject

README = "README.txt"
WriteSurface = Callable[[Surface, Path], None]


def write_meshes(handover: Handover, path: Path, suffix: str, write: WriteSurface) -> None:
    """Make the folder path: every segment, then every path that is handed over."""
    path.mkdir()
    segments = segment_surfaces(handover)
    for item in segments:
        write(item, path / f"{item.name}{suffix}")
    for needle in handover.paths:
        write(needle_surface(needle), path / f"{file_stem(needle)}{suffix}")
    text = readme(handover, segments, suffix)
    (path / README).write_text(text, encoding="utf-8")


def readme(handover: Handover, segments: tuple[Surface, ...], suffix: str) -> str:
    """Say what the files of a folder are, in which frame, and how exact."""
    document = handover.document
    lines = [
        document.disclaimer,
        "",
        "Points are in the patient's coordinates of DICOM (LPS): x to the patient's left, y to the",
        "back, z to the head, in millimetres. Nothing is moved, mirrored or scaled.",
        f"Frame of reference: {document.frame.frame_of_reference_uid or 'unknown'}",
        f"CT series: {document.ct.series_instance_uid or 'unknown'}",
        "",
        f"Thinning moved no point by more than {THINNED_MM:g} mm; it took how many triangles from",
        "the smooth surface and moved it by how much, and which volume is inside:",
        "",
    ]
    for item in segments:
        lines.append(
            f"{item.name}{suffix}: {item.smooth_faces} to {len(item.faces)} triangles, "
            f"{item.thinned_mm:.3f} mm, {item.volume_ml:.2f} ml (voxels: {item.voxels_ml:.2f} ml)"
        )
    lines += ["", "Needles are cylinders of their outer diameter without a bevel:", ""]
    for needle in handover.paths:
        lines.append(f"{file_stem(needle)}{suffix}: path {title(needle)}, {needle_words(needle)}")
    if not handover.paths:
        lines.append("none: no path is handed over")
    return "\n".join(lines) + "\n"


def needle_words(item: TrajectoryObject) -> str:
    """Say how long and thick a needle is drawn, and from where."""
    needle = f"{item.needle.gauge}, {item.needle.outer_diameter_mm:g} mm thick"
    length = None if item.guidance is None else item.guidance.needle_length_mm
    if not skin_shown(item):
        return f"{needle}, from the bone entry to the tip: the CT does not show the skin"
    if length is None:
        return f"{needle}, from the skin to the tip: no listed needle's length is known to reach"
    return f"{needle}, from the hub to the tip, {length:g} mm long"
