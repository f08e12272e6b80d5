"""The structured report: every figure of a path to the digit, and nothing that is not known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from pydicom.dataset import Dataset

from planner.errors import ConfigurationError
from planner.exchange import FORMATS, Handover, Settings
from planner.export.plan_document import PathReviewObject, TrajectoryObject
from tests.exchange.test_dicom_seg import enhanced
from tests.support.dicom_tools import errors, run

FIGURES = {
    "length_in_bone": ("intraosseous_length_mm", "mm"),
    "needle_diameter": ("needle.outer_diameter_mm", "mm"),
    "skin_to_tip": ("skin_to_tip_mm", "mm"),
    "clear_foramina": ("clearance.foramina.distance_mm", "mm"),
    "clear_canal": ("clearance.canal.distance_mm", "mm"),
    "clear_anterior": ("clearance.anterior_cortex.distance_mm", "mm"),
    "clear_si_joint": ("clearance.sacroiliac_joint.distance_mm", "mm"),
    "clear_superior": ("clearance.superior_cortex.distance_mm", "mm"),
    "breach_any": ("breach_probability.any", "1"),
    "breach_foramina": ("breach_probability.foramina", "1"),
    "breach_canal": ("breach_probability.canal", "1"),
    "breach_anterior": ("breach_probability.anterior_cortex", "1"),
    "breach_si_joint": ("breach_probability.sacroiliac_joint", "1"),
    "breach_superior": ("breach_probability.superior_cortex", "1"),
    "score": ("score", "1"),
    "rank": ("rank", "1"),
    "in_plane": ("guidance.in_plane_deg", "deg"),
    "cranial": ("guidance.cranial_deg", "deg"),
    "gantry_tilt": ("guidance.gantry_tilt_deg", "deg"),
    "skin_lateral": ("guidance.skin_lateral_mm", "mm"),
    "skin_to_bone": ("guidance.skin_to_bone_mm", "mm"),
}
SKIN = {"skin_to_tip", "skin_lateral", "skin_to_bone"}
POSTERIOR = {"clear_posterior", "breach_posterior"}


def written(handover: Handover, folder: Path) -> Path:
    path = folder / FORMATS["dicom-sr"].file
    FORMATS["dicom-sr"].write(handover, path)
    return path


def with_path(handover: Handover, number: int, **values: Any) -> Handover:
    """The handover with one path changed."""
    document = handover.document
    items = list(document.trajectories)
    items[number] = items[number].model_copy(update=values)
    changed = document.model_copy(update={"trajectories": items})
    return replace(handover, opened=replace(handover.opened, document=changed))


@pytest.fixture
def seen(handover: Handover) -> Handover:
    """The handover as of a CT that shows the skin, which the toy's does not."""
    for number, item in enumerate(handover.paths):
        assert item.guidance is not None
        handover = with_path(
            handover,
            number,
            measures={**item.measures, "skin_in_view": 1.0},
            guidance=item.guidance.model_copy(update={"skin_in_view": True}),
        )
    return handover


def value_of(item: TrajectoryObject, place: str) -> float:
    found: Any = item
    for name in place.split("."):
        found = getattr(found, name)
    return float(found)


def groups(path: Path) -> list[Dataset]:
    """The measurement groups, straight from the content tree."""
    return [
        item
        for container in pydicom.dcmread(path).ContentSequence
        for item in container.get("ContentSequence", ())
        if item.ConceptNameCodeSequence[0].CodeValue == "125007"
    ]


def named(group: Dataset, value_type: str) -> dict[str, Dataset]:
    return {
        item.ConceptNameCodeSequence[0].CodeValue: item
        for item in group.ContentSequence
        if item.ValueType == value_type
    }


def test_every_figure_of_every_path_is_there(seen: Handover, tmp_path: Path) -> None:
    found = groups(written(seen, tmp_path))
    assert len(found) == len(seen.paths) == 2
    for group, item in zip(found, seen.paths, strict=True):
        assert named(group, "TEXT")["112039"].TextValue == item.id
        numbers = named(group, "NUM")
        assert set(numbers) - POSTERIOR == set(FIGURES)
        for code, (place, unit) in FIGURES.items():
            (measured,) = numbers[code].MeasuredValueSequence
            assert float(measured.NumericValue) == value_of(item, place), code
            assert float(measured.get("FloatingPointValue", measured.NumericValue)) == value_of(
                item, place
            )
            assert measured.MeasurementUnitsCodeSequence[0].CodeValue == unit
            assert len(str(measured.NumericValue)) <= 16


