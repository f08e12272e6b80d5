"""Rings of bone are filled as scipy fills holes, section by section."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import ndimage

from planner.segmentation.hips import fill_rings


def oracle(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    for axis in range(3):
        for n in range(mask.shape[axis]):
            section = np.take(mask, n, axis)
            np.moveaxis(out, axis, 0)[n] |= ndimage.binary_fill_holes(section)
    return out


@pytest.mark.parametrize("count", [1, 3])
def test_holes_are_filled_along_every_axis(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: count)
    rng = np.random.default_rng(2)
    mask = np.zeros((24, 21, 26), bool)
    mask[3:22, :18, 5:] = ndimage.gaussian_filter(rng.normal(size=(19, 18, 21)), 1.0) > 0.0
    wanted = oracle(mask)
    assert (wanted & ~mask).sum() > 100
    assert np.array_equal(fill_rings(mask), wanted)


def test_a_tube_is_filled_between_its_ends() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 2:7, 1:8] = True
    mask[3:6, 3:6, :] = False
    filled = fill_rings(mask)
    assert filled[4, 4, 1:8].all()
    assert not filled[4, 4, [0, 8]].any()
    assert not fill_rings(np.zeros((3, 3, 3), bool)).any()
