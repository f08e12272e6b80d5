import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels, toy_volume

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels import LabelMap, fit_to_volume
from reading.labels.files import label_map

GRIDS = awkward_grids()


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


def test_other_orders_of_the_same_voxels_are_not_coarser() -> None:
    volume = toy_volume(GRIDS["oblique"])
    same = label_map(GRIDS["oblique"])
    order = [2, 0, 1]
    affine = same.grid.patient_from_ijk[:, [*order, 3]]
    turned = Grid(tuple(same.grid.shape[k] for k in order), affine)
    assert len({round(float(s), 3) for s in turned.spacing_mm}) > 1
    found = fit_to_volume(
        LabelMap(same.labels.transpose(order), turned, same.names, "provided"), volume
    )
    assert found.warnings == ()
    assert found.grid.shape == turned.shape


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


def test_sides_the_wrong_way_round_are_refused() -> None:
    volume = toy_volume(GRIDS["oblique"])
    here = label_map(GRIDS["oblique"])
    swapped = here.labels.copy()
    swapped[here.labels == LABELS["hip_left"]] = LABELS["hip_right"]
    swapped[here.labels == LABELS["hip_right"]] = LABELS["hip_left"]
    with pytest.raises(UnsuitableCtError, match=r"hip_left lies \d+ mm to the right of hip_right"):
        fit_to_volume(LabelMap(swapped, here.grid, here.names, "provided"), volume)
    crossed = here.labels.copy()
    crossed[here.labels == LABELS["hip_left"]] = LABELS["facet_right"]
    crossed[here.labels == LABELS["hip_right"]] = LABELS["facet_left"]
    names = here.names - {"hip_left", "hip_right"} | {"facet_left", "facet_right"}
    with pytest.raises(UnsuitableCtError, match=r"facet_left lies \d+ mm to the right"):
        fit_to_volume(LabelMap(crossed, here.grid, names, "provided"), volume)
    # a lost sign: the same voxels, mirrored about the patient's own middle
    mirrored = Grid(here.grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ here.grid.patient_from_ijk)
    affine = mirrored.patient_from_ijk.copy()
    affine[0, 3] += 2 * toy_frame().origin[0]
    turned = Grid(here.grid.shape, affine)
    with pytest.raises(UnsuitableCtError, match="the file is mirrored or its names are swapped"):
        fit_to_volume(LabelMap(here.labels, turned, here.names, "provided"), volume)
