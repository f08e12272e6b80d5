from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from planner.export.overview import write_overview
from planner.export.overview.page import (
    best_needles,
    needle_warnings,
    spread,
    title_of,
    warning_lines,
)
from planner.export.overview.table import angles_deg
from planner.export.overview.views import (
    across_needle,
    axial,
    beside_needle,
    coronal,
    direction_letters,
    from_behind,
    midsagittal,
)
from planner.model.anatomy import SacralFrame
from planner.model.trajectory import Technique

from .toy import toy_anatomy, toy_plan, toy_scored, toy_trajectory, toy_volume


@pytest.fixture(scope="module")
def anatomy():
    return toy_anatomy()


@pytest.mark.parametrize(
    ("direction", "letters"),
    [
        ((1, 0, 0), "L"),
        ((-1, 0, 0), "R"),
        ((0, 1, 0), "P"),
        ((0, -1, 0), "A"),
        ((0, 0, 1), "H"),
        ((0, 0, -1), "F"),
        ((0, -0.8, -0.6), "AF"),
        ((0, -0.6, 0.8), "HA"),
        ((0.98, 0.1, 0.1), "L"),
        ((-3, 0, 2), "RH"),
    ],
)
def test_letters_name_the_side_of_the_patient(direction: tuple, letters: str) -> None:
    assert direction_letters(direction) == letters


def test_radiological_convention(anatomy) -> None:
    for view in (axial(anatomy, "S1"), axial(anatomy, "S2"), coronal(anatomy)):
        assert view.edges["right"] == "L"
        assert view.edges["left"] == "R"
    assert axial(anatomy, "S1").edges["top"].startswith("A")
    assert coronal(anatomy).edges["top"].startswith("H")
    assert midsagittal(anatomy).edges["right"].startswith("P")
    assert midsagittal(anatomy).edges["top"].startswith("H")
    behind = from_behind(anatomy)
    assert (behind.edges["left"], behind.edges["right"]) == ("L", "R")


@pytest.mark.parametrize(
    ("yaw_deg", "right"), [(30.0, "L"), (58.0, "P"), (-90.0, "L"), (100.0, "L")]
)
def test_letters_are_the_scan_s_unless_the_body_lies_on_its_side(
    anatomy, yaw_deg: float, right: str
) -> None:
    turn = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    turned = SacralFrame(anatomy.frame.origin, turn @ anatomy.frame.axes)
    assert axial(toy_anatomy(frame=turned), "S1").edges["right"][0] == right


def test_projection_inverts_the_points_of_a_view(anatomy) -> None:
    view = midsagittal(anatomy)
    points = view.points(60.0, 40.0, 30, 20)
    np.testing.assert_allclose(view.project(points[0, 0]), (-29.0, -19.0), atol=1e-9)
    np.testing.assert_allclose(view.project(points[-1, -1]), (29.0, 19.0), atol=1e-9)


@pytest.mark.parametrize("technique", Technique)
@pytest.mark.parametrize("side", ["left", "right"])
def test_needle_views_contain_the_needle(anatomy, technique: Technique, side: str) -> None:
    path = toy_trajectory(technique, side)
    for view in (across_needle(path, anatomy), beside_needle(path, anatomy)):
        assert np.linalg.norm(view.right) == pytest.approx(1.0)
        assert view.right @ view.up == pytest.approx(0.0, abs=1e-9)
        normal = np.cross(view.right, view.up)
        for point in (path.skin_entry, path.bone_entry, path.tip):
            assert (point - view.centre) @ normal == pytest.approx(0.0, abs=1e-6)
        ends = view.project(np.stack([path.bone_entry, path.tip]))
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(path.intraosseous_length_mm)
    assert across_needle(path, anatomy).edges["right"] == "L"
    assert beside_needle(path, anatomy).edges["right"].startswith("P")


def test_mirrored_sides_stand_mirrored_from_behind(anatomy) -> None:
    view = from_behind(anatomy)
    left = view.project(toy_trajectory(Technique.LONG_AXIS, "left").tip)
    right = view.project(toy_trajectory(Technique.LONG_AXIS, "right").tip)
    np.testing.assert_allclose(left, right * (-1, 1), atol=1e-6)
    assert left[0] < 0


def test_angles(anatomy) -> None:
    path = toy_trajectory(Technique.SHORT_AXIS, "left")
    inclination, lateral, axial_plane = angles_deg(path.direction, anatomy.frame.axes)
    assert inclination == pytest.approx(0.0, abs=1e-6)
    assert lateral == pytest.approx(np.degrees(np.arctan2(1, 28)))
    assert axial_plane == pytest.approx(-39.0, abs=0.1)  # the hub is cranial


def test_best_of_each_technique_and_side() -> None:
    items = (
        toy_scored(Technique.S2_ENTRY, "left", 2),
        toy_scored(Technique.S2_ENTRY, "left", 1),
        toy_scored(Technique.S2_ENTRY, "right", 3),
    )
    assert [item.rank for item in best_needles(items)] == [1, 3]
    assert title_of(toy_scored(Technique.S2_S3_ENTRY, "left", 4)) == "#4  S2–S3 entry, left"


def test_warnings_are_folded_and_counted() -> None:
    assert warning_lines(()) == ["No warnings."]
    assert warning_lines(("one", "two")) == ["⚠ one", "⚠ two"]
    assert len(warning_lines(tuple("abcd"))) == 4
    lines = warning_lines(tuple("abcdefg"))
    assert len(lines) == 4
    assert lines[-1] == "⚠ … 4 more warnings: read plan.json."
    long = warning_lines(("word " * 400,), 100)
    assert len(long) <= 4
    assert all(len(line) <= 100 for line in long)


def test_needle_warnings_are_told_once_and_not_what_the_table_marks() -> None:
    low = "canal: clearance 3.0 mm is below the preferred 5.0 mm"
    shown = [
        toy_scored(Technique.S2_ENTRY, "left", 1, warnings=("it may slide", low)),
        toy_scored(Technique.S2_ENTRY, "right", 4, warnings=("it may slide",)),
    ]
    assert needle_warnings(shown) == ("#1, #4: it may slide",)


def test_labels_do_not_cover_one_another() -> None:
    placed = spread([(0.0, 0.0), (1.0, 0.5), (0.5, 0.2), (40.0, 0.0)], 9.0, 6.0)
    for n, (x, y) in enumerate(placed):
        for a, b in placed[:n]:
            assert abs(x - a) >= 9.0 or abs(y - b) >= 6.0


def test_the_page_is_drawn_and_always_the_same(tmp_path: Path) -> None:
    plan, volume = toy_plan(), toy_volume()
    for name in ("a.png", "b.png"):
        write_overview(plan, volume, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = sitk.ReadImage(str(tmp_path / "a.png"))
    assert image.GetSize() == (2400, 1720)


def test_text_stays_on_the_page_and_apart(tmp_path: Path) -> None:
    from planner.export.overview.page import draw_overview

    many = tuple(f"Warning {n} " + "with many words " * 20 for n in range(9))
    figure = draw_overview(toy_plan(warnings=many), toy_volume())
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    boxes = []
    for text in texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1 and box.x1 <= page.x1 + 1, text.get_text()
        assert box.y0 >= -1 and box.y1 <= page.y1 + 1, text.get_text()
        boxes.append((text.get_text(), box.shrunk(0.98, 0.8)))
    for n, (words, box) in enumerate(boxes):
        for other, second in boxes[:n]:
            assert not box.overlaps(second), (words, other)
