"""L5 and its facet joints on the shipped sample case, whose truth is known exactly."""

from __future__ import annotations

from dataclasses import replace

import nrrd
import numpy as np
import pytest
from numpy.typing import NDArray

from planner.geometry.distance import within
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS, SIDES, side_sign
from planner.model.volume import Volume
from planner.segmentation import Segmentation, segment
from segmentation.conftest import SAMPLE

NEAR_MM = 25.0


@pytest.fixture(scope="module")
def true_bones(
    sample_segmentation: Segmentation, sample_volume: Volume
) -> dict[str, NDArray[np.bool_]]:
    """The true sacrum and L5 on the grid of the segmentation."""
    truth, _ = nrrd.read(str(SAMPLE / "truth.nrrd"))
    return {
        name: resample(
            (truth == LABELS[name]).astype(np.float32),
            sample_volume.grid,
            sample_segmentation.grid,
            0.0,
        )
        > 0.5
        for name in ("sacrum", "l5")
    }


def test_l5_follows_the_image_near_the_sacrum(
    sample_segmentation: Segmentation, true_bones: dict[str, NDArray[np.bool_]]
) -> None:
    spacing = sample_segmentation.grid.spacing_mm
    near = within(true_bones["sacrum"], spacing, NEAR_MM)
    found = (sample_segmentation.labels == LABELS["l5"]) & near
    true = true_bones["l5"] & near
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.83
    whole = within(true, spacing, 2.0)
    assert (found & whole).sum() / found.sum() > 0.95
    kept_off = np.isin(
        sample_segmentation.labels, [LABELS[n] for n in ("l5", "facet_left", "facet_right")]
    )
    # behind the body, where needles pass, next to nothing of L5 may be missing
    behind = true & within(true_bones["sacrum"], spacing, 8.0)
    assert (kept_off & behind).sum() / behind.sum() > 0.88


def test_either_facet_joint_lies_between_l5_and_the_sacrum(
    sample_segmentation: Segmentation, true_bones: dict[str, NDArray[np.bool_]]
) -> None:
    grid = sample_segmentation.grid
    gap = within(true_bones["sacrum"], grid.spacing_mm, 3.0)
    gap &= within(true_bones["l5"], grid.spacing_mm, 3.0)
    gap &= ~true_bones["sacrum"] & ~true_bones["l5"]
    middle = float(grid.to_patient(np.argwhere(true_bones["sacrum"])).mean(axis=0)[0])
    true = grid.to_patient(np.argwhere(gap))
    for side in SIDES:
        found = grid.to_patient(np.argwhere(sample_segmentation.labels == LABELS[f"facet_{side}"]))
        mine = true[side_sign(side) * (true[:, 0] - middle) > 5.0]
        assert len(found) > 50
        assert (side_sign(side) * (found[:, 0] - middle) > 5.0).all()
        assert np.linalg.norm(found.mean(axis=0) - mine.mean(axis=0)) < 4.0


def test_a_ct_that_ends_inside_l5_keeps_its_facet_joints(
    sample_segmentation: Segmentation, sample_volume: Volume
) -> None:
    sacrum = np.argwhere(sample_segmentation.labels == LABELS["sacrum"])
    top = sample_segmentation.grid.to_patient(sacrum)[:, 2].max()
    grid = sample_volume.grid
    kept = int(
        grid.to_ijk(np.array([[*grid.to_patient(np.zeros((1, 3)))[0, :2], top + 3.0]]))[0, 2]
    )
    cut = replace(
        sample_volume,
        values=sample_volume.values[:, :, :kept],
        grid=grid.crop((0, 0, 0), (*grid.shape[:2], kept)),
    )
    found = segment(cut)
    assert (found.labels == LABELS["l5"]).sum() > 1000
    for side in SIDES:
        one, other = (
            s.grid.to_patient(np.argwhere(s.labels == LABELS[f"facet_{side}"]))
            for s in (found, sample_segmentation)
        )
        assert len(one) > 0.7 * len(other)
        assert np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) < 2.0


def test_no_l5_is_invented_where_the_image_shows_none(
    sample_segmentation: Segmentation, sample_volume: Volume
) -> None:
    lumbar = [LABELS[name] for name in ("l5", "facet_left", "facet_right")]
    where = np.argwhere(np.isin(sample_segmentation.labels, lumbar))
    centres = sample_volume.grid.to_ijk(sample_segmentation.grid.to_patient(where))
    wiped = np.zeros(sample_volume.grid.shape, bool)
    wiped[tuple(np.rint(centres).astype(int).T)] = True
    wiped = within(wiped, sample_volume.grid.spacing_mm, 8.0)
    sacrum = resample(
        (sample_segmentation.labels == LABELS["sacrum"]).astype(np.float32),
        sample_segmentation.grid,
        sample_volume.grid,
        0.0,
    )
    wiped &= ~within(sacrum > 0.5, sample_volume.grid.spacing_mm, 2.0)
    values = np.where(wiped, np.float32(40.0), sample_volume.values)
    found = segment(replace(sample_volume, values=values))
    assert np.isin(found.labels, lumbar).sum() < 0.02 * len(where)
