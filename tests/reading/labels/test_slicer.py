from pathlib import Path

import nrrd
import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels

from planner.errors import UnsuitableCtError
from planner.export.segmentation_nrrd import write_segmentation
from planner.model.anatomy import LABELS
from planner.reading.labels import read_labels
from reading.labels.files import header_for

GRIDS = awkward_grids()


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
    with pytest.raises(UnsuitableCtError, match="cannot be read: it breaks off"):
        read_labels(path)
