"""Shifting a plane: whole steps copy, parts of a step interpolate, nothing is lost inside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from planner.reading.tilt import shift_into


@given(st.floats(0, 4), st.floats(0, 3), st.integers(0, 2**32 - 1))
def test_agrees_with_scipy_inside(right, down, seed):
    plane = np.random.default_rng(seed).integers(-1024, 3000, (9, 7)).astype(np.int16)
    target = np.zeros((9 + 3, 7 + 4), np.int16)
    shift_into(target, plane, right, down, -1024)
    large = np.full(target.shape, -1024.0)
    large[:9, :7] = plane
    oracle = ndimage.shift(large, (down, right), order=1, mode="grid-constant", cval=-1024)
    # Shifts within a thousandth of a whole voxel are done without interpolation.
    np.testing.assert_allclose(target, oracle, atol=0.51 + 2 * 1e-3 * 4024)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (0, 2), (4, 3)])
def test_whole_steps_copy(right, down):
    plane = np.arange(63, dtype=np.int16).reshape(9, 7)
    target = np.zeros((12, 11), np.int16)
    shift_into(target, plane, float(right), float(down), -1024)
    np.testing.assert_array_equal(target[down : down + 9, right : right + 7], plane)
    assert (target == -1024).sum() == target.size - plane.size
