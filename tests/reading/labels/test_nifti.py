from pathlib import Path

import nibabel
import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels import read_labels
from reading.labels.files import as_nifti, save_mask, with_table

GRIDS = awkward_grids()


def named_nifti(
    labels: np.ndarray, grid: Grid, values: dict[str, int], code: int = 0
) -> nibabel.Nifti1Image:
    """Write segments under values of their own, with the table that names them."""
    voxels = np.zeros(labels.shape, np.uint8)
    for name, value in values.items():
        ours = {"vertebrae_L5": "l5"}.get(name, name)
        if ours in LABELS:
            voxels[labels == LABELS[ours]] = value
    image = nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.patient_from_ijk)
    with_table(image, {value: name for name, value in values.items()}, code)
    return image


@pytest.mark.parametrize("name", GRIDS)
def test_totalsegmentator_labels_in_place_on_every_grid(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    labels = toy_labels(grid, toy_frame())
    found = read_labels(as_nifti(labels, grid, tmp_path / "labels.nii.gz"))
    np.testing.assert_allclose(found.grid.patient_from_ijk, grid.patient_from_ijk, atol=1e-3)
    for segment in ("sacrum", "l5", "hip_left", "hip_right"):
        np.testing.assert_array_equal(
            found.labels == LABELS[segment], labels == LABELS[segment], err_msg=segment
        )
    assert found.source == "totalsegmentator"
    assert found.names == {"sacrum", "l5", "hip_left", "hip_right"}


def test_labels_are_read_by_the_rules_for_a_ct(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    path = as_nifti(labels, grid, tmp_path / "labels.nii.gz")
    image = nibabel.load(path)
    voxels = np.asanyarray(image.dataobj)
    nibabel.save(nibabel.Nifti1Image(voxels[..., None], image.affine), tmp_path / "four.nii.gz")
    np.testing.assert_array_equal(
        read_labels(tmp_path / "four.nii.gz").labels, read_labels(path).labels
    )
    shifted = image.affine.copy()
    shifted[2, 3] += 4.0
    two = nibabel.Nifti1Image(voxels, image.affine)
    two.set_sform(image.affine, 1)
    two.set_qform(shifted, 1)
    nibabel.save(two, tmp_path / "two.nii.gz")
    with pytest.raises(UnsuitableCtError, match=r"two places that differ by up to 4\.0 mm"):
        read_labels(tmp_path / "two.nii.gz")


def test_names_in_the_header_decide(tmp_path: Path) -> None:
    grid = GRIDS["permuted"]
    labels = toy_labels(grid, toy_frame())
    values = {"sacrum": 92, "hip_left": 90, "hip_right": 91, "vertebrae_L5": 18}
    image = named_nifti(labels, grid, values | {"vertebrae_L4": 27, "urinary_bladder": 25})
    stray = np.asanyarray(image.dataobj)
    stray[:2] = 25  # a sacrum, were it not for the table
    nibabel.save(image, tmp_path / "v1.nii.gz")
    found = read_labels(tmp_path / "v1.nii.gz")
    kept = np.isin(labels, [LABELS[n] for n in ("sacrum", "hip_left", "hip_right", "l5")])
    np.testing.assert_array_equal(found.labels, np.where(kept, labels, 0))
    assert found.source == "totalsegmentator"


def test_a_sixth_lumbar_vertebra_is_no_sacrum(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    image = named_nifti(labels, grid, {"sacrum": 25, "vertebrae_L6": 26})
    np.asanyarray(image.dataobj)[labels == LABELS["l5"]] = 26
    nibabel.save(image, tmp_path / "a.nii.gz")
    found = read_labels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.labels > 0, labels == LABELS["sacrum"])


def test_own_names_in_the_header_are_provided(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    names = {name: value + 40 for name, value in LABELS.items() if (labels == value).any()}
    image = named_nifti(labels, grid, names, code=30)
    nibabel.save(image, tmp_path / "a.nii")
    found = read_labels(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.labels, labels)
    assert found.source == "provided"


def test_a_table_without_a_sacrum_or_broken_is_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    nibabel.save(named_nifti(labels, grid, {"bone": 25}), tmp_path / "a.nii.gz")
    with pytest.raises(UnsuitableCtError, match="no voxel of a segment named sacrum. Its header"):
        read_labels(tmp_path / "a.nii.gz")
    image = named_nifti(labels, grid, {})
    broken = nibabel.nifti1.Nifti1Extension(0, b"<CaretExtension><LabelTable><Label Key=")
    image.header.extensions[:] = [broken]
    nibabel.save(image, tmp_path / "b.nii.gz")
    with pytest.raises(UnsuitableCtError, match="table of names in the header .* cannot be read"):
        read_labels(tmp_path / "b.nii.gz")


def test_values_without_names_are_not_guessed(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    path = save_mask(toy_labels(grid, toy_frame()) == 1, grid, tmp_path / "sacrum.nii.gz")
    with pytest.raises(UnsuitableCtError, match="A mask of one bone goes into a folder"):
        read_labels(path)
