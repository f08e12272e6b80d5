"""The scene: patient millimetres, true diameters, and the same bytes every time."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack
import numpy as np
import pytest

from planner.export.overview.slices import cut_masks
from planner.export.viewer import Scene, build_scene, library, script_policy
from planner.export.viewer.scene import OTHER_OPACITY
from tests.export import toy


@pytest.fixture(scope="module")
def scene() -> Scene:
    return made()


def made() -> Scene:
    anatomy = toy.toy_anatomy()
    masks = cut_masks(anatomy.labels, anatomy.grid)
    return build_scene(toy.toy_ranked()[:3], anatomy, toy.toy_volume(), masks)


def objects(scene: Scene) -> dict[int, dict[str, Any]]:
    found = msgpack.unpackb(zlib.decompress(scene.data))["objects"]
    return {item["id"]: item for item in found}


def points(item: dict[str, Any]) -> Any:
    raw = item["vertices"]
    data = raw["data"] if "data" in raw else zlib.decompress(raw["compressed_data"])
    return np.frombuffer(data, raw["dtype"]).reshape(-1, 3)


def test_the_same_plan_gives_the_same_bytes(scene: Scene) -> None:
    again = made()  # K3D's own counter has moved on by now
    assert again.data == scene.data
    assert again.facts == scene.facts


def test_needles_stand_where_they_are_at_their_diameter(scene: Scene) -> None:
    held = objects(scene)
    for item, fact in zip(toy.toy_ranked()[:3], scene.facts["needles"], strict=True):
        path = item.trajectory
        shaft = points(held[fact["object"]])
        along = (shaft - path.tip) @ path.direction
        beside = np.linalg.norm(shaft - path.tip - along[:, None] * path.direction, axis=1)
        assert beside.max() == pytest.approx(path.needle.radius_mm, abs=1e-3)
        assert along.max() == pytest.approx(0, abs=1e-3)
        ends = points(held[fact["lines"]]).reshape(-1, 2, 3)
        witnesses = [found.witness for found in item.clearances.values()]
        assert ends[:, 1] == pytest.approx(np.array(witnesses), abs=1e-3)


def test_only_the_first_needle_is_chosen(scene: Scene) -> None:
    held = objects(scene)
    opacities = [held[fact["object"]]["opacity"] for fact in scene.facts["needles"]]
    assert opacities == [1.0, OTHER_OPACITY, OTHER_OPACITY]
    assert [held[fact["lines"]]["visible"] for fact in scene.facts["needles"]] == [1, 0, 0]


def test_slices_along_hold_the_needle_and_the_one_across_is_square_to_it(scene: Scene) -> None:
    for item, fact in zip(toy.toy_ranked()[:3], scene.facts["needles"], strict=True):
        path = item.trajectory
        *along, across = fact["planes"]
        for plane in along:
            normal, centre = np.array(plane["normal"]), np.array(plane["centre"])
            for point in (path.bone_entry, path.tip):
                assert (point - centre) @ normal == pytest.approx(0, abs=1e-6)
        assert across["normal"] == pytest.approx(path.direction.tolist())
        length = np.linalg.norm(path.tip - path.bone_entry)
        tip = np.array(across["centre"]) + across["start"] * path.direction
        assert across["start"] == pytest.approx(length)
        assert tip == pytest.approx(path.tip)


def test_cameras_look_from_the_side_they_name(scene: Scene) -> None:
    left = toy.toy_anatomy().frame.axes[:, 0]
    seen = {name: np.array(at).reshape(3, 3) for name, at in scene.facts["cameras"].items()}
    eye, centre, _ = seen["From the patient's left"]
    assert (eye - centre) @ left > 0
    eye, centre, up = seen["From behind"]
    right_of_picture = np.cross(up, eye - centre)
    assert right_of_picture @ left < 0  # from behind, the patient's left is on the left


def test_the_licence_goes_with_the_library_and_policy_names_each_script() -> None:
    found = library()
    assert "MIT License" in found.notice
    assert "Three.js Authors" in found.notice
    assert "--" not in found.notice  # it stands in an HTML comment
    assert len(script_policy(found.scripts).split()) == len(found.scripts)
    assert all("</script" not in text.lower() for text in found.scripts)
    assert len(found.viewer.splitlines()) < 300
