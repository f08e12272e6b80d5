"""slicer: a folder that 3D Slicer opens with its scene file, nothing to adjust.

The CT is not among the files, nor named by the scene. A scene refers to files by path, which would
break, or show another patient's CT, once the folder is handed on; a copy would hand on the
patient's images; and the slices of a folder that a scene names are read without the checks that
Slicer's DICOM module makes of spacing and tilt. Load the CT by that module: everything here is in
its coordinates.
"""

from __future__ import annotations

from pathlib import Path

from planner.exchange.file_names import file_stem, title
from planner.exchange.handover import Handover
from planner.exchange.ply import write_ply
from planner.exchange.slicer_markups import (
    description,
    foramina_display,
    path_display,
    write_foramina,
    write_line,
)
from planner.exchange.slicer_scene import Scene
from planner.exchange.surfaces import segment_surfaces
from planner.export.segmentation_nrrd import FILE_NAME as ANATOMY
from planner.export.segmentation_nrrd import write_anatomy
from planner.export.terminology import COLOURS

SCENE = "plan.mrml"
FORAMINA = "foramina.mrk.json"
README = "README.txt"
OPACITY = {"sacrum": 0.45, "hip": 0.2, "l5": 0.2, "facet": 0.6}
"""Bones are seen through, so that channels and needles in them are seen."""


def slicer(handover: Handover, path: Path) -> None:
    """Make the folder: scene, a line per path, foramina, label map and surfaces."""
    path.mkdir()
    document, anatomy = handover.document, handover.opened.anatomy
    scene = Scene(document.disclaimer)
    scene.camera(anatomy.surface.vertices.mean(axis=0))
    write_anatomy(anatomy, path / ANATOMY)
    scene.segmentation("anatomy", ANATOMY)
    for surface in segment_surfaces(handover):
        file = f"{surface.name}.ply"
        write_ply(surface, path / file)
        opacity = OPACITY.get(surface.name.split("_")[0], 1.0)
        scene.model(surface.name, file, COLOURS[surface.name], opacity)
    if document.anatomy.foramina:
        write_foramina(document, path / FORAMINA)
        look = foramina_display()
        scene.markup("Fiducial", "foramina", FORAMINA, document.disclaimer, look, 0.0)
    for item in handover.paths:
        file = f"{file_stem(item)}.mrk.json"
        write_line(item, document, path / file)
        says, name = description(item, document), f"path {title(item)}"
        diameter = item.needle.outer_diameter_mm
        scene.markup("Line", name, file, says, path_display(item), diameter)
    scene.write(path / SCENE)
    (path / README).write_text(_readme(handover), encoding="utf-8")


def _readme(handover: Handover) -> str:
    ct = handover.document.ct
    if ct.series_instance_uid:
        where = f"the series {ct.series_instance_uid} by Slicer's DICOM module"
    else:
        where = f"the volume that was planned on ({ct.kind or 'kind unknown'})"
    lines = [
        handover.document.disclaimer,
        "",
        f"Open {SCENE} in 3D Slicer (5.0 or newer). Then load the CT, which is not in this folder:",
        f"{where}.",
        "All files are in its patient coordinates; place, turn and scale nothing. Open the scene",
        "first: opening a scene closes what was open before.",
        "",
        "Each path is a locked line from the skin to the tip, as thick as its needle; where the CT",
        "does not show the skin, from the bone to the tip. Measurements other than the length are",
        "those of the plan: they do not follow a line that is moved.",
    ]
    return "\n".join(lines) + "\n"
