from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from export.toy import FRAME_UID, awkward_grids, toy_frame, toy_labels, toy_volume

from planner.errors import UnsuitableCtError
from planner.model.anatomy import LABELS
from planner.reading.labels import LabelMap, fit_to_volume, read_labels
from reading.labels.seg_files import (
    HIP,
    L5,
    LEFT,
    RIGHT,
    S1,
    SACRUM,
    STRUCTURE,
    TUMOUR,
    Segment,
    ct_datasets,
    save,
    segmentation,
)

GRIDS = awkward_grids()
GRID = GRIDS["oblique"]
whole = toy_labels(GRID, toy_frame())


def mask(name: str) -> np.ndarray:
    return whole == LABELS[name]


def by_names(labels: np.ndarray) -> list[Segment]:
    """Segments in an order of their own, and one that is no part of the anatomy."""
    present = [name for name in reversed(LABELS) if (labels == LABELS[name]).any()]
    screw = np.zeros(labels.shape, bool)
    screw[0, 0, 3] = True
    found = [Segment("Screw", screw)]
    return found + [Segment(name, labels == LABELS[name]) for name in present]


def at(found: LabelMap, points: np.ndarray) -> np.ndarray:
    """Labels at patient points (N, 3), 0 outside of the file's own grid."""
    ijk = np.rint(found.grid.to_ijk(points)).astype(int)
    inside = ((ijk >= 0) & (ijk < found.grid.shape)).all(axis=1)
    out = np.zeros(len(points), np.uint8)
    out[inside] = found.labels[tuple(ijk[inside].T)]
    return out


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_lie_in_place_on_every_grid(name: str, kind: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    labels = toy_labels(grid, toy_frame())
    path = save(segmentation(grid, by_names(labels), kind), tmp_path / "seg")
    found = read_labels(path)
    points = grid.to_patient(np.argwhere(np.ones(grid.shape, bool)))
    np.testing.assert_array_equal(at(found, points), labels.ravel())
    assert (found.labels > 0).sum() == (labels > 0).sum()
    assert found.grid.frame_of_reference_uid == FRAME_UID
    assert found.names == {n for n, v in LABELS.items() if (labels == v).any()}
    assert found.source == "provided"
    assert len(found.warnings) == 1 and found.warnings[0].endswith("planned with: 'Screw'.")


def test_codes_tell_segments_of_other_labels(tmp_path: Path) -> None:
    lower = mask("sacrum").copy()
    lower[:, :, 24:] = False
    segments = [
        Segment("Os sacrum", lower, SACRUM),
        Segment("first segment", mask("sacrum") & ~lower, S1),
        Segment("LWK 5", mask("l5"), L5),
        Segment("Huefte li", mask("hip_left"), HIP, LEFT),
        Segment("Huefte re", mask("hip_right"), STRUCTURE, RIGHT, HIP),
        Segment("Metastase", mask("sacral_canal"), TUMOUR, None, SACRUM),
    ]
    found = read_labels(save(segmentation(GRID, segments), tmp_path / "a.dcm"))
    points = GRID.to_patient(np.argwhere(np.ones(GRID.shape, bool)))
    known = np.where(np.isin(whole, [LABELS[n] for n in ("sacrum", "l5", "hip_left")]), whole, 0)
    known[mask("hip_right")] = LABELS["hip_right"]
    np.testing.assert_array_equal(at(found, points), known.ravel())
    assert found.names == {"sacrum", "l5", "hip_left", "hip_right"}


def test_codes_of_older_files_are_known(tmp_path: Path) -> None:
    made = segmentation(GRID, [Segment("bone 1", mask("sacrum"), SACRUM)])
    code = made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    code.CodeValue, code.CodingSchemeDesignator = "T-11AD0", "SRT"
    assert read_labels(save(made, tmp_path / "a.dcm")).names == {"sacrum"}


def test_a_hip_without_side_is_refused(tmp_path: Path) -> None:
    segments = [Segment("sacrum", mask("sacrum")), Segment("Hueften", mask("hip_left"), HIP)]
    with pytest.raises(UnsuitableCtError, match="'Hueften' speaks of S1 or of a hip"):
        read_labels(save(segmentation(GRID, segments), tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    ("label", "kind", "side"),
    [("hip_left", HIP, RIGHT), ("l5", SACRUM, None), ("sacrum", L5, None)],
)
def test_a_code_that_contradicts_its_label_is_refused(label, kind, side, tmp_path: Path) -> None:
    made = segmentation(GRID, [Segment(label, mask("sacrum"), kind, side)])
    with pytest.raises(UnsuitableCtError, match="name and code contradict each other"):
        read_labels(save(made, tmp_path / "a.dcm"))


def test_overlaps_and_doubles_are_refused(tmp_path: Path) -> None:
    canal = mask("sacral_canal")
    segments = [Segment("sacrum", mask("sacrum") | canal), Segment("sacral_canal", canal)]
    with pytest.raises(UnsuitableCtError, match=r"overlaps sacrum in \d+ voxels"):
        read_labels(save(segmentation(GRID, segments), tmp_path / "a.dcm"))
    segments = [Segment("sacrum", mask("sacrum")), Segment("Sacrum", canal)]
    with pytest.raises(UnsuitableCtError, match="two segments named sacrum"):
        read_labels(save(segmentation(GRID, segments), tmp_path / "b.dcm"))


def test_fractional_segments_count_from_one_half(tmp_path: Path) -> None:
    bone = mask("sacrum")
    values = np.where(bone, 0.5, 0.49).transpose(2, 1, 0)[..., None]
    made = segmentation(GRID, [Segment("sacrum", bone)], "FRACTIONAL", values=values)
    made.MaximumFractionalValue = 254  # 0.5 is stored as 127.5 rounded up or down
    found = read_labels(save(made, tmp_path / "a.dcm"))
    points = GRID.to_patient(np.argwhere(np.ones(GRID.shape, bool)))
    np.testing.assert_array_equal(at(found, points) > 0, bone.ravel())
    assert "from 0.5 of its greatest value" in found.warnings[0]


def test_frames_in_any_order_and_with_empty_ones_missing(tmp_path: Path) -> None:
    hips = mask("hip_left") | mask("hip_right")
    apart = hips.copy()
    apart[:, :, 15:30] = False  # no plane between them holds anything
    made = segmentation(GRID, [Segment("sacrum", mask("sacrum")), Segment("hip_left", apart)])
    frames = [n for n, g in enumerate(made.PerFrameFunctionalGroupsSequence)]
    order = np.random.default_rng(3).permutation(frames)
    pixels = made.pixel_array[order]
    groups = made.PerFrameFunctionalGroupsSequence
    made.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
    made.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    if len(made.PixelData) % 2:
        made.PixelData += b"\0"
    found = read_labels(save(made, tmp_path / "a.dcm"))
    points = GRID.to_patient(np.argwhere(np.ones(GRID.shape, bool)))
    known = np.where(apart, LABELS["hip_left"], np.where(mask("sacrum"), LABELS["sacrum"], 0))
    np.testing.assert_array_equal(at(found, points), known.ravel())


def moved(made, change) -> None:
    """Change the plane position of every frame; change: (plane number, position) -> position."""
    groups = made.PerFrameFunctionalGroupsSequence
    normal = GRID.direction[:, 2]
    start = min(np.array(g.PlanePositionSequence[0].ImagePositionPatient) @ normal for g in groups)
    for group in groups:
        item = group.PlanePositionSequence[0]
        here = np.array(item.ImagePositionPatient, float)
        number = round((here @ normal - start) / GRID.spacing_mm[2])
        item.ImagePositionPatient = [round(float(x), 6) for x in change(number, here)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k, p: p + 0.3 * k * GRID.direction[:, 1], "displaced within their planes by up to"),
        (lambda k, p: p + (k == 7) * 1.1 * GRID.direction[:, 2], "off an even spacing"),
        (lambda k, p: p - (k > 9) * GRID.spacing_mm[2] * GRID.direction[:, 2], "two frames in one"),
        (lambda k, p: p + (k > 9) * GRID.spacing_mm[2] * GRID.direction[:, 2], "no voxel in 1 of"),
        (lambda k, p: GRID.origin, "lie in one plane"),
    ],
)
def test_inconsistent_planes_are_refused(change, message: str, tmp_path: Path) -> None:
    made = segmentation(GRID, [Segment("sacrum", mask("sacrum"))])
    moved(made, change)
    with pytest.raises(UnsuitableCtError, match=message):
        read_labels(save(made, tmp_path / "a.dcm"))


