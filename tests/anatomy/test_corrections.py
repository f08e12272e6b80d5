"""A person's corrections: what moves, what closes behind it, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from planner.anatomy import derive_anatomy
from planner.anatomy.corrections import MarkBall, MoveChannel, corrected
from planner.model.anatomy import CHANNELS, LABELS
from tests.support import toy

NAME = "foramen_s2_left"


@pytest.mark.parametrize("axes", toy.AWKWARD)
def test_a_channel_moves_as_a_whole_and_bone_closes_behind_it(axes: str) -> None:
    labels, grid, truth = toy.toy_labels(axes)
    left, posterior, cranial = truth.frame.axes.T
    by = tuple(3.0 * left - 2.0 * cranial)
    found = corrected(labels, grid, [MoveChannel(NAME, by)], left)
    old, new = labels == LABELS[NAME], found == LABELS[NAME]
    gone = grid.to_patient(np.argwhere(new)).mean(axis=0) - grid.to_patient(np.argwhere(old)).mean(
        axis=0
    )
    assert gone == pytest.approx(np.array(by), abs=0.5)
    assert new.sum() == pytest.approx(old.sum(), rel=0.03)
    assert not ((labels > 1) & new & ~old).any()  # no other structure gave way
    vacated = old & ~new
    assert (found[vacated] == LABELS["sacrum"]).mean() > 0.97
    others = ~(old | new)
    assert np.array_equal(found[others], labels[others])
    assert labels is not found


def test_the_anatomy_follows(axes: str = "oblique") -> None:
    labels, grid, truth = toy.toy_labels(axes)
    left = truth.frame.axes[:, 0]
    by = tuple(2.5 * left)
    found = corrected(labels, grid, [MoveChannel(NAME, by)], left)
    before = derive_anatomy(labels, grid, source="provided")
    after = derive_anatomy(found, grid, source="provided")
    ends = [next(f for f in a.foramina if f.name == NAME) for a in (before, after)]
    assert ends[1].centre - ends[0].centre == pytest.approx(np.array(by), abs=0.6)


def test_nothing_outside_becomes_bone() -> None:
    labels, grid, truth = toy.toy_labels("straight")
    left, posterior, _ = truth.frame.axes.T
    # Its ventral end reaches out of the bone first: pulled back, that end is no bone.
    out = corrected(labels, grid, [MoveChannel(NAME, tuple(-8.0 * posterior))], left)
    back = corrected(out, grid, [MoveChannel(NAME, tuple(8.0 * posterior))], left)
    assert not ((back == LABELS["sacrum"]) & (labels == 0)).any()


def test_bone_on_one_side_alone_is_outside() -> None:
    labels, grid, truth = toy.toy_labels("straight")
    left = truth.frame.axes[:, 0]
    bone = labels == LABELS["sacrum"]
    lateral = int(np.argwhere(bone).max(axis=0)[0])
    beside = np.argwhere(bone[lateral])[0]
    index = (min(lateral + 2, labels.shape[0] - 1), *beside)
    odd = np.array(labels)
    odd[odd == LABELS[NAME]] = LABELS["sacrum"]
    odd[index] = LABELS[NAME]
    inwards = -6.0 * left if left[0] * grid.direction[0, 0] > 0 else 6.0 * left
    moved = corrected(odd, grid, [MoveChannel(NAME, tuple(inwards))], left)
    assert moved[index] == 0


def test_a_channel_is_never_cut_by_another_structure() -> None:
    labels, grid, truth = toy.toy_labels("straight")
    left = truth.frame.axes[:, 0]
    other = "foramen_s3_left"
    places = [np.argwhere(labels == LABELS[name]).mean(axis=0) for name in (NAME, other)]
    onto = MoveChannel(NAME, tuple(np.subtract(*grid.to_patient(places[::-1]))))
    with pytest.raises(ValueError, match="foramen_s2_left would lie within another structure"):
        corrected(labels, grid, [onto], left)
    away = MoveChannel(other, tuple(20.0 * left))
    both = corrected(labels, grid, [onto, away], left)
    for name in (NAME, other):
        before, after = ((each == LABELS[name]).sum() for each in (labels, both))
        assert after == pytest.approx(before, rel=0.1)
    with pytest.raises(ValueError, match="moved once"):
        corrected(labels, grid, [away, away], left)


def test_bone_is_never_marked_over_a_channel() -> None:
    labels, grid, truth = toy.toy_labels("straight")
    channels = np.isin(labels, [LABELS[name] for name in CHANNELS])
    middle = tuple(grid.to_patient(np.argwhere(labels == LABELS[NAME])).mean(axis=0))
    found = corrected(labels, grid, [MarkBall(middle, 20.0, True)], truth.frame.axes[:, 0])
    assert np.array_equal(found[channels], labels[channels])
    assert (found != labels).any()


@pytest.mark.parametrize("axes", toy.AWKWARD)
def test_a_ball_is_marked(axes: str) -> None:
    labels, grid, truth = toy.toy_labels(axes)
    centre = tuple(truth.frame.to_patient((36.0, 10.0, -24.0)))
    hole = corrected(labels, grid, [MarkBall(centre, 5.0, False)], truth.frame.axes[:, 0])
    cut = (labels == LABELS["sacrum"]) & (hole == 0)
    assert cut.sum() * np.prod(grid.spacing_mm) == pytest.approx(4 / 3 * np.pi * 125, rel=0.05)
    off = np.linalg.norm(grid.to_patient(np.argwhere(cut)) - np.array(centre), axis=1)
    assert off.max() <= 5.0
    filled = corrected(hole, grid, [MarkBall(centre, 5.0, True)], truth.frame.axes[:, 0])
    assert np.array_equal(filled, labels)


def test_other_bones_are_never_touched() -> None:
    labels, grid, truth = toy.toy_labels("straight")
    hips = np.isin(labels, [LABELS["hip_left"], LABELS["l5"]])
    middle = tuple(grid.to_patient(np.argwhere(labels == LABELS["hip_left"])).mean(axis=0))
    for bone in (True, False):
        found = corrected(labels, grid, [MarkBall(middle, 15.0, bone)], truth.frame.axes[:, 0])
        assert np.array_equal(found[hips], labels[hips])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="only channels can be moved"):
        MoveChannel("sacrum", (1.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="by up to 30 mm, not 40"):
        MoveChannel(NAME, (40.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="radius of 1 to 20 mm, not 50"):
        MarkBall((0.0, 0.0, 0.0), 50.0, True)
    labels, grid, truth = toy.toy_labels("straight")
    with pytest.raises(ValueError, match="foramen_s5_left is not in the label map"):
        move = MoveChannel("foramen_s5_left", (1.0, 0.0, 0.0))
        corrected(labels, grid, [move], truth.frame.axes[:, 0])
