"""What a hand does on the pictures: patient sides, grips, drafts and steps."""

from __future__ import annotations

import base64
import io
import re
from itertools import product

import numpy as np
import pytest
from PIL import Image

from planner.errors import ConfigurationError
from planner.export.numbers import standing
from planner.model.anatomy import LABELS
from planner.model.trajectory import Structure
from planner.review.desk import ALONG, NUDGE_MM, PANES, Desk
from planner.review.figures import figures_html
from planner.review.panes import PIXELS, TABLE
from planner.review.session import Session

LEFT = "short_axis-left-1"


@pytest.fixture
def desk(session: Session) -> Desk:
    return Desk.of(session)


def pixels(address: str) -> np.ndarray:
    data = base64.b64decode(address.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_every_pane_maps_there_and_back(desk: Desk) -> None:
    for name in PANES:
        pane = desk.pane(name)
        for place in ((0.5, 0.5), (100.0, 400.0), (PIXELS - 0.5, 3.0)):
            point = pane.to_patient(*place)
            assert pane.to_pixel(point) == pytest.approx(np.array(place))
            assert pane.off_plane_mm(point) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "right", "down"),
    [("axial", (1, 0, 0), (0, 1, 0)), ("coronal", (1, 0, 0), (0, 0, -1))],
)
def test_pictures_follow_the_radiological_convention(
    desk: Desk, name: str, right: tuple, down: tuple
) -> None:
    pane = desk.pane(name)  # LPS: +x is the patient's left, +y his back, +z his head
    middle = pane.to_patient(PIXELS / 2, PIXELS / 2)
    assert (pane.to_patient(PIXELS, PIXELS / 2) - middle) @ right > 0
    assert (pane.to_patient(PIXELS / 2, PIXELS) - middle) @ down > 0
    letters = re.findall(r">([LRAPHF]+)</text>", desk.overlay(name))
    assert letters[:2] == ["R", "L"]


def test_what_is_drawn_lies_where_the_patient_has_it(desk: Desk) -> None:
    anatomy = desk.session.opened.anatomy
    hip = anatomy.grid.to_patient(np.argwhere(anatomy.labels == LABELS["hip_left"])).mean(axis=0)
    desk.cross = hip
    desk.focus = hip
    image = pixels(desk.picture("axial"))
    purple = np.abs(image - TABLE[LABELS["hip_left"]]).sum(axis=-1) < 60
    rows, columns = np.nonzero(purple)
    assert len(rows) > 50
    pane = desk.pane("axial")
    seen = np.array([pane.to_patient(c + 0.5, r + 0.5) for r, c in zip(rows, columns, strict=True)])
    index = np.rint(anatomy.grid.to_ijk(seen)).astype(int)
    near = [
        (
            anatomy.labels[tuple(slice(max(i - 2, 0), i + 3) for i in place)] == LABELS["hip_left"]
        ).any()
        for place in index
    ]
    assert np.mean(near) > 0.98
    desk.outlines = False
    plain = pixels(desk.picture("axial"))
    assert np.ptp(plain, axis=-1).max() < 40  # grey alone


def test_the_bone_window_shows_hu_where_they_are(desk: Desk) -> None:
    desk.outlines = False
    image, pane = pixels(desk.picture("axial")), desk.pane("axial")
    volume = desk.session.opened.ground
    edge = np.array(volume.values.shape) - 2
    seen: list[float] = []
    for x, y in product(range(20, PIXELS, 20), repeat=2):
        index = np.rint(volume.grid.to_ijk(pane.to_patient(x + 0.5, y + 0.5))).astype(int)
        block = volume.values[tuple(slice(i - 1, i + 2) for i in index)]
        if np.all(index >= 1) and np.all(index <= edge) and np.ptp(block) == 0:
            shade = np.clip((block.mean() + 200) / 1000, 0, 1) * 255
            assert image[y, x, 0] == pytest.approx(shade, abs=2)
            seen.append(shade)
    assert len(seen) >= 20
    assert len(set(seen)) >= 2


