"""nifti, read back by nibabel and SimpleITK, which know two ways of placing voxels."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from planner.errors import OutputError
from planner.exchange import FORMATS, Handover
from planner.exchange import nifti as nifti_format
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels.nifti import read_label_nifti
from tests.support import toy


def on_grid(handover: Handover, labels, grid: Grid) -> Handover:
    """The same plan with other voxels; only the label map is asked for."""
    anatomy = replace(handover.opened.anatomy, labels=labels.copy(), grid=grid)
    return replace(handover, opened=replace(handover.opened, anatomy=anatomy))


@pytest.mark.parametrize("axes", toy.AWKWARD)
def test_both_readers_find_every_voxel_at_its_place(
    handover: Handover, tmp_path: Path, axes: str
) -> None:
    labels, grid, _ = toy.toy_labels(axes, (1.2, 1.5, 2.5))
    FORMATS["nifti"].write(on_grid(handover, labels, grid), tmp_path / "nifti")
    path = tmp_path / "nifti" / "anatomy.nii.gz"
    inside = np.argwhere(labels > 0)[::997]
    points = grid.to_patient(inside)

    image = nibabel.load(path)
    assert image.header["qform_code"] == image.header["sform_code"] == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    ras = points * (-1.0, -1.0, 1.0)
    for affine in (image.get_sform(), image.get_qform()):
        found = nibabel.affines.apply_affine(affine, inside)
        np.testing.assert_allclose(found, ras, atol=2e-3)

    other = sitk.ReadImage(str(path))
    assert other.GetPixelID() == sitk.sitkUInt8
    for index, point in zip(inside.tolist(), points.tolist(), strict=True):
        place = other.TransformIndexToPhysicalPoint(index)  # ITK's points are LPS
        np.testing.assert_allclose(place, point, atol=2e-3)
        assert other[tuple(index)] == labels[tuple(index)]


def test_left_and_right_are_those_of_the_patient(handover: Handover, tmp_path: Path) -> None:
    FORMATS["nifti"].write(handover, tmp_path / "nifti")
    image = nibabel.load(tmp_path / "nifti" / "anatomy.nii.gz")
    voxels = np.asarray(image.dataobj)
    middle = {
        side: nibabel.affines.apply_affine(
            image.affine, np.argwhere(voxels == LABELS[f"hip_{side}"]).mean(axis=0)
        )
        for side in ("left", "right")
    }
    assert middle["right"][0] > middle["left"][0] + 50.0  # RAS: x grows to the right


def test_the_tables_name_the_values(handover: Handover, tmp_path: Path) -> None:
    FORMATS["nifti"].write(handover, tmp_path / "nifti")
    with (tmp_path / "nifti" / "anatomy_dseg.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["name"]: int(row["index"]) for row in rows} == dict(LABELS)
    text = (tmp_path / "nifti" / "anatomy-itksnap.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    values = [line.split(maxsplit=7) for line in lines]
    assert {v[7].strip('"'): int(v[0]) for v in values[1:]} == dict(LABELS)
    for row, value in zip(rows, values[1:], strict=True):
        assert row["color"] == "#" + "".join(f"{int(part):02x}" for part in value[1:4])
    assert "not for clinical use" in text
    header = nibabel.load(tmp_path / "nifti" / "anatomy.nii.gz").header
    assert b"not for clinical use" in header["descrip"].tobytes()


def test_its_own_map_is_read_back_by_name(handover: Handover, tmp_path: Path) -> None:
    FORMATS["nifti"].write(handover, tmp_path / "nifti")
    found = read_label_nifti(tmp_path / "nifti" / "anatomy.nii.gz")
    anatomy = handover.opened.anatomy
    np.testing.assert_array_equal(found.labels, anatomy.labels)
    assert found.source == "provided"
    np.testing.assert_allclose(found.grid.corners(), anatomy.grid.corners(), atol=2e-3)


def test_the_same_plan_gives_the_same_bytes(handover: Handover, tmp_path: Path) -> None:
    for name in ("one", "two"):
        FORMATS["nifti"].write(handover, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_a_grid_that_does_not_fit_is_refused(
    handover: Handover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack that is askew within the grid's tolerance has no qform."""
    labels, grid, _ = toy.toy_labels("straight", (1.2, 1.5, 2.5))
    affine = grid.patient_from_ijk.copy()
    affine[1, 0] += 9e-4 * 1.2
    askew = on_grid(handover, labels, Grid(grid.shape, affine))
    with pytest.raises(OutputError, match=r"its qform would displace voxels by 0\.\d+ mm"):
        FORMATS["nifti"].write(askew, tmp_path / "nifti")
    assert not (tmp_path / "nifti").exists()
    monkeypatch.setattr(nifti_format, "MISPLACED_MM", 1.0)
    FORMATS["nifti"].write(askew, tmp_path / "nifti")
