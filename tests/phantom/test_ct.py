from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from planner.phantom import Phantom
from planner.phantom.lattice import Noise, box_affine, sampled_field
from planner.phantom.tissue import coverage


def eroded(phantom: Phantom, *names: str) -> np.ndarray:
    return ndimage.binary_erosion(phantom.truth.mask(*names))


def test_tissues_have_their_hounsfield_units(coarse: Phantom) -> None:
    values, truth = coarse.volume.values, coarse.truth
    assert values.dtype == np.int16
    assert values.min() >= -1024
    assert values.max() <= 3071
    shell = truth.mask("sacrum") & ~eroded(coarse, "sacrum")
    assert np.percentile(values[shell], 75) > 150
    canal = values[eroded(coarse, "sacral_canal")]
    assert -100 < np.median(canal) < 60
    outside = truth.labels == 0
    soft = values[outside & (values > -300) & (values < 150)]
    counts, edges = np.histogram(soft, bins=90)
    peaks = edges[:-1][counts > 0.25 * counts.max()]
    assert ((peaks > -130) & (peaks < -70)).any(), "no peak of fat"
    assert ((peaks > 30) & (peaks < 75)).any(), "no peak of muscle"


def test_an_osteoporotic_ala_is_poorer_than_the_bodies_and_has_voids(coarse: Phantom) -> None:
    inside = ndimage.binary_erosion(coarse.truth.mask("sacrum"), iterations=1)
    index = np.argwhere(inside)
    at = coarse.truth.frame.to_sacrum(coarse.volume.grid.to_patient(index))
    values = coarse.volume.values[inside]
    in_level = (at[:, 2] > -30) & (at[:, 2] < -8) & (at[:, 1] < 12)
    body = values[in_level & (np.abs(at[:, 0]) < 14)]
    right_ala = values[in_level & (at[:, 0] < -30) & (at[:, 0] > -45)]
    assert np.median(right_ala) < np.median(body) - 30
    assert np.percentile(right_ala, 10) < 0


def test_the_fracture_is_on_the_left(coarse: Phantom) -> None:
    inside = coarse.truth.mask("sacrum")
    at = coarse.truth.frame.to_sacrum(coarse.volume.grid.to_patient(np.argwhere(inside)))
    values = coarse.volume.values[inside]
    level = (at[:, 2] > -40) & (at[:, 2] < -10) & (at[:, 1] < 14)
    band = level & (np.abs(np.abs(at[:, 0]) - 36) < 4)
    left, right = values[band & (at[:, 0] > 0)], values[band & (at[:, 0] < 0)]
    assert left.mean() > right.mean() + 100


def test_the_gantry_leans_the_rows_and_keeps_the_table(tilted: Phantom) -> None:
    stack = tilted.stack
    angle = np.deg2rad(14.0)
    np.testing.assert_allclose(stack.row, [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(stack.column, [0, np.cos(angle), np.sin(angle)], atol=1e-9)
    np.testing.assert_allclose(stack.step, [0, 0, 3.0], atol=1e-9)
    assert stack.normal @ stack.step == pytest.approx(3.0 * np.cos(angle))
    # A tilted stack has no grid: the volume is the same patient scanned upright.
    np.testing.assert_allclose(tilted.volume.grid.direction, np.eye(3), atol=1e-9)


def test_the_tilted_stack_shows_the_same_patient(tilted: Phantom) -> None:
    affine = tilted.stack.patient_from_ijk
    index = np.argwhere(np.ones(tilted.stack.shape, bool))
    points = index @ affine[:3, :3].T + affine[:3, 3]
    deep = tilted.truth.distance("sacrum_hull", points)
    values = tilted.pixels.reshape(-1)
    shell = tilted.truth.distance("sacrum", points)
    on_bone = np.abs(shell + 0.5) < 0.7
    assert values[on_bone].mean() > values[np.abs(deep - 6) < 2].mean() + 150


def test_coverage_keeps_the_amount_of_a_thin_shell() -> None:
    positions = np.arange(-10.0, 10.0, 1.0)
    for offset in np.linspace(0, 1, 7):
        distance = (positions + offset).astype(np.float32)
        shell = coverage(distance, 1.0) - coverage(distance + 0.4, 1.0)
        assert shell.sum() == pytest.approx(0.4, abs=1e-5)


def test_tables_follow_the_distance_and_noise_repeats() -> None:
    def ball(points: np.ndarray) -> np.ndarray:
        return (np.linalg.norm(points, axis=1) - 9.0).astype(np.float32)

    table = sampled_field(ball, np.full(3, -20.0), np.full(3, 20.0), 1.0, 60.0)
    line = box_affine(np.array([-12.3, 0.4, 0.2]), 0.7)
    found = table.on(line, (30, 1, 1))[:, 0, 0]
    x = -12.3 + 0.7 * np.arange(30)
    exact = np.sqrt(x**2 + 0.4**2 + 0.2**2) - 9.0
    near = np.abs(exact) < 2
    np.testing.assert_allclose(found[near], exact[near], atol=0.05)
    assert table.on(box_affine(np.full(3, 100.0), 1.0), (2, 2, 2)).min() == 60.0

    noise = Noise.draw(np.random.default_rng(1), 2.0, 16)
    here = noise.on(box_affine(np.array([-3.0, 1.0, 2.0]), 0.9), (20, 20, 20))
    period = 16 * noise.step_mm
    there = noise.on(box_affine(np.array([-3.0 + period, 1.0 - period, 2.0]), 0.9), (20, 20, 20))
    np.testing.assert_allclose(here, there, atol=1e-4)
    assert here.std() == pytest.approx(1.0, abs=0.35)
    with pytest.raises(ValueError, match="power of two"):
        Noise.draw(np.random.default_rng(1), 2.0, 20)