def test_every_second_plane_is_refused_and_a_wrong_header_is_said(tmp_path: Path) -> None:
    made = segmentation(GRID, [Segment("sacrum", mask("sacrum"))])
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = float(GRID.spacing_mm[2]) / 2
    with pytest.raises(UnsuitableCtError, match="only one plane in 2 was drawn"):
        read_labels(save(made, tmp_path / "a.dcm"))
    measures.SpacingBetweenSlices = 5.0
    found = read_labels(save(made, tmp_path / "b.dcm"))
    np.testing.assert_allclose(found.grid.spacing_mm, GRID.spacing_mm, rtol=1e-6)
    assert "states 5.00 mm between slices" in found.warnings[0]


def test_its_frame_of_reference_must_be_the_ct_s(tmp_path: Path) -> None:
    made = segmentation(GRID, [Segment("sacrum", mask("sacrum"))])
    volume = toy_volume(GRID)
    found = fit_to_volume(read_labels(save(made, tmp_path / "a.dcm")), volume)
    assert found.grid.frame_of_reference_uid == volume.grid.frame_of_reference_uid
    made.FrameOfReferenceUID = "1.2.3.4"
    with pytest.raises(
        UnsuitableCtError, match=r"another frame of reference than the CT \(1\.2\.3"
    ):
        fit_to_volume(read_labels(save(made, tmp_path / "b.dcm")), volume)


