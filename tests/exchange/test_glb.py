"""glb, read back by VTK's reader of glTF, which applies the nodes."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vtk

from planner.exchange import FORMATS, Handover
from planner.exchange.glb import GLTF_FROM_LPS
from planner.exchange.surfaces import needle_surface, segment_surfaces
from planner.geometry.grid import Float
from tests.exchange.meshes import bad_edges, flux_mm3, vertices, volume_mm3


@pytest.fixture(scope="module")
def file(handover: Handover, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "plan.glb"
    FORMATS["glb"].write(handover, path)
    return path


@pytest.fixture(scope="module")
def tree(file: Path) -> dict:
    data = file.read_bytes()
    magic, version, length, size, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    assert size % 4 == 0
    assert data[20 + size + 4 : 20 + size + 8] == b"BIN\0"
    return json.loads(data[20 : 20 + size])


def pieces(path: Path) -> list[vtk.vtkPolyData]:
    reader = vtk.vtkGLTFReader()
    reader.SetFileName(str(path))
    reader.Update()
    found, walk = [], reader.GetOutput().NewIterator()
    walk.InitTraversal()
    while not walk.IsDoneWithTraversal():
        found.append(walk.GetCurrentDataObject())
        walk.GoToNextItem()
    return found


def in_patient(points_gltf: Float) -> Float:
    """The inverse that the axes promise, spelt out: left, head and front, in metres."""
    x, y, z = points_gltf.T
    return 1000.0 * np.column_stack([x, -z, y])


def test_every_surface_comes_back_in_metres_with_the_head_up(
    file: Path, handover: Handover
) -> None:
    wanted = [*segment_surfaces(handover), *(needle_surface(item) for item in handover.paths)]
    found = pieces(file)
    assert len(found) == len(wanted)
    for piece, surface in zip(found, wanted, strict=True):
        back = in_patient(vertices(piece))
        np.testing.assert_allclose(back, surface.vertices, atol=2e-3)
        assert bad_edges(piece) == 0, surface.name
        assert flux_mm3(piece) > 0, surface.name  # turned and scaled, not mirrored
        assert volume_mm3(piece) * 1e6 == pytest.approx(surface.volume_ml, rel=1e-2)


def test_the_root_turns_and_scales_but_never_mirrors(tree: dict) -> None:
    matrix = np.array(tree["nodes"][0]["matrix"]).reshape(4, 4).T
    np.testing.assert_array_equal(matrix, np.array(GLTF_FROM_LPS))
    turn = matrix[:3, :3] * 1000.0
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    head, left, front = (0, 0, 1), (1, 0, 0), (0, -1, 0)
    np.testing.assert_allclose(turn @ head, (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(turn @ left, (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(turn @ front, (0, 0, 1), atol=1e-12)


def test_nodes_are_named_and_say_what_they_are(tree: dict, handover: Handover) -> None:
    nodes = tree["nodes"]
    assert tree["scenes"][tree["scene"]]["nodes"] == [0]
    assert nodes[0]["children"] == list(range(1, len(nodes)))
    paths = [f"path {item.rank} {item.id}" for item in handover.paths]
    segments = [item.name for item in segment_surfaces(handover)]
    assert [node["name"] for node in nodes[1:]] == segments + paths
    for node, item in zip(nodes[1 + len(segments) :], handover.paths, strict=True):
        assert node["extras"]["side"] == item.side
        assert node["extras"]["id"] == item.id
    extras = tree["asset"]["extras"]
    assert extras["disclaimer"] == handover.document.disclaimer
    uid = handover.document.frame.frame_of_reference_uid
    assert extras["frame_of_reference_uid"] == uid


def test_bounds_and_places_are_those_of_the_bytes(tree: dict, file: Path) -> None:
    data = file.read_bytes()
    size = struct.unpack("<I", data[12:16])[0]
    binary = data[20 + size + 8 :]
    assert len(binary) == tree["buffers"][0]["byteLength"]
    for accessor in tree["accessors"]:
        view = tree["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        part = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        if accessor["type"] == "VEC3":
            points = np.frombuffer(part, "<f4").reshape(-1, 3)
            assert len(points) == accessor["count"]
            assert points.min(axis=0).tolist() == accessor["min"]
            assert points.max(axis=0).tolist() == accessor["max"]
        else:
            assert len(np.frombuffer(part, "<u4")) == accessor["count"]


def test_the_same_plan_gives_the_same_bytes(file: Path, handover: Handover, tmp_path: Path) -> None:
    FORMATS["glb"].write(replace(handover), tmp_path / "again.glb")
    assert (tmp_path / "again.glb").read_bytes() == file.read_bytes()


def test_any_id_can_be_a_name(handover: Handover, tmp_path: Path) -> None:
    item = handover.paths[0].model_copy(update={"id": 'a"\0/ü', "rank": 1})
    document = handover.document.model_copy(update={"trajectories": [item], "pairs": []})
    odd = replace(handover, opened=replace(handover.opened, document=document))
    FORMATS["glb"].write(odd, tmp_path / "odd.glb")
    assert len(pieces(tmp_path / "odd.glb")) == len(segment_surfaces(odd)) + 1
