"""glb: the whole scene in one file of glTF 2.0, for browsers, headsets and slides.

glTF is in metres, right-handed, y up, and what faces the viewer looks along +z. So the one root
node turns and scales: glTF x is the patient's left, y his head, z his front, 1 mm is 0.001. The
vertices beneath it are left in patient LPS, mm, single precision; who reads the accessors without
the nodes has those. VTK's own writers of glTF know no units, no names of objects and no root node
(and one gives JSON the name .glb), so the container is packed here.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from planner.exchange.file_names import title
from planner.exchange.handover import Handover
from planner.exchange.mesh_folder import needle_words
from planner.exchange.surfaces import Surface, needle_surface, segment_surfaces
from planner.export.terminology import COLOURS, NEEDLE, Colour

GLTF_FROM_LPS = (
    (0.001, 0.0, 0.0, 0.0),  # left stays x
    (0.0, 0.0, 0.001, 0.0),  # head is up: y
    (0.0, -0.001, 0.0, 0.0),  # front, which is -y of LPS, faces the viewer: z
    (0.0, 0.0, 0.0, 1.0),
)
"""(4, 4) of the root node: from patient LPS, mm, to glTF's metres."""
OPACITY = {"sacrum": 0.45, "hip": 0.25, "l5": 0.25, "facet": 0.6}
"""Bones are seen through, so that channels and needles in them are seen."""

FLOAT, UNSIGNED = 5126, 5125
VERTICES, INDICES = 34962, 34963
MAGIC, VERSION, JSON_CHUNK, BINARY_CHUNK = b"glTF", 2, b"JSON", b"BIN\0"


def glb(handover: Handover, path: Path) -> None:
    """Write one file with every segment and every path that is handed over."""
    scene = _Scene(handover)
    for surface in segment_surfaces(handover):
        kind = surface.name.split("_")[0]
        scene.add(surface.name, surface, COLOURS[surface.name], OPACITY.get(kind, 1.0), {})
    for item in handover.paths:
        extras = {"id": item.id, "rank": item.rank, "side": item.side, "drawn": needle_words(item)}
        scene.add(f"path {title(item)}", needle_surface(item), NEEDLE, 1.0, extras)
    path.write_bytes(scene.packed())


class _Scene:
    """The lists of a glTF file while they grow."""

    def __init__(self, handover: Handover) -> None:
        matrix = np.array(GLTF_FROM_LPS).T.ravel().tolist()  # glTF writes column by column
        document = handover.document
        self.binary = bytearray()
        self.nodes: list[dict[str, Any]] = [
            {"name": "patient LPS, mm", "matrix": matrix, "children": []}
        ]
        self.tree: dict[str, Any] = {
            "asset": {
                "version": "2.0",
                "generator": f"planner {document.provenance.version}",
                "extras": {
                    "disclaimer": document.disclaimer,
                    "axes": "x patient left, y head, z front, metres; vertices are LPS in mm",
                    "frame_of_reference_uid": document.frame.frame_of_reference_uid,
                },
            },
            "scene": 0,
            "scenes": [{"name": "plan", "nodes": [0]}],
            "nodes": self.nodes,
            "meshes": [],
            "materials": [],
            "accessors": [],
            "bufferViews": [],
        }

    def add(
        self, name: str, surface: Surface, colour: Colour, opacity: float, extras: dict[str, Any]
    ) -> None:
        """Add a surface as a node of its own under the root."""
        vertices = np.ascontiguousarray(surface.vertices, "<f4")
        accessor: dict[str, Any] = {"componentType": FLOAT, "count": len(vertices), "type": "VEC3"}
        accessor["min"] = vertices.min(axis=0).tolist()
        accessor["max"] = vertices.max(axis=0).tolist()
        position = self._accessor(vertices.tobytes(), VERTICES, accessor)
        corners = np.ascontiguousarray(surface.faces, "<u4").ravel()
        accessor = {"componentType": UNSIGNED, "count": len(corners), "type": "SCALAR"}
        indices = self._accessor(corners.tobytes(), INDICES, accessor)
        material: dict[str, Any] = {
            "name": name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [*_linear(colour), opacity],
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        }
        if opacity < 1.0:
            material["alphaMode"] = "BLEND"
        self.tree["materials"].append(material)
        primitive = {
            "attributes": {"POSITION": position},
            "indices": indices,
            "material": len(self.tree["materials"]) - 1,
        }
        self.tree["meshes"].append({"name": name, "primitives": [primitive]})
        node: dict[str, Any] = {"name": name, "mesh": len(self.tree["meshes"]) - 1}
        if extras:
            node["extras"] = extras
        self.nodes[0]["children"].append(len(self.nodes))
        self.nodes.append(node)

    def packed(self) -> bytes:
        """Pack the container: header, JSON chunk, binary chunk, each to a multiple of 4 bytes."""
        self.tree["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.tree, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 4)
        body = _chunk(JSON_CHUNK, text) + _chunk(BINARY_CHUNK, bytes(self.binary))
        return MAGIC + struct.pack("<II", VERSION, 12 + len(body)) + body

    def _accessor(self, data: bytes, target: int, accessor: dict[str, Any]) -> int:
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.tree["bufferViews"].append({**view, "target": target})
        self.binary += data  # both kinds are words of four bytes, so that all stay aligned
        views = len(self.tree["bufferViews"])
        self.tree["accessors"].append({"bufferView": views - 1, **accessor})
        return len(self.tree["accessors"]) - 1


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + kind + data


def _linear(colour: Colour) -> list[float]:
    """Turn a colour of the screen (sRGB) into the linear one that glTF's factors are."""
    return [round(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4, 4) for c in colour]