def test_a_folder_with_one_segmentation_is_that(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for number, ds in enumerate(ct_datasets(GRID)[:2]):
        ds.save_as(folder / f"ct{number}", enforce_file_format=True)
    (folder / "notes.txt").write_text("drawn by hand", encoding="utf-8")
    with pytest.raises(UnsuitableCtError, match="holds no label map"):
        read_labels(folder)
    made = segmentation(GRID, [Segment("sacrum", mask("sacrum"))])
    save(made, folder / "seg1")
    assert read_labels(folder).names == {"sacrum"}
    save(made, folder / "seg2")
    with pytest.raises(UnsuitableCtError, match="several label maps .*seg1, seg2"):
        read_labels(folder)


def test_other_and_damaged_dicom_is_refused(tmp_path: Path) -> None:
    ct_datasets(GRID)[0].save_as(tmp_path / "ct.nii.gz", enforce_file_format=True)
    with pytest.raises(UnsuitableCtError, match="is DICOM of CT Image Storage"):
        read_labels(tmp_path / "ct.nii.gz")  # the content tells, not the name
    made = segmentation(GRID, [Segment("sacrum", mask("sacrum"))])
    whole = save(made, tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsuitableCtError, match="cannot be read as a DICOM segmentation"):
        read_labels(tmp_path / "a.dcm")
    made = segmentation(GRID, [Segment("bone", mask("sacrum"))])
    with pytest.raises(UnsuitableCtError, match="no voxel of a segment named sacrum"):
        read_labels(save(made, tmp_path / "b.dcm"))
    broken = pydicom.dcmread(save(made, tmp_path / "c.dcm"))
    for group in broken.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    broken.save_as(tmp_path / "c.dcm")
    with pytest.raises(UnsuitableCtError, match=r"c\.dcm"):
        read_labels(tmp_path / "c.dcm")
