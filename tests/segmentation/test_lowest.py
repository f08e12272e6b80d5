"""Lower foramina that lie elsewhere are found, and those in place stay."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.geometry.voxelise import voxelise
from planner.segmentation.lowest import ROWS, carry_along, seek
from planner.segmentation.template import Template, build_template

S3, S4 = ROWS


@lru_cache(maxsize=1)
def template() -> Template:
    return build_template()


def down(level: str, above: str, side: str) -> np.ndarray:
    """Unit vector down the row of foramina."""
    marks = template().landmarks
    way = marks[f"foramen_{level}_{side}"][1] - marks[f"foramen_{above}_{side}"][1]
    return way / np.linalg.norm(way)


def image_with(moved: dict[str, np.ndarray]) -> tuple[np.ndarray, Grid]:
    """Bone with dark channels where the template has them, but for those that are moved."""
    t = template()
    grid = Grid.around(t.hull.vertices, 1.0, 20.0)
    image = np.full(grid.shape, 0.0, np.float32)
    image[voxelise(t.hull.vertices, t.hull.faces, grid)] = 250.0
    for name, channel in t.channels.items():
        vertices = channel.vertices + moved.get(name, 0.0)
        image[voxelise(vertices, channel.faces, grid)] = 20.0
    return image, grid


def test_channels_in_place_are_not_moved() -> None:
    image, grid = image_with({})
    for row in ROWS:
        assert seek(image, grid, template().channels, template().landmarks, row) == {}


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_fourth_foramen_half_a_level_off_is_found(side: str) -> None:
    there = 9.0 * down("s4", "s3", side)
    image, grid = image_with({f"foramen_s4_{side}": there})
    found = seek(image, grid, template().channels, template().landmarks, S4)
    assert list(found) == [side]
    assert np.linalg.norm(found[side] - there) < 2.5


def test_a_third_pair_half_a_level_off_is_found() -> None:
    there = {
        f"foramen_{level}_{side}": 8.0 * down("s3", "s2", side)
        for level in ("s3", "s4")
        for side in ("left", "right")
    }
    image, grid = image_with(there)
    found = seek(image, grid, template().channels, template().landmarks, S3)
    assert set(found) == {"left", "right"}
    for side, shift in found.items():
        assert np.linalg.norm(shift - there[f"foramen_s3_{side}"]) < 2.5


def test_what_is_carried_along_lies_below_and_on_its_side() -> None:
    marks = template().landmarks
    shifts = {"left": np.array([0.0, 2.0, -8.0])}

    def moved(name: str) -> float:
        return float(np.linalg.norm(carry_along(marks[name][1][None], shifts, marks, S4)))  # type: ignore[arg-type]

    assert moved("foramen_s4_left") == pytest.approx(np.hypot(2.0, 8.0), rel=0.1)
    for name in ("foramen_s4_right", "foramen_s3_left", "foramen_s2_left", "foramen_s1_right"):
        assert moved(name) == pytest.approx(0.0, abs=0.3), name
    steps = marks["foramen_s3_left"][1] + np.linspace(0, 60, 121)[:, None] * down(
        "s4", "s3", "left"
    )
    after = steps + carry_along(steps, shifts, marks, S4)  # type: ignore[arg-type]
    along = after @ down("s4", "s3", "left")
    assert (np.diff(along) > 0).all()  # nothing folds over
