from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from planner.model.anatomy import LABELS
from planner.phantom import Phantom, PhantomParameters, PhantomTruth
from planner.phantom.anatomy import PhantomAnatomy
from planner.shape.parameters import SacrumParameters


def test_labels_equal_the_sign_of_the_analytic_distance_everywhere(coarse: Phantom) -> None:
    # Every tenth voxel, drawn at random; the label map itself is evaluated near surfaces only.
    truth = coarse.truth
    index = np.argwhere(np.random.default_rng(0).random(truth.grid.shape) < 0.1)
    points = truth.grid.to_patient(index)
    expected = np.zeros(len(index), np.uint8)
    for name in reversed(truth.structures):
        expected[truth.distance(name, points) < 0] = LABELS[name]
    assert len(np.unique(expected)) == 14
    np.testing.assert_array_equal(truth.labels[tuple(index.T)], expected)


def test_distance_volumes_are_the_distances(coarse: Phantom) -> None:
    part = coarse.truth.grid.crop((30, 20, 20), (34, 25, 26))
    volume = coarse.truth.distance_volume("sacrum", part)
    point = part.to_patient((2, 3, 4))
    assert volume[2, 3, 4] == pytest.approx(float(coarse.truth.distance("sacrum", point)), abs=1e-4)


def test_foramina_lie_in_their_own_labels(coarse: Phantom) -> None:
    truth = coarse.truth
    assert len(truth.foramina) == 8
    assert [f.name for f in truth.foramina][:2] == ["foramen_s1_left", "foramen_s1_right"]
    for foramen in truth.foramina:
        assert truth.distance(foramen.name, foramen.centre) < 0
        index = tuple(np.rint(truth.grid.to_ijk(foramen.centre)).astype(int))
        assert truth.labels[index] == LABELS[foramen.name]
        assert truth.distance("sacrum", foramen.centre) > 0


def test_sides_levels_and_openings_are_where_they_belong(coarse: Phantom) -> None:
    truth = coarse.truth
    for level in ("S1", "S2", "S3", "S4"):
        left, right = truth.foramen(level, "left"), truth.foramen(level, "right")
        assert left.centre[0] > truth.endplate_centre[0] + 8 > right.centre[0] + 16
        for item in (left, right):
            assert item.dorsal[1] > item.ventral[1]
    heights = [truth.foramen(level, "left").centre[2] for level in ("S1", "S2", "S3", "S4")]
    assert heights == sorted(heights, reverse=True)
    x = truth.grid.to_patient(np.argwhere(truth.mask("foramen_s1_left")))[:, 0]
    assert (
        x > truth.grid.to_patient(np.argwhere(truth.mask("foramen_s1_right")))[:, 0].max()
    ).all()
    with pytest.raises(KeyError, match="no foramen S5 left"):
        truth.foramen("S5", "left")


def test_the_endplate_follows_slope_and_pose() -> None:
    upright = PhantomAnatomy(PhantomParameters(sacral_slope_deg=40.0)).frame
    np.testing.assert_allclose(
        upright.axes[:, 2], [0.0, -np.sin(np.deg2rad(40)), np.cos(np.deg2rad(40))], atol=1e-12
    )
    np.testing.assert_allclose(upright.axes[:, 0], [1.0, 0.0, 0.0], atol=1e-12)
    turned = PhantomAnatomy(PhantomParameters(yaw_deg=10.0)).frame
    # Positive yaw takes the patient's left backwards.
    assert turned.axes[1, 0] == pytest.approx(np.sin(np.deg2rad(10)))
    assert np.linalg.det(turned.axes) == pytest.approx(1.0)


def test_the_sacrum_lies_within_the_field_and_the_skin_behind_it(coarse: Phantom) -> None:
    sacrum = np.argwhere(coarse.truth.mask("sacrum"))
    assert (sacrum.min(axis=0)[1:] > 0).all()
    assert (sacrum.max(axis=0) < np.array(coarse.volume.grid.shape) - 1).all()
    assert (coarse.volume.values[:, -1, :] < -900).mean() > 0.9


def test_five_pairs_and_unknown_structures() -> None:
    five = PhantomParameters(sacrum=SacrumParameters(foramen_pairs=5))
    anatomy = PhantomAnatomy(five)
    assert "foramen_s5_right" in anatomy.structures
    assert len(anatomy.landmarks()) == 10
    with pytest.raises(ValueError, match="no structure 'foramen_s5_left'.*known: sacrum"):
        PhantomAnatomy(PhantomParameters()).distance_sacrum("foramen_s5_left")


def test_distances_do_not_depend_on_the_pose() -> None:
    rng = np.random.default_rng(0)
    local = rng.uniform([-60, -30, -100], [60, 50, 10], (400, 3))
    base = PhantomParameters()
    moved = dataclasses.replace(base, yaw_deg=12.0, roll_deg=-7.0, position_mm=(5.0, 60.0, -700.0))
    values = []
    for parameters in (base, moved):
        anatomy = PhantomAnatomy(parameters)
        values.append(anatomy.distance("sacrum", anatomy.frame.to_patient(local)))
    np.testing.assert_allclose(values[0], values[1], atol=1e-2)


def test_truth_tells_of_fractures_on_their_side(coarse: Phantom) -> None:
    left = coarse.truth.fracture_line("left")
    assert len(left) > 5
    assert (coarse.truth.frame.to_sacrum(left)[:, 0] > 25).all()
    assert coarse.truth.fracture_line("right").shape == (0, 3)
    plain = coarse.truth.to_dict()
    assert [line["side"] for line in plain["fractures"]] == ["left"]


def test_prone_and_supine_hold_the_same_anatomy(coarse: Phantom, prone: Phantom) -> None:
    supine_labels = coarse.truth.labels
    np.testing.assert_array_equal(prone.truth.labels[::-1, ::-1], supine_labels)
    np.testing.assert_allclose(np.diag(prone.volume.grid.direction), [-1.0, -1.0, 1.0])
    for a, b in zip(coarse.truth.foramina, prone.truth.foramina, strict=True):
        np.testing.assert_allclose(a.centre, b.centre)
    # The bone looks the same too; only table and skin differ.
    bone = coarse.truth.mask("sacrum")
    difference = prone.volume.values[::-1, ::-1].astype(int) - coarse.volume.values
    assert abs(difference[bone].mean()) < 2.0


def test_truth_can_be_made_on_any_grid(coarse: Phantom) -> None:
    truth = coarse.truth
    part = truth.grid.crop((20, 20, 10), (40, 36, 20))
    other = PhantomTruth.of(truth.anatomy, part)
    np.testing.assert_array_equal(other.labels, truth.labels[20:40, 20:36, 10:20])
