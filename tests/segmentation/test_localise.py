"""The contrast of a pose against its slow form, and the bend of a steep sacrum."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.geometry.sampling import sample
from planner.phantom import PhantomParameters, make_phantom
from planner.segmentation.localise import NOT_IMAGED, NOT_SEEN, _Contrast, localise
from planner.segmentation.pose import Pose
from planner.segmentation.segment import ordered_volume
from planner.segmentation.template import Surface, build_template


@pytest.fixture
def surface() -> Surface:
    d = np.random.default_rng(1).normal(size=(900, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return Surface(30.0 * d, np.zeros((0, 3), int), d)


@pytest.mark.parametrize("count", [1, 3])
def test_the_contrast_of_a_pose(
    surface: Surface, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: count)
    grid = Grid.from_axes((24, 25, 26), (-44.0, -49.0, -52.0), (4.0, 4.0, 4.0))
    boneness = np.random.default_rng(2).uniform(size=grid.shape).astype(np.float32)
    smaller = Surface(0.5 * surface.vertices, surface.faces, surface.normals)
    contrast = _Contrast(boneness, grid, [(surface, 1.0), (smaller, 0.5)])
    pose = Pose(np.array([3.0, -2.0, 1.0]), np.array([20.0, -9.0, 4.0]), np.array([0.1, -0.1, 0.0]))
    points = np.concatenate([surface.vertices, smaller.vertices])
    where, out = pose.apply(points), pose.turn(np.concatenate([surface.normals] * 2))
    inside = sample(contrast.field, grid, where - out, 0.0)
    outside = sample(contrast.field, grid, where + 7.0 * out, 0.0)
    each = inside - 0.6 * outside
    wanted = (each[:900].mean() + 0.5 * each[900:].mean()) / 1.5
    assert contrast(pose) == pytest.approx(wanted, abs=1e-6)


def test_surface_off_the_image_counts_neither_way(surface: Surface) -> None:
    grid = Grid.from_axes((24, 25, 26), (-44.0, -49.0, -52.0), (4.0, 4.0, 4.0))
    boneness = np.full(grid.shape, 0.5, np.float32)
    inside = _Contrast(boneness, grid, [(surface, 1.0)])
    still = Pose(np.zeros(3), np.zeros(3), np.zeros(3))
    assert inside(still) == pytest.approx(0.5 - 0.6 * 0.5, abs=1e-6)
    boneness[:12] = NOT_IMAGED  # the left half of the ball looks at nothing
    half = _Contrast(boneness, grid, [(surface, 1.0)])
    seen = (surface.vertices[:, 0] > 8.0).mean()
    assert half(still) == pytest.approx(0.2 * seen + NOT_SEEN * (1 - seen), abs=0.02)
    away = Pose(np.array([900.0, 0.0, 0.0]), np.zeros(3), np.zeros(3))
    assert half(away) == pytest.approx(NOT_SEEN)


def test_a_steep_sacrum_is_bent_the_right_way() -> None:
    """A drawn person whose search for the bend, begun without one, ended 27 mm off at S3."""
    drawn = PhantomParameters.sample(np.random.default_rng(20), "F")
    coarse = {"spacing_mm": 1.8, "slice_spacing_mm": 1.8, "slice_thickness_mm": 1.8}
    phantom = make_phantom(replace(drawn, **coarse))
    template = build_template()
    found = localise(ordered_volume(phantom.volume), template)
    for known in phantom.truth.foramina:
        if known.level == "S3":
            centre = template.landmarks[f"foramen_s3_{known.side}"][1]
            place = found.pose.apply(found.bend.apply(centre)) @ found.turn.T
            assert np.linalg.norm(place - np.asarray(known.centre)) < 10.0