def test_side_and_points_are_the_patient_s(seen: Handover, tmp_path: Path) -> None:
    sides = set()
    for group, item in zip(groups(written(seen, tmp_path)), seen.paths, strict=True):
        numbers, coded = named(group, "NUM"), named(group, "CODE")
        site = coded["363698007"]
        assert site.ConceptCodeSequence[0].CodeValue == "54735007"
        (side,) = site.ContentSequence
        sides.add(side.ConceptCodeSequence[0].CodeMeaning.lower())
        assert side.ConceptCodeSequence[0].CodeMeaning.lower() == item.side
        assert coded["technique"].ConceptCodeSequence[0].CodeValue == item.technique
        for code, start in (
            ("length_in_bone", item.bone_entry_mm),
            ("skin_to_tip", item.skin_entry_mm),
        ):
            (line,) = (i for i in numbers[code].ContentSequence if i.ValueType == "SCOORD3D")
            assert line.GraphicType == "POLYLINE"
            assert line.ReferencedFrameOfReferenceUID == seen.headers[0].FrameOfReferenceUID
            points = np.array(line.GraphicData, float).reshape(-1, 3)
            assert points == pytest.approx(np.array([start, item.tip_mm]), abs=1e-4)
            length = float(np.linalg.norm(points[1] - points[0]))
            measured = numbers[code].MeasuredValueSequence[0].NumericValue
            assert length == pytest.approx(float(measured), abs=2e-3)
        nearest = numbers["clear_foramina"].ContentSequence[0]
        level, side_of = item.clearance.foramina.structure.removeprefix("foramen_").split("_")
        assert nearest.ConceptCodeSequence[0].CodeValue == f"foramen_{level}"
        assert nearest.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning.lower() == side_of
    assert sides == {"left", "right"}


def test_what_is_not_known_is_left_out(handover: Handover, seen: Handover, tmp_path: Path) -> None:
    for group in groups(written(handover, tmp_path)):
        assert set(named(group, "NUM")) - POSTERIOR == set(FIGURES) - SKIN
    first = seen.document.trajectories[0]
    hidden = with_path(seen, 0, measures={**first.measures, "skin_in_view": 0.0})
    found = groups(written(hidden, tmp_path))
    assert set(named(found[0], "NUM")) - POSTERIOR == set(FIGURES) - SKIN
    assert set(named(found[1], "NUM")) - POSTERIOR == set(FIGURES)
    bare = with_path(seen, 0, guidance=None)
    numbers = named(groups(written(bare, tmp_path))[0], "NUM")
    assert {"in_plane", "cranial", "gantry_tilt", "skin_lateral"} & set(numbers) == set()
    assert "skin_to_tip" in numbers


def test_rejected_paths_stay_in_the_house(handover: Handover, tmp_path: Path) -> None:
    verdict = PathReviewObject(verdict="rejected", origin="planned", reason="too near")
    left = with_path(handover, 0, review=verdict)
    path = written(left, tmp_path)
    (group,) = groups(path)
    assert named(group, "TEXT")["112039"].TextValue == handover.paths[1].id
    assert handover.paths[0].id.encode() not in path.read_bytes()
    with pytest.raises(ConfigurationError, match="no path is left"):
        written(with_path(left, 1, review=verdict), tmp_path)


