"""dicom-rtstruct: outlines and needles where they belong, by our own eyes and by others'."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from planner.errors import ConfigurationError
from planner.exchange import Handover, Settings, export_plan
from planner.exchange.contours import contains, to_pixels
from planner.exchange.dicom import refer, refer_to_images
from planner.exchange.file_names import title
from planner.exchange.rtstruct import rtstruct
from planner.exchange.surfaces import skin_shown
from planner.export.terminology import COLOURS
from planner.model.anatomy import LABELS
from tests.support.dicom_tools import errors


@pytest.fixture(scope="module")
def written(handover: Handover, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rtstruct") / "plan.rtstruct.dcm"
    rtstruct(handover, path)
    return path


@pytest.fixture(scope="module")
def made(written: Path) -> Dataset:
    return pydicom.dcmread(written)


def regions(made: Dataset) -> dict[str, tuple[Dataset, Dataset, Dataset]]:
    """Name to region, outline and observation."""
    outlines = {item.ReferencedROINumber: item for item in made.ROIContourSequence}
    observed = {item.ReferencedROINumber: item for item in made.RTROIObservationsSequence}
    return {
        item.ROIName: (item, outlines[item.ROINumber], observed[item.ROINumber])
        for item in made.StructureSetROISequence
    }


def points_of(contour: Dataset) -> np.ndarray:
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    assert len(points) == contour.NumberOfContourPoints
    return points


def test_it_belongs_to_the_ct(made: Dataset, handover: Handover) -> None:
    source = handover.headers[0]
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.PatientID == source.PatientID
    (frame,) = made.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == source.FrameOfReferenceUID
    (study,) = frame.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == source.StudyInstanceUID
    (series,) = study.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    named = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert named == [header.SOPInstanceUID for header in handover.headers]
    assert made.ApprovalStatus == "UNAPPROVED"
    assert "not for clinical use" in made.StructureSetName
    assert made.file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian


def test_the_voxels_inside_the_contours_are_those_of_the_labels(
    made: Dataset, handover: Handover
) -> None:
    anatomy = handover.opened.anatomy
    planes = {plane.sop_uid: (k, plane) for k, plane in enumerate(handover.planes)}
    for name in ("sacral_canal", "foramen_s1_left", "foramen_s2_right"):
        found = np.zeros(anatomy.labels.shape, bool)
        region, outline, observed = regions(made)[name]
        assert region.ROIGenerationAlgorithm == ""  # the toy's labels were provided
        assert observed.RTROIInterpretedType == "ORGAN"
        assert outline.ROIDisplayColor == [round(255 * c) for c in COLOURS[name]]
        for contour in outline.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            k, plane = planes[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = points_of(contour)
            off = (points - plane.position) @ np.cross(plane.orientation[:3], plane.orientation[3:])
            assert np.abs(off).max() < 1e-3
            pixels = to_pixels(plane, points)
            low, high = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0))
            for i in range(int(low[0]), int(high[0]) + 1):
                for j in range(int(low[1]), int(high[1]) + 1):
                    found[i, j, k] ^= contains(pixels, np.array([i, j]) + 0.01)
        assert (found == (anatomy.labels == LABELS[name])).all()
        assert found.any()


def test_left_and_right_are_the_patient_s(made: Dataset) -> None:
    """LPS: x grows to the patient's left."""
    for name in ("hip", "foramen_s1", "foramen_s3"):
        sides = {}
        for side in ("left", "right"):
            contours = regions(made)[f"{name}_{side}"][1].ContourSequence
            sides[side] = np.concatenate([points_of(item) for item in contours])[:, 0]
        assert sides["left"].min() > sides["right"].max()


def test_needles_are_lines_from_skin_to_tip(made: Dataset, handover: Handover) -> None:
    for item in handover.paths:
        region, outline, observed = regions(made)[title(item)]
        (contour,) = outline.ContourSequence
        assert contour.ContourGeometricType == "OPEN_NONPLANAR"
        assert not skin_shown(item)  # the toy's CT ends before it
        expected = [item.bone_entry_mm, item.tip_mm]
        assert points_of(contour) == pytest.approx(np.array(expected), abs=5e-4)
        assert observed.RTROIInterpretedType == "MARKER"
        assert region.ROIGenerationAlgorithm == "AUTOMATIC"
        assert "11G" in region.ROIDescription
        assert "not for clinical use" in region.ROIDescription


def test_rejected_paths_are_left_out(handover: Handover, tmp_path: Path) -> None:
    gone = handover.document.trajectories[0]
    review = {"verdict": "rejected", "origin": "planned", "reason": "no"}
    values = handover.document.model_dump(mode="json")
    values["trajectories"][0]["review"] = review
    document = type(handover.document).model_validate(values)
    reviewed = replace(handover, opened=replace(handover.opened, document=document))
    rtstruct(reviewed, tmp_path / "x.dcm")
    names = set(regions(pydicom.dcmread(tmp_path / "x.dcm")))
    assert title(gone) not in names
    assert {title(item) for item in handover.paths[1:]} <= names


def test_a_ct_without_a_frame_of_reference_is_refused(handover: Handover, tmp_path: Path) -> None:
    header = deepcopy(handover.headers[0])
    header.FrameOfReferenceUID = ""
    bare = replace(handover, headers=(header, *handover.headers[1:]))
    with pytest.raises(ConfigurationError, match="frame of reference"):
        rtstruct(bare, tmp_path / "x.dcm")
    assert not (tmp_path / "x.dcm").exists()


def test_the_same_plan_gives_the_same_bytes(
    dicom_plan: tuple[Path, Path], written: Path, tmp_path: Path
) -> None:
    (again,), _ = export_plan(
        dicom_plan[0],
        ["dicom-rtstruct"],
        ct=dicom_plan[1],
        output=tmp_path / "out",
        settings=Settings(reproducible=True),
    )
    assert again.read_bytes() == written.read_bytes()


def test_a_frame_is_named_and_its_image_only_once(handover: Handover) -> None:
    frames = [replace(handover.planes[0], frame=frame, frames=3) for frame in (2, 0, 1)]
    assert [refer(plane).ReferencedFrameNumber for plane in frames] == [3, 1, 2]
    (whole,) = refer_to_images(frames)
    assert whole.ReferencedSOPInstanceUID == handover.planes[0].sop_uid
    assert "ReferencedFrameNumber" not in whole
    assert "ReferencedFrameNumber" not in refer(handover.planes[0])


def test_dciodvfy_finds_no_error(written: Path) -> None:
    assert errors(written) == []


def test_another_program_reads_the_same_masks(
    written: Path, handover: Handover, dicom_plan: tuple[Path, Path]
) -> None:
    """rt-utils rounds vertices to pixels and fills the rim as well: it misses nothing.

    Its masks have columns and rows the wrong way round, so that only a square of them counts.
    """
    rt_utils = pytest.importorskip("rt_utils", reason="rt-utils is not installed")
    read = rt_utils.RTStructBuilder.create_from(str(dicom_plan[1]), str(written))
    anatomy = handover.opened.anatomy
    square = min(anatomy.labels.shape[:2])
    paths = {title(item) for item in handover.paths}
    present = {name for name, value in LABELS.items() if (anatomy.labels == value).any()}
    assert set(read.get_roi_names()) == present | paths
    for name, least in (("sacrum", 0.93), ("hip_left", 0.9), ("foramen_s1_right", 0.8)):
        ours = anatomy.mask(name)[:square, :square].transpose(1, 0, 2)
        theirs = read.get_roi_mask_by_name(name)[:square, :square]
        assert not (ours & ~theirs).any()
        dice = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
        assert dice > least