def test_a_dragged_end_moves_within_the_plane_and_keeps_its_depth(desk: Desk) -> None:
    pane = desk.pane("coronal")
    entry, tip = desk.ends
    x, y = pane.to_pixel(tip)
    assert desk.press("coronal", x, y) == "tip"
    desk.drag("coronal", x + 10, y - 4)
    assert desk.draft is not None
    moved = desk.draft.tip - tip
    assert moved == pytest.approx(
        10 * pane.mm_per_pixel * pane.view.right + 4 * pane.mm_per_pixel * pane.view.up, abs=2e-3
    )
    assert desk.draft.entry == pytest.approx(entry, abs=2e-3)
    assert desk.session.unsaved == 0  # a draft is no change
    assert desk.release()
    assert desk.session.unsaved == 1
    assert desk.draft is None


@pytest.mark.parametrize("grip", ["entry", "tip", "shaft"])
@pytest.mark.parametrize("name", PANES)
def test_the_needle_stays_under_the_hand(desk: Desk, name: str, grip: str) -> None:
    pane = desk.pane(name)
    ends = desk.ends
    place = {"entry": ends[0], "tip": ends[1], "shaft": (ends[0] + ends[1]) / 2}[grip]
    x, y = pane.to_pixel(place)
    if desk.press(name, x, y) != grip:
        pytest.skip("the needle is seen end-on here")
    for step in range(1, 21):
        desk.drag(name, x + 0.5 * step, y)
    wanted = 10 * pane.mm_per_pixel * pane.view.right
    moved = [desk.ends[0] - ends[0], desk.ends[1] - ends[1]]
    expected = [wanted * (grip != "tip"), wanted * (grip != "entry")]
    assert np.array(moved) == pytest.approx(np.array(expected), abs=2e-3)


def test_a_trembling_press_moves_nothing(desk: Desk) -> None:
    x, y = desk.pane("axial").to_pixel(desk.ends[1])
    assert desk.press("axial", x, y) == "tip"
    desk.drag("axial", x + 1, y + 1)
    assert not desk.release()
    assert desk.session.unsaved == 0


def test_the_shaft_moves_both_ends_and_the_crosshair_moves_none(desk: Desk) -> None:
    pane = desk.pane("needle")
    ends = pane.to_pixel(np.stack(desk.ends))
    middle = ends.mean(axis=0)
    assert desk.press("needle", *middle) == "shaft"
    desk.drag("needle", *(middle + (6, 0)))
    length = np.linalg.norm(np.subtract(*desk.ends))
    assert length == pytest.approx(
        np.linalg.norm(np.subtract(ends[0], ends[1])) * pane.mm_per_pixel, abs=0.01
    )
    desk.let_go()
    before = desk.ends
    assert desk.press("needle", 20, 20) == "cross"
    desk.drag("needle", 30, 40)
    assert not desk.release()
    assert np.array_equal(desk.ends, before)
    assert desk.cross == pytest.approx(pane.to_patient(30, 40))


def test_a_needle_that_misses_the_bone_says_so_and_goes_back(desk: Desk) -> None:
    entry, tip = desk.ends
    draft = desk.try_ends(entry + (0, 400, 0), tip + (0, 400, 0))
    assert draft.measured is None
    assert desk.measured is None
    for name in PANES:
        desk.overlay(name)  # still drawn
    with pytest.raises(ConfigurationError, match="went back to where it was"):
        desk.keep()
    assert np.array_equal(desk.ends, (entry, tip))


def test_what_is_locked_cannot_be_gripped(desk: Desk) -> None:
    desk.session.lock(LEFT, True)
    x, y = desk.pane("axial").to_pixel(desk.ends[1])
    assert desk.press("axial", x, y) == "cross"


def test_typed_angles_are_those_of_the_set_up(desk: Desk) -> None:
    measured = desk.measured
    assert measured is not None
    guidance = measured.values["guidance"]
    depth = measured.values["intraosseous_length_mm"]
    desk.try_angles(guidance["in_plane_deg"], guidance["cranial_deg"], depth)
    path = desk.session.state.path(LEFT)
    assert desk.ends[1] == pytest.approx(np.array(path.tip), abs=2e-3)


