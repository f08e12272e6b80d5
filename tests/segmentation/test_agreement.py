from __future__ import annotations

import nrrd
import numpy as np
import pytest

from planner.errors import UntrustedAnatomyError
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.model.volume import Volume
from planner.segmentation import complete_labels
from planner.segmentation.agreement import border_contrast, check_border
from segmentation.conftest import SAMPLE


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return nrrd.read(str(SAMPLE / "truth.nrrd"))[0].astype(np.uint8)


def moved(grid: Grid, by: tuple[float, float, float]) -> Grid:
    affine = grid.patient_from_ijk.copy()
    affine[:3, 3] += by
    return Grid(grid.shape, affine, grid.frame_of_reference_uid)


def test_labels_in_place_lie_on_bone(labels: np.ndarray, sample_volume: Volume) -> None:
    assert border_contrast(labels, sample_volume.grid, sample_volume) > 100
    assert check_border(labels, sample_volume.grid, sample_volume) == ()
    alone = (labels == LABELS["sacrum"]).astype(np.uint8)
    assert border_contrast(alone, sample_volume.grid, sample_volume) > 100


def test_the_grid_of_the_labels_is_their_own(labels: np.ndarray, sample_volume: Volume) -> None:
    coarse = sample_volume.grid.crop((1, 1, 1), sample_volume.grid.shape)
    here = border_contrast(labels[1:, 1:, 1:], coarse, sample_volume)
    np.testing.assert_allclose(
        here, border_contrast(labels, sample_volume.grid, sample_volume), 0.02
    )


@pytest.mark.parametrize("by", [(60, 0, 0), (-60, 0, 0), (0, -60, 0), (0, 0, 60), (0, 20, 0)])
@pytest.mark.parametrize("alone", [False, True])
def test_labels_of_another_place_are_refused(
    by: tuple[float, float, float], alone: bool, labels: np.ndarray, sample_volume: Volume
) -> None:
    given = (labels == LABELS["sacrum"]).astype(np.uint8) if alone else labels
    with pytest.raises(UntrustedAnatomyError, match=r"-?\d+ HU brighter .* 40 HU or more"):
        complete_labels(given, moved(sample_volume.grid, by), sample_volume)


@pytest.mark.parametrize("aside_mm", [8.0, -15.0])
def test_a_mirrored_sacrum_is_refused_unless_about_its_own_middle(
    aside_mm: float, labels: np.ndarray, sample_volume: Volume
) -> None:
    alone = (labels == LABELS["sacrum"]).astype(np.uint8)
    grid = sample_volume.grid
    middle = grid.to_patient(np.argwhere(alone > 0)).mean(axis=0)[0] + aside_mm
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.patient_from_ijk  # a lost sign of x
    affine[0, 3] += 2.0 * middle
    with pytest.raises(UntrustedAnatomyError, match="does not lie on bone"):
        complete_labels(alone, Grid(grid.shape, affine), sample_volume)


def test_doubtful_labels_are_said(labels: np.ndarray, sample_volume: Volume) -> None:
    contrasts = []
    for shift in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5):
        grid = moved(sample_volume.grid, (0.0, shift, 0.0))
        contrasts.append(border_contrast(labels, grid, sample_volume))
        if contrasts[-1] < 75:
            break
    assert contrasts == sorted(contrasts, reverse=True)
    assert 40 < contrasts[-1] < 75
    assert "it may be displaced or mirrored" in check_border(labels, grid, sample_volume)[0]
