from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels, toy_volume

from planner.errors import UnsuitableCtError
from planner.export.segmentation_nrrd import write_segmentation
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels import LabelMap, fit_to_volume, read_labels, read_mask

GRIDS = awkward_grids()
NIFTI_VALUES = {"l5": 27, "hip_left": 77, "hip_right": 78}
SACRUM_WITH_S1 = (25, 26)


def header_for(grid: Grid, names: dict[str, int], space: str = "left-posterior-superior") -> dict:
    header = {
        "space": space,
        "space directions": grid.patient_from_ijk[:3, :3].T,
        "space origin": grid.origin,
        "kinds": ["domain"] * 3,
    }
    for number, (name, value) in enumerate(names.items()):
        header |= {
            f"Segment{number}_ID": f"Segment_{number + 1}",
            f"Segment{number}_Name": name,
            f"Segment{number}_LabelValue": str(value),
            f"Segment{number}_Layer": "0",
        }
    return header


def as_nifti(labels: np.ndarray, grid: Grid, path: Path) -> Path:
    values = np.zeros(labels.shape, np.int16)
    bone = labels == LABELS["sacrum"]
    values[bone] = SACRUM_WITH_S1[0]
    upper = toy_frame().to_sacrum(grid.to_patient(np.argwhere(bone)))[:, 2] > -28
    values[tuple(np.argwhere(bone)[upper].T)] = SACRUM_WITH_S1[1]
    for name, value in NIFTI_VALUES.items():
        values[labels == LABELS[name]] = value
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.patient_from_ijk
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


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


def test_names_decide_not_the_order_of_values(tmp_path: Path) -> None:
    grid = GRIDS["left_handed"]
    labels = toy_labels(grid, toy_frame())
    names = {name: 250 - value for name, value in LABELS.items() if (labels == value).any()}
    values = np.zeros(labels.shape, np.uint8)
    for name, value in names.items():
        values[labels == LABELS[name]] = value
    names = dict(sorted(names.items(), key=lambda item: -item[1])) | {"Screw": 7}
    values[0, 0, 0] = 7
    path = tmp_path / "own.seg.nrrd"
    nrrd.write(str(path), values, header_for(grid, names))
    found = read_labels(path)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.source == "provided"


def test_ras_and_layers_are_understood(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    layers = np.zeros((2, *grid.shape), np.uint8)
    layers[0][labels == LABELS["sacrum"]] = 1
    layers[1][labels == LABELS["sacral_canal"]] = 1
    flip = np.diag([-1.0, -1.0, 1.0])
    header = header_for(grid, {"sacrum": 1, "sacral_canal": 1}, "right-anterior-superior")
    header["space directions"] = np.vstack(
        [np.full(3, np.nan), (flip @ grid.patient_from_ijk[:3, :3]).T]
    )
    header["space origin"] = flip @ grid.origin
    header["kinds"] = ["list", "domain", "domain", "domain"]
    header["Segment1_Layer"] = "1"
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, header)
    found = read_labels(tmp_path / "a.seg.nrrd")
    np.testing.assert_allclose(found.grid.patient_from_ijk, grid.patient_from_ijk, atol=1e-9)
    np.testing.assert_array_equal(found.labels == 2, labels == LABELS["sacral_canal"])


def test_sheared_grids_are_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    header = header_for(grid, {"sacrum": 1})
    rows = np.array(header["space directions"])
    rows[2] += 0.4 * rows[1]
    header["space directions"] = rows
    nrrd.write(str(tmp_path / "a.seg.nrrd"), np.ones(grid.shape, np.uint8), header)
    with pytest.raises(UnsuitableCtError, match="axes of a grid must be orthogonal"):
        read_labels(tmp_path / "a.seg.nrrd")