def test_steps_of_the_arrow_keys_add_up_and_are_one_change(desk: Desk) -> None:
    entry, tip = desk.ends
    for _ in range(3):
        assert desk.nudge("coronal", "tip", -1, 0) == "tip"
    assert desk.ends[1] - tip == pytest.approx(np.array([-3 * NUDGE_MM, 0, 0]), abs=2e-3)
    assert np.array_equal(desk.ends[0], entry)
    desk.nudge("axial", "shaft", 0, 2)
    assert desk.ends[0] - entry == pytest.approx(np.array([0, -2 * NUDGE_MM, 0]), abs=2e-3)
    assert desk.release()
    assert [change.action for change in desk.session.history.changes] == ["move"]


@pytest.mark.parametrize("end", ["entry", "tip"])
def test_an_end_follows_the_line_of_sight_at_its_distance(desk: Desk, end: str) -> None:
    k = 0 if end == "entry" else 1
    start, other = desk.ends[k].copy(), desk.ends[1 - k].copy()
    eye = start + np.array([0.0, 400.0, 0.0])
    assert desk.take_end(end) == end
    aside = start + np.array([3.0, 0.0, -2.0])
    desk.reach(eye, eye + 0.1 * (aside - eye))
    assert desk.ends[k] == pytest.approx(aside, abs=2e-3)
    assert np.array_equal(desk.ends[1 - k], other)
    for eye_of, behind in (
        (eye, eye + [0, 1, 0]),  # behind the eye
        ([np.nan] * 3, aside),
        ([np.inf] * 3, aside),
    ):
        desk.reach(eye_of, behind)
        assert desk.ends[k] == pytest.approx(aside, abs=2e-3)
    assert desk.release()
    assert not desk.in_space
    assert desk.reach(eye, start) == ""


def test_a_locked_needle_stays_where_it_is(desk: Desk) -> None:
    before = desk.ends
    desk.session.lock(desk.chosen, True)
    assert desk.take_end("tip") == ""
    assert desk.nudge("axial", "tip", 1, 0) == ""
    assert desk.reach([0, 400, 0], [0, 0, 0]) == ""
    assert np.array_equal(desk.ends, before)


def test_zoom_and_scroll(desk: Desk) -> None:
    before = desk.cross.copy()
    desk.scroll("axial", 2)
    assert desk.cross - before == pytest.approx(np.array([0, 0, -2]))
    field = desk.pane("axial").field_mm
    desk.zoom("axial", 0.5)
    assert desk.pane("axial").field_mm == field / 2
    with pytest.raises(ConfigurationError, match="there are bone, soft"):
        desk.show("lung")


def test_the_cut_across_goes_through_the_crosshair(desk: Desk) -> None:
    entry, tip = desk.ends
    along = (tip - entry) / np.linalg.norm(tip - entry)
    for choice in ALONG:
        desk.along = choice
        off = desk.pane("needle").off_plane_mm(np.stack([entry, tip]))
        if choice == "across":
            assert abs(off[0] - off[1]) == pytest.approx(np.linalg.norm(tip - entry))
            desk.cross = entry + 5 * along
            assert desk.pane("needle").off_plane_mm(entry + 5 * along) == pytest.approx(0, abs=1e-6)
        else:
            assert off == pytest.approx(np.zeros(2), abs=1e-6)


def test_a_distance_is_measured_in_the_patient(desk: Desk) -> None:
    desk.measuring = True
    desk.press("axial", 100, 100)
    desk.press("axial", 200, 100)
    wanted = 100 * desk.pane("axial").mm_per_pixel
    assert f"{wanted:.1f} mm</text>" in desk.overlay("axial")


def test_numbers_are_coloured_and_marked_by_the_limits(session: Session) -> None:
    configuration = session.opened.configuration
    values = session.figures(LEFT).values
    values["clearance"]["canal"]["distance_mm"] = 1.999
    values["clearance"]["anterior_cortex"]["distance_mm"] = 3.5
    values["breach_probability"]["any"] = 0.0002
    text = figures_html(values, ("a note",), configuration)
    assert '<tr class="breaks" data-structure="canal">' in text
    assert '<tr class="low" data-structure="anterior_cortex">' in text
    assert "&lt;0.1" in text or "<0.1" in text
    assert "✖ 2.0" in text
    assert "a note" in text
    assert standing(Structure.CANAL, 2.0, configuration) == "low"
    assert standing(Structure.CANAL, 5.0, configuration) == "good"
