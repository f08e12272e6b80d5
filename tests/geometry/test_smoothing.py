from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import ndimage

from planner.geometry.smoothing import gaussian


@pytest.mark.parametrize("shape", [(20, 17, 23), (3, 40, 5), (1, 2, 30), (30, 1, 1)])
@pytest.mark.parametrize("sigma", [0.5, 2.5, (1.0, 0.0, 3.0)])
@pytest.mark.parametrize("truncate", [2.5, 4.0])
def test_the_figures_are_scipys(
    shape: tuple[int, ...], sigma: float | tuple[float, ...], truncate: float
) -> None:
    field = np.random.default_rng(4).normal(0, 300, shape).astype(np.float32)
    wanted = ndimage.gaussian_filter(field, sigma, truncate=truncate)
    np.testing.assert_allclose(gaussian(field, sigma, truncate), wanted, rtol=1e-6, atol=1e-4)


def test_any_memory_order_and_type_is_taken() -> None:
    field = np.asfortranarray(np.random.default_rng(4).integers(0, 900, (9, 8, 7)))
    wanted = ndimage.gaussian_filter(field.astype(np.float32), 1.5)
    np.testing.assert_allclose(gaussian(field, 1.5), wanted, rtol=1e-6)


def test_the_field_given_stays_as_it_is() -> None:
    field = np.random.default_rng(4).normal(size=(5, 6, 7)).astype(np.float32)
    before = field.copy()
    for sigma in (0.0, 1.0):
        found = gaussian(field, sigma)
        assert not np.shares_memory(found, field)
        assert np.array_equal(field, before)
    assert np.array_equal(gaussian(field, 0.0), field)


def test_the_number_of_threads_changes_nothing() -> None:
    field = np.random.default_rng(4).normal(size=(19, 6, 7)).astype(np.float32)
    before = numba.get_num_threads()
    found = []
    for count in range(1, before + 1):
        numba.set_num_threads(count)
        found.append(gaussian(field, 1.3))
    numba.set_num_threads(before)
    assert all(np.array_equal(found[0], other) for other in found)


def test_only_fields_of_three_axes() -> None:
    with pytest.raises(ValueError, match="three axes is smoothed, got shape"):
        gaussian(np.zeros((4, 4)), 1.0)
