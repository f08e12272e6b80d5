"""The cut on balls with a bright shell, and against an exhaustive search in a tiny image."""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest

from planner.segmentation.cut import CutSettings, _prices, directed_cut
from planner.segmentation.segment import largest


def distance_to_origin(n: int = 56) -> np.ndarray:
    axis = np.arange(n) - (n - 1) / 2
    return np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))


def ball(radius: float, shell_hu: float, inside_hu: float, outside_hu: float) -> np.ndarray:
    r = distance_to_origin()
    image = np.where(r < radius, inside_hu, outside_hu)
    return np.where((r < radius) & (r > radius - 2), shell_hu, image).astype(np.float32)


@pytest.mark.parametrize("error", [-2.0, 0.0, 2.0])
def test_the_cut_finds_the_outer_flank_from_a_wrong_template(error: float) -> None:
    image = ball(18.0, 400.0, 0.0, -60.0)
    prior = (distance_to_origin() - (18.0 + error)).astype(np.float32)
    found = directed_cut(image, prior, 1.0, CutSettings()) > 0.5
    truth = distance_to_origin() < 18.0
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    # a shift of half a voxel all around costs 0.04; the template alone reaches 0.83 and 0.84
    assert dice > 0.95


def test_forbidden_voxels_are_never_bone() -> None:
    image = ball(18.0, 400.0, 0.0, -60.0)
    prior = (distance_to_origin() - 18.0).astype(np.float32)
    forbidden = np.zeros(image.shape, bool)
    forbidden[:20] = True
    found = directed_cut(image, prior, 1.0, CutSettings(), forbidden) > 0.5
    assert found.any()
    assert not (found & forbidden).any()


def test_the_relaxation_reaches_the_cheapest_cut_of_an_exhaustive_search() -> None:
    rng = np.random.default_rng(3)
    image = rng.uniform(-100, 400, size=(3, 2, 2)).astype(np.float32)
    prior = rng.uniform(-2, 2, size=(3, 2, 2)).astype(np.float32)
    settings = CutSettings(iterations=6000, band_mm=3.0)
    found = directed_cut(image, prior, 2000.0, settings)  # spacing 2 m: no smoothing of the image
    unary = settings.pull * 2000.0 * prior
    prices = _prices(np.clip(image, -150, 700), settings)

    def energy(u: np.ndarray) -> float:
        total = float((unary * u).sum())
        for axis in range(3):
            here = np.take(u, range(u.shape[axis] - 1), axis)
            beyond = np.take(u, range(1, u.shape[axis]), axis)
            there = np.take(prices[2 * axis], range(u.shape[axis] - 1), axis)
            back = np.take(prices[2 * axis + 1], range(u.shape[axis] - 1), axis)
            total += float((there * np.maximum(here - beyond, 0)).sum())
            total += float((back * np.maximum(beyond - here, 0)).sum())
        return total

    best = min(
        energy(np.array(bits, float).reshape(image.shape))
        for bits in itertools.product((0, 1), repeat=image.size)
    )
    assert energy((found > 0.5).astype(float)) == pytest.approx(best, rel=1e-4)


def test_crumbs_are_dropped_and_large_parts_kept() -> None:
    mask = np.zeros((30, 30, 30), bool)
    mask[:20, :20, :20] = True
    mask[25:28, 20:28, 20:28] = True
    mask[29, 0, 0] = True
    kept = largest(mask)
    assert kept[26, 24, 24]
    assert not kept[29, 0, 0]


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    image = rng.uniform(-100, 400, size=(9, 8, 7)).astype(np.float32)
    prior = rng.uniform(-4, 4, size=image.shape).astype(np.float32)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(numba, "get_num_threads", lambda count=count: count)
        found.append(directed_cut(image, prior, 1.0, CutSettings()))
    assert 0.1 < (found[0] > 0.5).mean() < 0.9
    assert all(np.array_equal(found[0], other) for other in found)
