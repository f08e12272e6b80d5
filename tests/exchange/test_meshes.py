"""stl and ply, read back by VTK: where the surfaces lie, that they are closed, what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.errors import OutputError
from planner.exchange import FORMATS, Handover, Settings, export_plan
from planner.exchange.mesh_folder import README, needle_words
from planner.exchange.surfaces import needle_end, segment_surfaces
from tests.exchange.meshes import (
    assert_is_cylinder,
    bad_edges,
    flux_mm3,
    read_ply,
    read_stl,
    skin_in_view,
    vertices,
    volume_mm3,
)

READ = {"stl": read_stl, "ply": read_ply}


@pytest.fixture(scope="module", params=["stl", "ply"])
def made(request, handover: Handover, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("meshes") / request.param
    FORMATS[request.param].write(handover, folder)
    return request.param, folder


def test_segments_come_back_closed_and_in_place(made, handover: Handover) -> None:
    kind, folder = made
    for surface in segment_surfaces(handover):
        data = READ[kind](folder / f"{surface.name}.{kind}")
        assert bad_edges(data) == 0, surface.name
        assert data.GetNumberOfPolys() == len(surface.faces)
        assert volume_mm3(data) == pytest.approx(1000.0 * surface.volume_ml, rel=1e-3)
        assert flux_mm3(data) > 0
        found, given = vertices(data), surface.vertices
        np.testing.assert_allclose(found.min(axis=0), given.min(axis=0), atol=1e-3)
        np.testing.assert_allclose(found.max(axis=0), given.max(axis=0), atol=1e-3)
    left = vertices(READ[kind](folder / f"hip_left.{kind}")).mean(axis=0)
    right = vertices(READ[kind](folder / f"hip_right.{kind}")).mean(axis=0)
    assert left[0] > right[0] + 50.0  # LPS: x grows to the patient's left


def test_needles_come_back_from_tip_to_hub(made, handover: Handover) -> None:
    kind, folder = made
    for item in handover.paths:
        data = READ[kind](folder / f"{item.rank:02d}-{item.id}.{kind}")
        assert bad_edges(data) == 0
        assert flux_mm3(data) > 0
        assert_is_cylinder(vertices(data), needle_end(item), item.tip_mm, item.needle.gauge)


def test_the_frame_is_said_in_every_file_and_beside(made, handover: Handover) -> None:
    kind, folder = made
    for path in folder.glob(f"*.{kind}"):
        head = path.read_bytes()[:400]
        assert b"SPACE=LPS" in head[: 80 if kind == "stl" else 400]
        assert b"UNIT=mm" in head
        assert b"not for clinical use" in head
        assert kind == "ply" or not head.startswith(b"solid")
    text = (folder / README).read_text(encoding="utf-8")
    assert text.startswith(handover.document.disclaimer)
    assert "(LPS): x to the patient's left" in text
    assert handover.document.ct.series_instance_uid in text
    for surface in segment_surfaces(handover):
        assert f"{len(surface.faces)} triangles, {surface.thinned_mm:.3f} mm" in text
    names = {path.name for path in folder.iterdir()}
    told = {line.partition(":")[0] for line in text.splitlines() if f".{kind}: " in line}
    assert told == names - {README}


def test_the_same_plan_gives_the_same_bytes(made, handover: Handover, tmp_path: Path) -> None:
    kind, folder = made
    FORMATS[kind].write(replace(handover), tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_rejected_paths_are_not_among_the_files(reviewed: Path, tmp_path: Path) -> None:
    handover = Handover.of(reviewed, None, Settings(reproducible=True))
    FORMATS["stl"].write(handover, tmp_path / "stl")
    plan = json.loads((reviewed / "plan.json").read_text(encoding="utf-8"))
    needles = sorted(path.name for path in (tmp_path / "stl").glob("[0-9]*"))
    assert needles == [f"01-{plan['trajectories'][0]['id']}.stl"]
    text = (tmp_path / "stl" / README).read_text(encoding="utf-8")
    assert plan["trajectories"][1]["id"] not in text


def test_a_path_rejected_since_the_last_export_is_gone_from_the_folder(folder: Path) -> None:
    export_plan(folder, ["ply"])
    path = folder / "plan.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    second = f"02-{values['trajectories'][1]['id']}.ply"
    assert (folder / "export" / "ply" / second).exists()
    values["trajectories"][1]["review"] = {"verdict": "rejected", "origin": "planned"}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(OutputError, match="ply already"):
        export_plan(folder, ["ply"])
    export_plan(folder, ["ply"], overwrite=True)
    assert not (folder / "export" / "ply" / second).exists()
    assert len(list((folder / "export" / "ply").glob("0*.ply"))) == 1


def test_hostile_ids_stay_in_the_folder(handover: Handover, tmp_path: Path) -> None:
    names = ["../x", "../x/", "/etc/a"]
    items = [
        handover.paths[0].model_copy(update={"id": name, "rank": rank})
        for rank, name in enumerate(names, 1)
    ]
    document = handover.document.model_copy(update={"trajectories": items, "pairs": []})
    hostile = replace(handover, opened=replace(handover.opened, document=document))
    for kind in ("stl", "slicer"):
        FORMATS[kind].write(hostile, tmp_path / kind)
        suffix = ".stl" if kind == "stl" else ".mrk.json"
        found = sorted(path.name for path in (tmp_path / kind).glob("0*"))
        assert found == [f"01-x{suffix}", f"02-x{suffix}", f"03-etc_a{suffix}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slicer", "stl"]


def test_the_words_for_a_needle_tell_what_is_unknown(handover: Handover) -> None:
    item = handover.paths[0]
    words = needle_words(skin_in_view(item, 150.0))
    assert words == "11G, 3.048 mm thick, from the hub to the tip, 150 mm long"
    assert "from the skin to the tip" in needle_words(skin_in_view(item, None))
    hidden = item.model_copy(update={"guidance": None, "measures": {"skin_in_view": 0.0}})
    assert "the CT does not show the skin" in needle_words(hidden)
