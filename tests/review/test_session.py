"""The review without a browser: one number in one place, nothing lost, nothing in silence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from planner.cli import app
from planner.errors import ConfigurationError, OutputError
from planner.export.plan_json import read_plan
from planner.export.revision import keep_reviewed
from planner.pipeline import NO_CT, OpenPlan
from planner.review.house import House
from planner.review.session import Session
from planner.review.state import PLAN
from tests.review.conftest import again

LEFT, RIGHT = "short_axis-left-1", "short_axis-right-1"


def shifted(session: Session, name: str, by: tuple[float, float, float]) -> tuple:
    path = session.state.path(name)
    return tuple(np.add(path.entry, by)), tuple(np.add(path.tip, by))


def move(session: Session, name: str = LEFT, by: tuple = (1.5, 0.0, 1.0)) -> None:
    session.move(name, *shifted(session, name, by))


def test_a_planned_needle_measures_as_planned(session: Session) -> None:
    path = session.state.path(LEFT)
    planned, measured = session.figures(LEFT).values, session.measure(path.entry, path.tip).values
    assert {k: v for k, v in planned.items() if k not in ("id", "rank")} == {
        k: v for k, v in measured.items() if k not in ("id", "rank")
    }


def test_page_plan_and_score_agree_to_the_last_digit(
    session: Session, folder: Path, toy_plan: tuple[Path, Path]
) -> None:
    move(session)
    shown = session.figures(LEFT).values
    session.save()
    saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["trajectories"][0]
    assert saved.pop("review")["origin"] == "changed"
    assert saved == shown
    points = [",".join(str(x) for x in saved[k]) for k in ("bone_entry_mm", "tip_mm")]
    command = ["score", str(folder), f"--entry={points[0]}", f"--tip={points[1]}", "--json"]
    result = CliRunner().invoke(app, [*command, "--ct", str(toy_plan[1])])
    assert result.exit_code == 0, result.output
    scored = json.loads(result.output)
    for name, value in saved.items():
        if name not in ("id", "rank", "non_dominated"):
            theirs = scored[name]
            if name == "guidance":
                theirs = {k: v for k, v in theirs.items() if v is not None}
            assert theirs == value, name


def test_undo_and_redo_restore_and_are_told(session: Session) -> None:
    before = session.state
    move(session)
    moved = session.state
    session.judge(LEFT, "accepted")
    session.undo()
    assert session.state == moved
    session.undo()
    assert session.state == before
    session.redo()
    assert session.state == moved
    assert [change.action for change in session.history.changes] == [
        "move",
        "accept",
        "undo: accept",
        "undo: move",
        "move",
    ]
    session.judge(LEFT, "rejected", "too near")
    assert not session.history.can_redo
    with pytest.raises(ConfigurationError, match="nothing to do again"):
        session.redo()


def test_a_crash_loses_nothing(session: Session, opened: OpenPlan, folder: Path) -> None:
    move(session)
    session.annotate(LEFT, "läuft knapp")
    session.annotate(PLAN, "look again at S1")
    session.undo()
    with (folder / "review.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"time": "cut off by the cra')  # no line end: it never counted
    back = again(opened, folder)
    assert back.state == session.state
    assert back.history.can_redo
    assert "4 changes" in back.messages[0]
    back.redo()
    assert back.state.note == "look again at S1"
    assert again(opened, folder).state == back.state


@pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\r", "\x0c", "🩻"])
def test_whatever_is_pasted_into_a_note_survives(
    session: Session, opened: OpenPlan, folder: Path, odd: str
) -> None:
    session.annotate(PLAN, f"before{odd}after")
    session.judge(LEFT, "accepted")
    back = again(opened, folder)
    assert back.state == session.state
    assert back.state.note == f"before{odd}after"


@pytest.mark.parametrize("bad", ["{}", "not json", '{"time": 1, "after": {}}', "[]"])
def test_a_damaged_journal_is_kept_and_told(
    session: Session, opened: OpenPlan, folder: Path, bad: str
) -> None:
    session.judge(LEFT, "accepted")
    good = session.state
    session.judge(RIGHT, "accepted")
    lines = (folder / "review.jsonl").read_text(encoding="ascii").splitlines()
    whole = "\n".join([*lines[:2], bad, *lines[2:]]) + "\n"
    (folder / "review.jsonl").write_text(whole, encoding="ascii")
    back = again(opened, folder)
    assert back.state == good
    assert "damaged from line 3 on: 1 changes are here again, 2 lines are not" in back.messages[0]
    (kept,) = folder.glob("review-set-aside-*.jsonl")
    assert kept.read_text(encoding="ascii") == whole
    assert again(opened, folder).state == good


def test_a_last_line_without_its_end_never_counts_twice(
    session: Session, opened: OpenPlan, folder: Path
) -> None:
    session.judge(LEFT, "accepted")
    one = session.state
    session.judge(RIGHT, "accepted")
    path = folder / "review.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        assert again(opened, folder).state == one


def test_a_crash_after_saving_says_nothing_false(
    session: Session, opened: OpenPlan, folder: Path
) -> None:
    move(session)
    journal = (folder / "review.jsonl").read_bytes()
    session.save()
    (folder / "review.jsonl").write_bytes(journal)  # the crash came before it was cleared
    back = again(opened, folder)
    assert back.messages == []
    assert back.unsaved == 0
    assert back.state == session.state


def test_a_plan_that_was_replaced_while_it_opened_is_not_overwritten(
    opened: OpenPlan, folder: Path
) -> None:
    early = again(opened, folder).opened  # read before, the session begins after
    text = (folder / "plan.json").read_text(encoding="utf-8")
    (folder / "plan.json").write_text(text + "\n", encoding="utf-8")
    session = Session(early, folder)
    session.judge(LEFT, "accepted")
    with pytest.raises(OutputError, match="has been changed since it was opened"):
        session.save()


def test_what_was_judged_does_not_hold_elsewhere(session: Session) -> None:
    session.judge(LEFT, "accepted")
    move(session)
    assert session.state.path(LEFT).verdict == "open"
    session.judge(LEFT, "rejected", "too near")
    session.reset(LEFT)
    path = session.state.path(LEFT)
    assert (path.verdict, path.reason) == ("open", "")


def test_an_undone_removal_comes_back_where_it_was(session: Session) -> None:
    first = session.add(*shifted(session, LEFT, (0.0, 0.0, 2.0)))
    session.add(*shifted(session, LEFT, (0.0, 0.0, 3.0)))
    before = session.state
    session.remove(first)
    session.undo()
    assert session.state == before


def test_a_new_plan_keeps_the_reviewed_one(session: Session, folder: Path) -> None:
    session.judge(LEFT, "accepted")
    session.save("R. Eader")
    signed = (folder / "plan.json").read_bytes()
    keep_reviewed(folder)
    keep_reviewed(folder)
    (kept,) = (folder / "revisions").glob("0001-*-plan.json")
    assert kept.read_bytes() == signed


def test_a_plan_without_paths_is_refused(opened: OpenPlan, folder: Path) -> None:
    document = read_plan(folder).model_copy(update={"trajectories": [], "pairs": []})
    with pytest.raises(ConfigurationError, match="holds no path to review"):
        Session(replace(opened, document=document), folder)


def test_the_pen_goes_on_when_its_page_is_gone(session: Session) -> None:
    house, told = House(session), []
    house.enter("a", lambda: told.append("a"))
    house.enter("b", lambda: told.append("b"))
    assert house.may_write("a")
    assert not house.may_write("b")
    house.leave("a")  # a reload: the new page came before the old one was gone
    assert house.may_write("b")
    assert told == ["b"]


def test_a_revision_keeps_the_one_before_and_every_change(
    session: Session, opened: OpenPlan, folder: Path
) -> None:
    first = (folder / "plan.json").read_bytes()
    planned = session.state.path(LEFT).planned
    move(session)
    session.judge(RIGHT, "rejected", "skin infection")
    session.save("R. Eader")
    (kept,) = (folder / "revisions").glob("0000-*-plan.json")
    assert kept.read_bytes() == first
    document = read_plan(folder)
    left, right = document.trajectories
    assert left.review is not None and left.review.planned is not None
    assert (left.review.planned.bone_entry_mm, left.review.planned.tip_mm) == planned
    assert right.review is not None
    assert (right.review.verdict, right.review.reason) == ("rejected", "skin infection")
    assert document.pairs == []  # the only pair has lost a needle
    review = document.review
    assert review is not None and review.signed is not None
    assert (review.revision, review.signed.name) == (1, "R. Eader")
    assert [change.action for change in review.changes] == ["move", "reject"]
    assert review.changes[0].before["entry"] == list(planned[0])
    assert not (folder / "review.jsonl").exists()
    second = (folder / "plan.json").read_bytes()
    later = again(opened, folder)
    assert later.state == session.state
    later.reset(LEFT)
    later.save()
    document = read_plan(folder)
    assert document.review is not None
    assert document.review.revision == 2
    assert document.review.signed is None
    assert [change.revision for change in document.review.changes] == [1, 1, 2]
    assert document.trajectories[0].review.origin == "planned"
    (kept,) = (folder / "revisions").glob("0001-*-plan.json")
    assert kept.read_bytes() == second


def test_another_plan_beneath_is_never_overwritten(
    session: Session, opened: OpenPlan, folder: Path
) -> None:
    move(session)
    other = again(opened, folder)  # a second program recovers the same journal
    other.save()
    theirs = (folder / "plan.json").read_bytes()
    with pytest.raises(OutputError, match="has been changed since it was opened"):
        session.save()
    assert (folder / "plan.json").read_bytes() == theirs


def test_a_journal_of_another_plan_is_set_aside(
    session: Session, opened: OpenPlan, folder: Path
) -> None:
    move(session)
    text = (folder / "plan.json").read_text(encoding="utf-8")
    (folder / "plan.json").write_text(text.replace("\n", "\n\n", 1), encoding="utf-8")
    back = again(opened, folder)
    assert back.unsaved == 0
    assert "set-aside" in back.messages[0]
    assert len(list(folder.glob("review-set-aside-*.jsonl"))) == 1


def test_own_needles_are_added_measured_and_saved(session: Session, folder: Path) -> None:
    name = session.add(*shifted(session, LEFT, (0.0, 0.0, 2.0)))
    assert session.state.path(name).origin == "added"
    session.save()
    added = read_plan(folder).trajectories[-1]
    assert (added.id, added.rank) == (name, 3)
    assert added.review is not None and added.review.origin == "added"
    session.remove(name)
    assert len(session.state.paths) == 2
    with pytest.raises(ConfigurationError, match="reject it, with a reason"):
        session.remove(LEFT)


def test_a_broken_limit_heads_the_plan_until_it_is_mended(session: Session, folder: Path) -> None:
    path = session.state.path(LEFT)
    along = np.subtract(path.tip, path.entry) / np.linalg.norm(np.subtract(path.tip, path.entry))
    session.move(LEFT, path.entry, np.add(path.tip, 6.0 * along))
    session.save()
    found = read_plan(folder).warnings
    assert any(line.startswith(f"review: {LEFT} breaks a hard limit: ") for line in found)
    session.reset(LEFT)
    session.save()
    assert not any(line.startswith("review: ") for line in read_plan(folder).warnings)


def test_what_is_locked_stays(session: Session) -> None:
    session.lock(LEFT, True)
    for act in (
        lambda: move(session),
        lambda: session.judge(LEFT, "accepted"),
        lambda: session.annotate(LEFT, "x"),
        lambda: session.reset(LEFT),
    ):
        with pytest.raises(ConfigurationError, match="is locked"):
            act()
    session.lock(LEFT, False)
    session.judge(LEFT, "accepted")


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda s: s.judge(LEFT, "rejected", " "), "say why"),
        (lambda s: s.judge(LEFT, "maybe"), "not 'maybe'"),
        (lambda s: s.annotate(LEFT, "x" * 5000), "longer than the 4000"),
        (lambda s: s.judge("nobody", "accepted"), "no path 'nobody'"),
        (lambda s: s.add((0, 0, 0), (0, 0, 9)), "never meets the sacrum"),
        (lambda s: s.add((0, 0, 0), (0, 0, 1e8)), "no needle is so long"),
        (lambda s: s.undo(), "nothing to undo"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(session, act, says: str) -> None:
    before = session.state
    with pytest.raises(ConfigurationError, match=says):
        act(session)
    assert session.state == before
    assert session.unsaved == 0


def test_a_full_disk_makes_no_change(
    session: Session, opened: OpenPlan, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(session)
    before = session.state

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("planner.review.journal.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        session.judge(LEFT, "accepted")
    with pytest.raises(OutputError):
        session.undo()
    assert session.state == before
    assert again(opened, folder).state == before


def test_without_the_ct_the_skin_is_not_invented(toy_plan: tuple[Path, Path], folder: Path) -> None:
    session = Session(OpenPlan.of(folder), folder)
    move(session)
    values = session.figures(LEFT).values
    assert "guidance" not in values
    assert values["measures"]["skin_in_view"] == 0
    assert NO_CT in values["warnings"]
    session.save()
    assert NO_CT in read_plan(folder).trajectories[0].warnings


def test_the_report_tells_planned_changed_and_rejected_apart(
    session: Session, folder: Path
) -> None:
    move(session)
    session.judge(RIGHT, "rejected", "skin <infection>")
    session.add(*shifted(session, LEFT, (0.0, 0.0, 3.0)))
    session.save("R. Eader")
    text = House(session).report().read_text(encoding="utf-8")
    assert 'class="open changed"' in text
    assert 'class="rejected planned"' in text
    assert 'class="open added"' in text
    assert "bone entry moved 1.8 mm, tip 1.8 mm" in text
    assert "REJECTED: skin &lt;infection&gt;" in text
    assert "signed with the name R. Eader (as typed" in text
    assert f"<td>{RIGHT}</td><td>reject</td>" in text
