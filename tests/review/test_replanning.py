"""Corrections of the anatomy: undoable, told, and planned on with nothing lost."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from planner.errors import ConfigurationError, OutputError
from planner.export.plan_json import read_plan
from planner.export.segmentation_nrrd import write_segmentation
from planner.pipeline import OpenPlan
from planner.review.desk import Desk
from planner.review.replanning import corrected_anatomy, corrected_labels
from planner.review.session import Session
from tests.review.conftest import again
from tests.review.test_session import LEFT, RIGHT, move

FORAMEN = "foramen_s2_left"


def centre(session: Session, name: str = FORAMEN) -> np.ndarray:
    return next(f.centre for f in session.opened.anatomy.foramina if f.name == name)


def shift(session: Session) -> None:
    left = session.opened.anatomy.frame.axes[:, 0]
    session.move_channel(FORAMEN, centre(session) + 2.0 * left)


def test_corrections_are_changes_like_others(
    session: Session, opened: OpenPlan, folder: Path
) -> None:
    shift(session)
    session.mark_ball(centre(session, "foramen_s3_right"), 4.0, True)
    assert len(session.state.corrections) == 2
    assert "foramen s2 left moved by 2.0 mm" in session.history.changes[0].action
    session.undo()
    assert len(session.state.corrections) == 1
    assert again(opened, folder).state == session.state
    with pytest.raises(ConfigurationError, match="plan again, or withdraw the corrections"):
        session.save()


def test_they_are_drawn_where_they_lie(session: Session) -> None:
    desk = Desk.of(session)
    session.mark_ball(desk.cross, 6.0, False)
    radius = 6.0 / desk.pane("axial").mm_per_pixel
    circle = f'class="correction" cx="240.00" cy="240.00" r="{radius:.2f}"'
    assert circle in desk.overlay("axial")
    desk.scroll("axial", 7)
    assert 'class="correction"' not in desk.overlay("axial")


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda s: s.move_channel("foramen_s5_left", (0, 0, 0)), "has no foramen s5 left"),
        (lambda s: s.move_channel(FORAMEN, centre(s) + (0, 0, 50)), "by up to 30 mm"),
        (lambda s: s.mark_ball((0, 0, 0), 99.0, True), "a radius of 1 to 20 mm"),
        (lambda s: s.replan(), "nothing of the anatomy was corrected"),
    ],
)
def test_what_cannot_be_is_refused(session: Session, act, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        act(session)
    assert session.unsaved == 0


def test_moving_again_takes_the_place_of_the_move_before(session: Session) -> None:
    left = session.opened.anatomy.frame.axes[:, 0]
    for far in (2.0, 3.0):
        session.move_channel(FORAMEN, centre(session) + far * left)
    (only,) = session.state.corrections
    assert np.linalg.norm(only["by_mm"]) == pytest.approx(3.0, abs=2e-3)


def test_corrections_are_withdrawn_and_all_else_stays(session: Session) -> None:
    shift(session)
    session.judge(LEFT, "accepted")
    session.withdraw_corrections()
    assert session.state.corrections == ()
    assert session.state.path(LEFT).verdict == "accepted"
    session.undo()
    assert len(session.state.corrections) == 1


def test_without_the_ct_nothing_is_corrected(folder: Path) -> None:
    blind = Session.open(folder)
    with pytest.raises(ConfigurationError, match="needs the plan's CT"):
        shift(blind)
    assert blind.unsaved == 0


def stating(opened: OpenPlan, confidences: dict[str, float]) -> OpenPlan:
    """The same plan, stating other confidences."""
    anatomy = opened.document.anatomy.model_copy(update={"confidences": confidences})
    return replace(opened, document=opened.document.model_copy(update={"anatomy": anatomy}))


def test_a_doubt_is_not_counted_again_with_every_correction(session: Session) -> None:
    place = session.opened.anatomy.frame.to_patient((36.0, 10.0, -24.0))
    ball = {"centre_mm": list(place), "radius_mm": 1.0, "bone": True}
    stated = dict(session.document.anatomy.confidences) | {"sacral_canal": 0.5}
    opened = stating(session.opened, stated)
    for _ in range(2):
        found = corrected_anatomy(opened, [ball])
        assert found.confidences["sacral_canal"] == pytest.approx(0.5)
        opened = stating(replace(opened, anatomy=found), found.confidences)


def test_a_label_map_that_is_not_the_plan_s_is_refused(session: Session, folder: Path) -> None:
    shift(session)
    labels = corrected_labels(session.opened, session.state.corrections)
    grid = session.opened.anatomy.grid
    write_segmentation(labels, grid, folder / "anatomy.seg.nrrd")
    with pytest.raises(ConfigurationError, match="is not the label map that the plan beside it"):
        OpenPlan.of(folder)


def test_a_plan_json_that_changed_meanwhile_is_not_replaced(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift(session)
    foreign = (folder / "plan.json").read_text(encoding="utf-8") + " "

    def slow(*_: object) -> object:
        (folder / "plan.json").write_text(foreign, encoding="utf-8")
        return SimpleNamespace(change=lambda *_: None, document=lambda _: None)

    monkeypatch.setattr("planner.review.session.plan_corrected", slow)
    monkeypatch.setattr(Session, "_review_values", lambda *_: {})
    with pytest.raises(OutputError, match="Nothing was saved"):
        session.replan()
    assert (folder / "plan.json").read_text(encoding="utf-8") == foreign


@pytest.mark.slow
def test_planning_again_keeps_what_was_and_carries_what_was_chosen(
    session: Session, folder: Path, toy_plan: tuple[Path, Path]
) -> None:
    names = ("plan.json", "anatomy.seg.nrrd")
    before = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:8] for name in names}
    old = centre(session)
    move(session)
    session.judge(RIGHT, "rejected", "a scar in the way")
    shift(session)
    ends = session.state.path(LEFT).entry, session.state.path(LEFT).tip
    made = session.replan()
    assert session.revision == 0  # what shows the session goes on with it meanwhile
    session.take_up(made)
    document = read_plan(folder)
    assert document.review is not None
    assert document.review.revision == 1
    actions = [change.action.split(":")[0] for change in document.review.changes]
    assert actions == ["move", "reject", "correct", "planned again"]
    carried = document.review.changes[-1].after
    assert carried == {LEFT: f"before-{LEFT}", RIGHT: f"before-{RIGHT}"}
    assert "corrected by a reviewer: foramen s2 left moved by 2.0 mm" in " ".join(document.warnings)
    assert np.linalg.norm(centre(session) - old) == pytest.approx(2.0, abs=0.5)
    for name, digest in before.items():
        assert (folder / "revisions" / f"0000-{digest}-{name}").is_file()
    found = {item.id: item for item in document.trajectories}
    moved, rejected = found[f"before-{LEFT}"], found[f"before-{RIGHT}"]
    assert (moved.bone_entry_mm, moved.tip_mm) == ends
    assert moved.review is not None
    assert moved.review.origin == "changed"
    assert rejected.review is not None
    assert (rejected.review.verdict, rejected.review.reason) == ("rejected", "a scar in the way")
    assert {item.technique for item in (moved, rejected)} == {"short_axis"}
    assert len(document.trajectories) > 2
    assert session.unsaved == 0
    # What was saved measures again as it was told, in a process that opens the folder anew.
    fresh = Session.open(folder, toy_plan[1])
    values = fresh.measure(moved.bone_entry_mm, moved.tip_mm).values
    assert values["clearance"]["foramina"] == moved.clearance.foramina.model_dump(mode="json")
    # And again: ids stay apart, and what was said of the correction before is still said.
    session.mark_ball(session.opened.anatomy.frame.to_patient((36.0, 10.0, -24.0)), 2.0, True)
    first = session.state.paths[0].id
    session.judge(first, "accepted")
    session.take_up(session.replan())
    ids = [path.id for path in session.state.paths]
    assert len(set(ids)) == len(ids)
    assert f"before-{LEFT}" in ids
    assert sum("corrected by a reviewer" in line for line in session.document.warnings) == 2
