"""The scene of 3D Slicer (.mrml) that ties the files of an export together.

Files are named relative to the scene, and only by characters that need no escape in it. Storage
nodes say LPS: a scene that leaves it out is taken for an old one, whose models are RAS. The camera
is the scene's own and so is RAS: it looks at the sacrum from behind, head up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from planner.export.terminology import Colour
from planner.geometry.grid import Float

MADE_FOR = "Slicer 5.6.2"
"""Slicer reads older scenes by older rules; this is the version whose rules are followed."""
CAMERA_MM = 550.0


class Scene:
    """A scene while it grows."""

    def __init__(self, says: str) -> None:
        self.root = ElementTree.Element("MRML", version=MADE_FOR, userTags="")
        self.says = says
        self._count: dict[str, int] = {}

    def camera(self, centre: Float) -> None:
        """Look at a (3,) point, patient LPS, mm, from behind."""
        focus = np.asarray(centre, float) * (-1.0, -1.0, 1.0)
        place = focus + (0.0, -CAMERA_MM, 0.0)
        self._node(
            "Camera",
            "vtkMRMLCameraNode",
            name="Camera",
            position=_numbers(place),
            focalPoint=_numbers(focus),
            viewUp="0 0 1",
            parallelProjection="false",
            viewAngle="30",
            activetag="vtkMRMLViewNode1",
            layoutName="1",
        )

    def model(self, name: str, file: str, colour: Colour, opacity: float) -> None:
        """Add a surface."""
        storage = self._storage("ModelStorage", "vtkMRMLModelStorageNode", file)
        display = self._node(
            "ModelDisplay",
            "vtkMRMLModelDisplayNode",
            color=_numbers(colour),
            opacity=f"{opacity:g}",
            visibility="true",
            visibility2D="false",  # the segmentation is what slices show
            visibility3D="true",
            backfaceCulling="false",
            scalarVisibility="false",
        )
        self._data("Model", "vtkMRMLModelNode", name, display, storage, self.says)

    def segmentation(self, name: str, file: str) -> None:
        """Add a segmentation, for the slices only: its surfaces are models of their own."""
        storage = self._node("SegmentationStorage", "vtkMRMLSegmentationStorageNode", fileName=file)
        display = self._node(
            "SegmentationDisplay",
            "vtkMRMLSegmentationDisplayNode",
            visibility="true",
            visibility2D="true",
            visibility3D="false",
            Opacity2DFill="0.3",
            Opacity2DOutline="1",
        )
        self._data("Segmentation", "vtkMRMLSegmentationNode", name, display, storage, self.says)

    def markup(
        self, kind: str, name: str, file: str, says: str, look: dict[str, Any], diameter_mm: float
    ) -> None:
        """Add a markup; kind: Line or Fiducial. look: as in its file. diameter_mm: 0 for points."""
        storage = self._storage("MarkupsJsonStorage", "vtkMRMLMarkupsJsonStorageNode", file)
        values = {key: _text(value) for key, value in look.items()}
        if diameter_mm > 0:
            values |= {"curveLineSizeMode": "UseLineDiameter", "lineDiameter": f"{diameter_mm:g}"}
        display = self._node("MarkupsDisplay", "vtkMRMLMarkupsDisplayNode", **values)
        # Unlike other flags this one is read as a number: "true" would be 0, which is unlocked.
        self._data(f"Markups{kind}", f"vtkMRMLMarkups{kind}Node", name, display, storage, says, "1")

    def write(self, path: Path) -> None:
        """Write the scene."""
        ElementTree.indent(self.root, " ")
        text = ElementTree.tostring(self.root, encoding="utf-8", xml_declaration=True)
        path.write_bytes(text + b"\n")

    def _storage(self, tag: str, kind: str, file: str) -> str:
        return self._node(tag, kind, fileName=file, coordinateSystem="LPS")

    def _data(
        self,
        tag: str,
        kind: str,
        name: str,
        display: str,
        storage: str,
        says: str,
        locked: str = "",
    ) -> None:
        values = {"locked": locked} if locked else {}
        references = f"display:{display};storage:{storage};"
        self._node(tag, kind, name=name, description=says, references=references, **values)

    def _node(self, tag: str, kind: str, **values: str) -> str:
        number = self._count[kind] = self._count.get(kind, 0) + 1
        node = f"{kind}{number}"
        ElementTree.SubElement(self.root, tag, {"id": node, **values})
        return node


def _numbers(values: Any) -> str:
    return " ".join(f"{float(value):.6g}" for value in values)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _numbers(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