def test_nobody_is_said_to_have_verified_it(handover: Handover, tmp_path: Path) -> None:
    verdict = PathReviewObject(verdict="accepted", origin="planned")
    made = pydicom.dcmread(written(with_path(handover, 0, review=verdict), tmp_path))
    assert made.VerificationFlag == "UNVERIFIED"
    assert made.PreliminaryFlag == "PRELIMINARY"
    assert "VerifyingObserverSequence" not in made
    observers = [
        item.ConceptCodeSequence[0].CodeMeaning
        for item in made.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Observer Type"
    ]
    assert observers == ["Device"]
    assert "PNAME" not in {item.ValueType for item in made.ContentSequence}
    told = [item.TextValue for item in made.ContentSequence if item.ValueType == "TEXT"]
    assert handover.document.disclaimer in told
    assert "not for clinical use" in made.SeriesDescription


def test_the_ct_is_referred_to_whole(handover: Handover, tmp_path: Path) -> None:
    made = pydicom.dcmread(written(handover, tmp_path))
    (study,) = made.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == made.StudyInstanceUID
    assert series.SeriesInstanceUID == handover.headers[0].SeriesInstanceUID
    known = {item.SOPInstanceUID for item in handover.headers}
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence} == known
    library = next(
        item
        for item in made.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Image Library"
    )
    images = [i for i in library.ContentSequence[0].ContentSequence if i.ValueType == "IMAGE"]
    assert {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images} == known


def test_highdicom_finds_the_groups_by_their_name(handover: Handover, tmp_path: Path) -> None:
    report = srread(written(handover, tmp_path)).content
    for item in handover.paths:
        (group,) = report.get_image_measurement_groups(
            tracking_uid=next(
                g.tracking_uid
                for g in report.get_image_measurement_groups()
                if g.tracking_identifier == item.id
            )
        )
        values = {m.name.value: m.value for m in group.get_measurements()}
        assert values["clear_canal"] == item.clearance.canal.distance_mm


@pytest.mark.parametrize("frames", ["single", "multi"])
def test_dciodvfy_finds_no_error(handover: Handover, tmp_path: Path, frames: str) -> None:
    made = handover
    if frames == "multi":
        made = replace(handover, headers=(enhanced(handover),))
    assert errors(written(made, tmp_path)) == []


def test_dsrdump_tells_the_figures(seen: Handover, tmp_path: Path) -> None:
    told = run("dsrdump", written(seen, tmp_path))
    parts = told.split('"Measurement Group"')[1:]
    assert len(parts) == len(seen.paths)
    for part, item in zip(parts, seen.paths, strict=True):
        assert f'"{item.id}"' in part
        numbers = dict(re.findall(r'NUM:\(,,"([^"]+)"\)="([^"]+)"', part))
        assert numbers["Length of path in bone"] == str(item.intraosseous_length_mm)
        assert numbers["Length of path from skin to tip"] == str(item.skin_to_tip_mm)
        name = "Clearance of needle surface to foramina"
        assert numbers[name] == str(item.clearance.foramina.distance_mm)
        assert float(numbers["Probability of any breach"]) == item.breach_probability.any


def test_dcmqi_reads_the_same_figures(seen: Handover, tmp_path: Path) -> None:
    path = written(seen, tmp_path)
    run("tid1500reader", "--inputDICOM", path, "--outputMetadata", tmp_path / "read.json")
    read = json.loads((tmp_path / "read.json").read_text(encoding="utf-8"))
    for group, item in zip(read["Measurements"], seen.paths, strict=True):
        assert group["TrackingIdentifier"] == item.id
        assert group["Laterality"]["CodeMeaning"].lower() == item.side
        values = {
            each["quantity"]["CodeValue"]: (float(each["value"]), each["units"]["CodeValue"])
            for each in group["measurementItems"]
        }
        for code, (place, unit) in FIGURES.items():
            assert values[code] == (value_of(item, place), unit)


def test_the_same_plan_gives_the_same_bytes(handover: Handover, tmp_path: Path) -> None:
    first = written(handover, tmp_path).read_bytes()
    assert written(handover, tmp_path).read_bytes() == first
    free = written(replace(handover, settings=Settings()), tmp_path)
    assert free.read_bytes() != first
    ours = [g for path in (free,) for g in groups(path)]
    tracked = [named(g, "UIDREF")["112040"].UID for g in ours]
    again = [named(g, "UIDREF")["112040"].UID for g in groups(written(handover, tmp_path))]
    assert tracked == again
    assert len(set(tracked)) == 2