def test_files_that_are_not_label_maps_are_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    with pytest.raises(UnsuitableCtError, match="does not exist"):
        read_labels(tmp_path / "absent.seg.nrrd")
    (tmp_path / "a.stl").write_text("solid", encoding="utf-8")
    with pytest.raises(UnsuitableCtError, match="of no known kind"):
        read_labels(tmp_path / "a.stl")
    for name in ("a.seg.nrrd", "a.nii.gz"):
        (tmp_path / name).write_bytes(b"rubbish")
        with pytest.raises(UnsuitableCtError, match="cannot be read as"):
            read_labels(tmp_path / name)
    nrrd.write(str(tmp_path / "b.seg.nrrd"), np.ones((2, 2, 2), np.uint8), {})
    with pytest.raises(UnsuitableCtError, match="does not say where it lies"):
        read_labels(tmp_path / "b.seg.nrrd")
    header = header_for(grid, {"bone": 1})
    nrrd.write(str(tmp_path / "c.seg.nrrd"), np.ones(grid.shape, np.uint8), header)
    with pytest.raises(UnsuitableCtError, match="no voxel of a segment named sacrum"):
        read_labels(tmp_path / "c.seg.nrrd")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(toy_labels(grid, toy_frame()), grid, path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnsuitableCtError, match="cannot be read as NRRD"):
        read_labels(path)


def label_map(grid: Grid, **changes: object) -> LabelMap:
    labels = toy_labels(grid, toy_frame())
    names = frozenset(name for name, value in LABELS.items() if (labels == value).any())
    return LabelMap(labels, grid, names, "provided")


def test_labels_of_the_same_or_a_finer_grid_stay_as_they_are() -> None:
    volume = toy_volume(GRIDS["oblique"])
    same = label_map(GRIDS["oblique"])
    assert fit_to_volume(same, volume).labels is same.labels
    fine = Grid.around(
        same.grid.to_patient(np.argwhere(same.labels > 0)), 2.0, 4.0, frame_of_reference_uid=""
    )
    found = fit_to_volume(label_map(fine), volume)
    assert found.grid.shape == fine.shape
    assert found.grid.frame_of_reference_uid == volume.grid.frame_of_reference_uid
    assert found.warnings == ()


def test_coarser_labels_are_resampled_with_a_warning() -> None:
    volume = toy_volume(GRIDS["oblique"])
    points = GRIDS["oblique"].to_patient(np.argwhere(label_map(GRIDS["oblique"]).labels > 0))
    coarse = label_map(Grid.around(points, 5.0, 10.0))
    found = fit_to_volume(coarse, volume)
    assert found.grid.same_as(volume.grid)
    assert "coarser than the CT" in found.warnings[0]
    truth = toy_labels(volume.grid, toy_frame()) == LABELS["sacrum"]
    ours = found.labels == LABELS["sacrum"]
    assert 2 * (truth & ours).sum() / (truth.sum() + ours.sum()) > 0.75


def test_labels_of_another_patient_are_refused() -> None:
    volume = toy_volume(GRIDS["oblique"])
    here = label_map(GRIDS["oblique"])
    affine = here.grid.patient_from_ijk.copy()
    affine[2, 3] += 60.0
    moved = LabelMap(here.labels, Grid(here.grid.shape, affine), here.names, "provided")
    with pytest.raises(UnsuitableCtError, match=r"only \d+% of the label map's sacrum lies within"):
        fit_to_volume(moved, volume)
    other = Grid(here.grid.shape, here.grid.patient_from_ijk, "9.9.9")
    with pytest.raises(UnsuitableCtError, match="another frame of reference"):
        fit_to_volume(LabelMap(here.labels, other, here.names, "provided"), volume)


def test_masks_keep_their_own_grid(tmp_path: Path) -> None:
    volume = toy_volume(GRIDS["oblique"])
    path = as_nifti(
        toy_labels(GRIDS["permuted"], toy_frame()), GRIDS["permuted"], tmp_path / "m.nii"
    )
    mask, grid = read_mask(path, volume.grid)
    assert mask.dtype == bool
    assert grid.shape == GRIDS["permuted"].shape
    empty = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    nibabel.save(empty, tmp_path / "empty.nii")
    with pytest.raises(UnsuitableCtError, match="no voxel within the CT"):
        read_mask(tmp_path / "empty.nii", volume.grid)
