"""slicer: what 3D Slicer needs to find in the files, and what slicerio finds in the label map."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import slicerio

from planner.exchange import FORMATS, Handover, Settings
from planner.exchange.surfaces import segment_surfaces
from planner.export.plan_document import TrajectoryObject
from planner.export.terminology import NEEDLE
from planner.model.anatomy import LABELS
from planner.model.trajectory import OUTER_DIAMETERS_MM
from tests.exchange.meshes import read_ply, skin_in_view, vertices

# What schema 1.0.3 allows, of the parts that are written.
ENUMS = {
    "type": {"Fiducial", "Line", "Angle", "Curve", "ClosedCurve", "Plane", "ROI"},
    "coordinateSystem": {"LPS", "RAS"},
    "coordinateUnits": {"mm", "um"},
}
GLYPHS = {"Sphere3D", "Diamond3D", "Cross2D", "Circle2D", "Vertex2D"}


def with_paths(handover: Handover, paths: list[TrajectoryObject]) -> Handover:
    document = handover.document.model_copy(update={"trajectories": paths, "pairs": []})
    return replace(handover, opened=replace(handover.opened, document=document))


@pytest.fixture(scope="module")
def plan(handover: Handover) -> Handover:
    """The plan, all of whose paths come from a skin that is in view."""
    return with_paths(handover, [skin_in_view(item, 150.0) for item in handover.paths])


@pytest.fixture(scope="module")
def made(plan: Handover, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "slicer"
    FORMATS["slicer"].write(plan, path)
    return path


def markup(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["@schema"].lower().endswith("/markups-schema-v1.0.3.json#")
    assert len(values["markups"]) == 1
    return dict(values["markups"][0])


def test_a_path_is_a_locked_line_from_skin_to_tip(made: Path, plan: Handover) -> None:
    for item in plan.paths:
        line = markup(made / f"{item.rank:02d}-{item.id}.mrk.json")
        assert line["type"] == "Line"
        assert (line["coordinateSystem"], line["coordinateUnits"]) == ("LPS", "mm")
        assert line["locked"] is True
        assert line["fixedNumberOfControlPoints"] is True
        assert line["name"] == f"path {item.rank} {item.id}"
        start, tip = line["controlPoints"]
        assert tuple(start["position"]) == item.skin_entry_mm
        assert tuple(tip["position"]) == item.tip_mm
        assert [start["label"], tip["label"]] == [f"{item.rank} skin entry", f"{item.rank} tip"]
        for point in (start, tip):
            assert point["positionStatus"] == "defined"
            assert point["locked"] is True
            assert f"patient's {item.side}" in point["description"]
            assert plan.document.disclaimer in point["description"]
        assert plan.document.disclaimer in line["description"]


def test_the_measurements_are_those_of_the_plan(made: Path, plan: Handover) -> None:
    for item in plan.paths:
        line = markup(made / f"{item.rank:02d}-{item.id}.mrk.json")
        found = {each["name"]: each for each in line["measurements"]}
        assert len(found) == len(line["measurements"])
        assert all(each["enabled"] for each in found.values())
        ends = [np.array(point["position"]) for point in line["controlPoints"]]
        length = float(np.linalg.norm(ends[1] - ends[0]))
        assert found["length"]["value"] == pytest.approx(length, abs=2e-3)
        assert found["length"]["units"] == "mm"
        canal = found["clearance canal"]
        assert (canal["value"], canal["units"]) == (item.clearance.canal.distance_mm, "mm")
        risk = found["breach probability"]
        assert risk["value"] == pytest.approx(100 * item.breach_probability.any, abs=1e-4)
        assert risk["units"] == "%"
        one = found["breach probability foramina"]["value"]
        assert one == pytest.approx(100 * item.breach_probability.foramina, abs=1e-4)
        for each in found.values():
            assert each["printFormat"] % (each["value"], each["units"])


def test_the_values_are_of_the_kinds_that_the_schema_allows(made: Path) -> None:
    files = sorted(made.glob("*.mrk.json"))
    assert len(files) >= 3
    for path in files:
        item = markup(path)
        for key, allowed in ENUMS.items():
            assert item[key] in allowed
        look = item["display"]
        assert look["glyphType"] in GLYPHS
        assert look["snapMode"] in {"unconstrained", "toVisibleSurface"}
        for key in ("color", "selectedColor"):
            assert len(look[key]) == 3
            assert all(0.0 <= part <= 1.0 for part in look[key])
        for key in ("opacity", "textScale", "glyphSize"):
            assert isinstance(look[key], float)
        for point in item["controlPoints"]:
            assert len(point["position"]) == 3
            assert all(isinstance(part, float) for part in point["position"])
            assert isinstance(point["id"], str)


def test_a_line_is_as_thick_as_its_needle_alone_and_in_the_scene(
    made: Path, plan: Handover
) -> None:
    for item in plan.paths:
        name = f"{item.rank:02d}-{item.id}.mrk.json"
        look = markup(made / name)["display"]
        thick = OUTER_DIAMETERS_MM[item.needle.gauge]
        assert look["useGlyphScale"] is False  # the glyph is in mm then, and the line a part of it
        assert look["lineThickness"] * look["glyphSize"] == pytest.approx(thick)
        assert look["glyphSize"] < thick
        assert look["selectedColor"] == list(NEEDLE)
        data, display = shown(made, name)
        assert data.get("locked") == "1"
        assert display.get("curveLineSizeMode") == "UseLineDiameter"
        assert float(display.get("lineDiameter", "")) == pytest.approx(thick)
        assert display.get("useGlyphScale") == "false"


def test_the_skin_is_not_made_up_where_it_is_not_in_view(
    handover: Handover, tmp_path: Path
) -> None:
    item = handover.paths[0]
    assert item.guidance is not None
    unseen = item.guidance.model_copy(update={"skin_in_view": False, "needle_length_mm": None})
    measures = {**item.measures, "skin_in_view": 0.0}
    hidden = item.model_copy(update={"guidance": unseen, "measures": measures})
    FORMATS["slicer"].write(with_paths(handover, [hidden]), tmp_path / "slicer")
    (path,) = (tmp_path / "slicer").glob("01-*.mrk.json")
    line = markup(path)
    assert tuple(line["controlPoints"][0]["position"]) == item.bone_entry_mm
    assert line["controlPoints"][0]["label"] == "1 bone entry (skin not in view)"
    assert "does not show the skin" in line["description"]
    length = next(each for each in line["measurements"] if each["name"] == "length")
    assert length["value"] == item.intraosseous_length_mm


def test_foramina_are_points_with_level_and_side(made: Path, plan: Handover) -> None:
    points = markup(made / "foramina.mrk.json")
    assert points["type"] == "Fiducial"
    found = {each["label"]: tuple(each["position"]) for each in points["controlPoints"]}
    given = plan.document.anatomy.foramina
    assert found == {f"{item.level} {item.side}": item.centre_mm for item in given}
    assert found["S1 left"][0] > found["S1 right"][0]


def test_slicerio_reads_the_label_map(made: Path, plan: Handover) -> None:
    found = slicerio.read_segmentation(str(made / "anatomy.seg.nrrd"))
    anatomy = plan.opened.anatomy
    np.testing.assert_array_equal(found["voxels"], anatomy.labels)
    lps = np.asarray(found["ijkToLPS"], float)
    np.testing.assert_allclose(lps, anatomy.grid.patient_from_ijk, atol=1e-9)
    values = {each["name"]: each["labelValue"] for each in found["segments"]}
    assert values.items() <= dict(LABELS).items()
    assert set(values) == {item.name for item in segment_surfaces(plan)}


def nodes(folder: Path) -> dict[str, ElementTree.Element]:
    root = ElementTree.parse(folder / "plan.mrml").getroot()
    assert root.tag == "MRML"
    found = {each.get("id", ""): each for each in root}
    assert len(found) == len(root)
    return found


def shown(folder: Path, file: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """Data node and display node of a file of the scene."""
    every = nodes(folder)
    (storage,) = [name for name, each in every.items() if each.get("fileName") == file]
    for each in every.values():
        references = each.get("references", "").split(";")
        if f"storage:{storage}" in references:
            (display,) = [part[8:] for part in references if part.startswith("display:")]
            return each, every[display]
    raise AssertionError(f"no node has {file}")


def test_the_scene_ties_every_file_together_by_relative_names(made: Path) -> None:
    every = nodes(made)
    files = [each.get("fileName") for each in every.values() if each.get("fileName")]
    assert len(set(files)) == len(files)
    there = {path.name for path in made.iterdir()} - {"plan.mrml", "README.txt"}
    assert set(files) == there  # names without a folder, and none that would need an escape
    assert all(name and all(c.isalnum() or c in "._-" for c in name) for name in files)
    for file in files:
        data, display = shown(made, str(file))
        assert display.get("visibility") == "true"
        kind = {".ply": "Model", "json": "Markups", "nrrd": "Segmentation"}[str(file)[-4:]]
        assert data.tag.startswith(kind)
        assert data.get("id", "").startswith(f"vtkMRML{data.tag}Node")
        assert "not for clinical use" in str(data.get("description"))
    storages = [
        each for each in every.values() if each.tag in ("ModelStorage", "MarkupsJsonStorage")
    ]
    assert all(each.get("coordinateSystem") == "LPS" for each in storages)


def test_the_models_of_the_scene_lie_in_lps(made: Path, plan: Handover) -> None:
    for surface in segment_surfaces(plan):
        path = made / f"{surface.name}.ply"
        assert b"comment SPACE=LPS\n" in path.read_bytes()[:300]
        found = vertices(read_ply(path))
        np.testing.assert_allclose(found.mean(axis=0), surface.vertices.mean(axis=0), atol=1e-3)


def test_the_camera_stands_behind_the_patient(made: Path, plan: Handover) -> None:
    (camera,) = [each for each in nodes(made).values() if each.tag == "Camera"]
    place, focus = (
        np.array([float(part) for part in str(camera.get(key)).split()])
        for key in ("position", "focalPoint")
    )
    middle = plan.opened.anatomy.surface.vertices.mean(axis=0)
    np.testing.assert_allclose(focus * (-1, -1, 1), middle, atol=1e-2)
    towards = (focus - place) / np.linalg.norm(focus - place)
    np.testing.assert_allclose(towards, (0, 1, 0), atol=1e-6)  # RAS: to the front
    assert camera.get("viewUp") == "0 0 1"


def test_the_ct_is_named_and_not_among_the_files(made: Path, plan: Handover) -> None:
    text = (made / "README.txt").read_text(encoding="utf-8")
    assert plan.document.ct.series_instance_uid in text
    assert not [each for each in nodes(made).values() if "Volume" in each.tag]
    assert {path.suffix for path in made.iterdir()} == {".json", ".mrml", ".nrrd", ".ply", ".txt"}


def test_rejected_paths_are_neither_file_nor_node(reviewed: Path, tmp_path: Path) -> None:
    handover = Handover.of(reviewed, None, Settings(reproducible=True))
    FORMATS["slicer"].write(handover, tmp_path / "slicer")
    gone = handover.rejected[0]
    for path in (tmp_path / "slicer").glob("*"):
        assert gone not in path.name
        if path.suffix in (".json", ".mrml", ".txt"):
            assert gone not in path.read_text(encoding="utf-8")
    lines = [each for each in nodes(tmp_path / "slicer").values() if each.tag == "MarkupsLine"]
    assert len(lines) == 1


def test_odd_ids_make_a_scene_that_parses(handover: Handover, tmp_path: Path) -> None:
    item = handover.paths[0].model_copy(update={"id": 'a\0<b>&"%2e;\n/ü', "rank": 1})
    FORMATS["slicer"].write(with_paths(handover, [item]), tmp_path / "slicer")
    data, _ = shown(tmp_path / "slicer", "01-a_b_2e.mrk.json")
    assert data.get("name") == 'path 1 a_<b>&"%2e;_/ü'


def test_the_same_plan_gives_the_same_bytes(made: Path, plan: Handover, tmp_path: Path) -> None:
    FORMATS["slicer"].write(replace(plan), tmp_path / "again")
    for path in made.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name
