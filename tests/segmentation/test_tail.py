"""Growth below S4 on a made-up column of bone: what is joined, what is not, what stays free."""

from types import SimpleNamespace

import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.segmentation.tail import REACH_MM, grow_tail

GRID = Grid.from_axes((61, 61, 121), (-30.0, -30.0, -60.0), (1.0, 1.0, 1.0))
POINTS = GRID.to_patient(np.stack(np.indices(GRID.shape), axis=-1))
X, Y, Z = POINTS[..., 0], POINTS[..., 1], POINTS[..., 2]
FOUND_DOWN_TO = -12.0


def level(z_mm: float) -> dict[str, np.ndarray]:
    """Landmarks of one level, rows ventral, centre, dorsal."""
    return {
        side: np.array(
            [[sign * 12.0, -5.0, z_mm], [sign * 12.0, 0.0, z_mm], [sign * 12.0, 5, z_mm]]
        )
        for side, sign in (("left", 1.0), ("right", -1.0))
    }


@pytest.fixture
def fitted() -> SimpleNamespace:
    marks = {f"foramen_s3_{s}": m for s, m in level(20.0).items()}
    marks |= {f"foramen_s4_{s}": m for s, m in level(0.0).items()}
    sacrum = SimpleNamespace(vertices=np.array([[0.0, 0, 60], [0.0, 0, FOUND_DOWN_TO]]))
    return SimpleNamespace(landmarks=marks, sacrum=sacrum)


def column(low: float, high: float = 60.0, half_width: float = 8.0) -> np.ndarray:
    return (np.abs(X) < half_width) & (np.abs(Y) < 6) & (low <= Z) & (high >= Z)


def image_of(*bones: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 10, GRID.shape)
    return np.where(np.any(bones, axis=0), 250.0, 40.0).astype(np.float32) + noise.astype(
        np.float32
    )


def test_follows_the_bone_to_its_end(fitted: SimpleNamespace) -> None:
    true = column(-32.0)
    grown = grow_tail(image_of(true), GRID, column(FOUND_DOWN_TO), fitted, {})
    assert (grown & true).sum() > 0.98 * true.sum()
    assert (grown & ~true).sum() < 0.03 * true.sum()


def test_leaves_bone_that_is_not_joined(fitted: SimpleNamespace) -> None:
    true, other = column(-20.0), (np.abs(X - 22) < 4) & (np.abs(Y) < 4) & (np.abs(Z + 25) < 10)
    grown = grow_tail(image_of(true, other), GRID, column(FOUND_DOWN_TO), fitted, {})
    assert not (grown & other).any()


def test_goes_no_further_than_its_reach(fitted: SimpleNamespace) -> None:
    grown = grow_tail(image_of(column(-60.0)), GRID, column(FOUND_DOWN_TO), fitted, {})
    assert Z[grown].min() >= FOUND_DOWN_TO - REACH_MM - 1.0


def test_adds_nothing_above_s4(fitted: SimpleNamespace) -> None:
    wide = column(-20.0, half_width=16.0)
    found = column(FOUND_DOWN_TO)
    grown = grow_tail(image_of(wide), GRID, found, fitted, {})
    assert np.array_equal(grown[Z > 11], found[Z > 11])
    assert grown[wide & (Z < 5)].mean() > 0.9


def test_keeps_the_fourth_foramen_free(fitted: SimpleNamespace) -> None:
    distance = (np.hypot(X - 4.0, Z + 2.0) - 3.0).astype(np.float32)
    channels = {"foramen_s4_left": distance}
    found = column(FOUND_DOWN_TO) & (distance > 0)
    grown = grow_tail(image_of(column(-20.0)), GRID, found, fitted, channels)
    assert not grown[distance < -1.5].any()


def test_returns_the_bone_where_nothing_lies_below(fitted: SimpleNamespace) -> None:
    found = column(30.0)
    assert np.array_equal(grow_tail(image_of(found), GRID, found, fitted, {}), found)
