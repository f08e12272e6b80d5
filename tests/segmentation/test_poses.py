"""Turning the header turns the labels with it; storing voxels in another order changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from planner.anatomy.orientation import check_lie
from planner.geometry.grid import Grid
from planner.model.anatomy import CHANNELS, LABELS
from planner.model.volume import Volume
from planner.segmentation import Segmentation, segment

pytestmark = pytest.mark.slow


def matrix(turn_deg: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix())


def turned(volume: Volume, turn_deg: tuple[float, float, float]) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = matrix(turn_deg)
    return replace(volume, grid=Grid(volume.grid.shape, affine @ volume.grid.patient_from_ijk))


@pytest.mark.parametrize(
    "turn_deg", [(0.0, 0.0, 15.0), (45.0, 30.0, -60.0), (-40.0, -25.0, 35.0), (10.0, 0.0, 100.0)]
)
def test_labels_turn_with_the_header(
    sample_volume: Volume,
    sample_segmentation: Segmentation,
    turn_deg: tuple[float, float, float],
) -> None:
    found = segment(turned(sample_volume, turn_deg))
    bone, before = (s.labels == LABELS["sacrum"] for s in (found, sample_segmentation))
    dice = 2 * (bone & before).sum() / (bone.sum() + before.sum())
    assert dice >= 0.97
    for name in CHANNELS:
        where = np.argwhere(found.labels == LABELS[name])
        whole = np.argwhere(sample_segmentation.labels == LABELS[name])
        assert (len(where) > 0) == (len(whole) > 0), name
        if len(where) and name != "sacral_canal":
            middle = found.grid.to_patient(where.mean(axis=0)) @ matrix(turn_deg)
            known = sample_segmentation.grid.to_patient(whole.mean(axis=0))
            assert np.linalg.norm(middle - known) < 1.0, name
    assert found.start is not None
    assert bool(check_lie(found.start.turn)) == (abs(turn_deg[2]) > 60.0)


def test_the_order_of_storage_changes_no_label(
    sample_volume: Volume, sample_segmentation: Segmentation
) -> None:
    axes, steps = (2, 0, 1), (slice(None, None, -1), slice(None), slice(None, None, -1))
    values = sample_volume.values.transpose(axes)[steps]
    grid = sample_volume.grid
    affine = np.eye(4)
    affine[:3, :3] = grid.patient_from_ijk[:3, list(axes)] * (-1.0, 1.0, -1.0)
    affine[:3, 3] = grid.to_patient((0, grid.shape[1] - 1, grid.shape[2] - 1))
    stored = Volume(
        np.asfortranarray(values),
        Grid(values.shape, affine, grid.frame_of_reference_uid),
        sample_volume.source,
    )
    found = segment(stored)
    back = found.labels[steps].transpose(tuple(np.argsort(axes)))
    np.testing.assert_array_equal(back, sample_segmentation.labels)
