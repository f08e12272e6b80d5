from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from planner.geometry.grid import Grid
from planner.model.anatomy import (
    LABELS,
    LEVELS,
    REGIONS,
    SIDES,
    Anatomy,
    Foramen,
    Region,
    SacralFrame,
    SacralSurface,
    side_sign,
)

EXACT = {"rtol": 0, "atol": 1e-9}
angles = st.tuples(*[st.floats(-180, 180)] * 3)
points = st.tuples(*[st.floats(-500, 500)] * 3)


def turned(turn: tuple[float, float, float]) -> np.ndarray:
    return Rotation.from_euler("xyz", turn, degrees=True).as_matrix()


@given(angles, points, points)
def test_to_the_sacrum_and_back(turn: tuple, origin: tuple, point: tuple) -> None:
    frame = SacralFrame(np.array(origin), turned(turn))
    np.testing.assert_allclose(frame.to_patient(frame.to_sacrum(point)), point, **EXACT)
    np.testing.assert_allclose(frame.to_sacrum(frame.to_patient(point)), point, **EXACT)
    np.testing.assert_allclose(frame.to_sacrum(origin), np.zeros(3), **EXACT)


@given(angles, points, points, points)
def test_distances_and_differences_survive(turn: tuple, origin: tuple, a: tuple, b: tuple) -> None:
    frame = SacralFrame(np.array(origin), turned(turn))
    apart = np.array(b) - np.array(a)
    np.testing.assert_allclose(
        frame.to_sacrum(b) - frame.to_sacrum(a), frame.direction_to_sacrum(apart), **EXACT
    )
    back = frame.direction_to_patient(frame.direction_to_sacrum(apart))
    np.testing.assert_allclose(back, apart, **EXACT)
    assert np.linalg.norm(frame.direction_to_sacrum(apart)) == pytest.approx(
        np.linalg.norm(apart), abs=1e-9
    )


@given(angles, angles, points, points)
def test_a_turned_patient_has_the_same_sacral_coordinates(
    turn: tuple, patient_turn: tuple, origin: tuple, point: tuple
) -> None:
    moved = turned(patient_turn)
    shift = np.array([30.0, -20.0, 10.0])
    before = SacralFrame(np.array(origin), turned(turn))
    after = SacralFrame(moved @ np.array(origin) + shift, moved @ turned(turn))
    np.testing.assert_allclose(
        after.to_sacrum(moved @ np.array(point) + shift), before.to_sacrum(point), **EXACT
    )


def test_the_axes_are_left_posterior_cranial() -> None:
    frame = SacralFrame(np.array([5.0, 6.0, 7.0]), np.eye(3))
    np.testing.assert_allclose(frame.to_sacrum([6.0, 6.0, 7.0]), [1, 0, 0])
    tilted = SacralFrame(np.zeros(3), turned((40.0, 0.0, 0.0)))
    up = tilted.direction_to_patient([0, 0, 1])
    np.testing.assert_allclose(up, [0, -np.sin(np.radians(40)), np.cos(np.radians(40))])


def test_many_points_at_once() -> None:
    frame = SacralFrame(np.ones(3), turned((10, 20, 30)))
    many = np.random.default_rng(0).normal(size=(4, 5, 3))
    assert frame.to_sacrum(many).shape == many.shape
    np.testing.assert_allclose(frame.to_sacrum(many)[2, 3], frame.to_sacrum(many[2, 3]))


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (np.diag([1.0, 1.0, -1.0]), "right-handed"),
        (np.eye(3)[:, [1, 0, 2]], "right-handed"),
        (np.diag([1.0, 1.0, 1.01]), "orthonormal columns, got"),
        (np.eye(3) + 0.01, "orthonormal columns, got"),
        (np.eye(4), "orthonormal columns, got"),
    ],
)
def test_what_is_no_frame_is_refused(axes: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SacralFrame(np.zeros(3), axes)


def test_sides_are_the_patient_s() -> None:
    assert SIDES == ("left", "right")
    assert [side_sign(side) for side in SIDES] == [1, -1]  # LPS: left is +x


def test_labels_are_unique_and_complete() -> None:
    values = list(LABELS.values())
    assert len(set(values)) == len(values)
    assert 0 not in values
    assert max(values) < 256
    assert {"sacrum", "sacral_canal", "hip_left", "hip_right", "l5"} <= set(LABELS)
    foramina = [name for name in LABELS if name.startswith("foramen_")]
    assert len(foramina) == len(LEVELS) * len(SIDES)
    with pytest.raises(TypeError):
        LABELS["femur"] = 99  # type: ignore[index]


def test_a_foramen_s_name_is_a_label() -> None:
    for level in LEVELS:
        for side in SIDES:
            item = Foramen(level, side, np.zeros(3), np.zeros(3), np.zeros(3), 8.0, 1.0)
            assert item.name in LABELS


def surface() -> SacralSurface:
    """Return one triangle per region."""
    count = len(REGIONS)
    faces = np.arange(3 * count).reshape(count, 3)
    vertices = np.random.default_rng(0).normal(size=(3 * count, 3))
    return SacralSurface(vertices, faces, np.arange(count, dtype=np.uint8))


def test_parts_of_the_surface_by_name() -> None:
    whole = surface()
    vertices, faces = whole.part(Region.ANTERIOR, Region.CANAL)
    assert vertices is whole.vertices
    wanted = [REGIONS.index(Region.ANTERIOR), REGIONS.index(Region.CANAL)]
    np.testing.assert_array_equal(faces, whole.faces[wanted])
    assert len(whole.part()[1]) == 0


def anatomy(labels: np.ndarray, grid: Grid) -> Anatomy:
    found = Foramen("S1", "left", np.zeros(3), np.zeros(3), np.zeros(3), 8.0, 1.0)
    line = np.zeros((2, 3))
    frame = SacralFrame(np.zeros(3), np.eye(3))
    return Anatomy(
        grid=grid,
        labels=labels,
        frame=frame,
        endplate_centre=np.zeros(3),
        endplate_normal=np.array([0.0, 0.0, 1.0]),
        axis=line,
        canal_axis=line,
        foramina=(found,),
        surface=surface(),
        source="builtin",
        confidence=1.0,
    )


def test_an_anatomy_s_labels_fit_its_grid_and_stay() -> None:
    grid = Grid((3, 4, 5), np.eye(4))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1, 2, 3] = LABELS["foramen_s1_left"]
    labels[0, 0, 0] = LABELS["sacrum"]
    made = anatomy(labels, grid)
    assert made.mask("foramen_s1_left").nonzero() == (1, 2, 3)
    assert made.mask("sacrum", "foramen_s1_left").sum() == 2
    with pytest.raises(ValueError, match="read-only"):
        made.labels[0, 0, 0] = 3
    with pytest.raises(ValueError, match=r"labels \(5, 4, 3\) do not fit the grid \(3, 4, 5\)"):
        anatomy(labels.T.copy(), grid)
    with pytest.raises(KeyError):
        made.mask("femur")


def test_a_foramen_that_was_not_found_is_none() -> None:
    made = anatomy(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)))
    assert made.foramen("S1", "left") is made.foramina[0]
    assert made.foramen("S1", "right") is None
