"""The review page as a person uses it, in a real browser against the real command."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("nicegui")
pytest.importorskip("filelock")

from planner.cli import app
from planner.review.panes import PIXELS

pytestmark = pytest.mark.slow

LEFT = "short_axis-left-1"
PATIENCE_MS = 150_000  # the machine may be busy with other tests
COMMAND = [sys.executable, "-c", "from planner.cli import main; main()", "review"]


class Server:
    """A `planner review` of its own process."""

    def __init__(self, folder: Path, ct: Path) -> None:
        command = [*COMMAND, str(folder), "--ct", str(ct), "--no-browser"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.address = ""
        assert self.process.stdout is not None
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/open\?token=\S+", line)
            if found:
                self.address = found[0]
                break
        assert self.address, "".join(self.said)
        self.root = self.address.split("/open")[0]
        self.host = self.root.rpartition("/")[0]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def folder(toy_plan: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_plan[0], tmp_path / "plan"))


@pytest.fixture
def start(toy_plan: tuple[Path, Path], folder: Path) -> Iterator[Any]:
    running: list[Server] = []

    def begin() -> Server:
        running.append(Server(folder, toy_plan[1]))
        return running[-1]

    yield begin
    for server in running:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    made = browser.new_context(viewport={"width": 1366, "height": 768})
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


def enter(context: Any, address: str) -> Any:
    page = context.new_page()
    page.faults, page.asked = [], []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("[data-pane=needle] img[src^='data:image']")
    page.wait_for_function(
        "[...document.querySelectorAll('.pane img')].every((each) => each.naturalWidth > 0)"
    )
    return page


def handle(page: Any, pane: str, kind: str) -> tuple[float, float]:
    """Middle of a handle on the screen, once it has come to rest: a hand waits for that, too."""
    place = page.locator(f"[data-pane={pane}] .handle-{kind}")
    box, before = place.bounding_box(), None
    while box != before:
        page.wait_for_timeout(400)
        box, before = place.bounding_box(), box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Any, pane: str, kind: str, by: tuple[float, float], drop: bool = True) -> None:
    x, y = handle(page, pane, kind)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0] / 2, y + by[1] / 2)
    page.mouse.move(x + by[0], y + by[1])
    if drop:
        page.mouse.up()


def shown(page: Any) -> dict[str, float]:
    """The numbers of the page by structure, to their last digit."""
    rows = page.locator(".figures tr[data-structure]")
    return {
        rows.nth(k).get_attribute("data-structure"): float(
            rows.nth(k).locator("td[data-value]").get_attribute("data-value")
        )
        for k in range(rows.count())
    }


def until(page: Any, changed_from: dict[str, float]) -> dict[str, float]:
    """The numbers once they have changed and come to rest."""
    last = changed_from
    for _ in range(60):
        page.wait_for_timeout(700)
        now = shown(page)
        if now == last and now != changed_from:
            return now
        last = now
    raise AssertionError("the numbers did not change, or did not come to rest")


def points(page: Any) -> list[str]:
    return [
        page.get_by_label(name).input_value().replace(" ", "")
        for name in ("Bone entry x, y, z (LPS mm)", "Tip x, y, z (LPS mm)")
    ]


def scored(folder: Path, ct: Path, ends: list[str]) -> dict[str, Any]:
    arguments = ["score", str(folder), f"--entry={ends[0]}", f"--tip={ends[1]}", "--ct", str(ct)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


def test_a_drag_gives_the_numbers_of_score_and_undo_takes_them_back(
    context: Any, start: Any, folder: Path, toy_plan: tuple[Path, Path]
) -> None:
    page = enter(context, start().address)
    before, ends = shown(page), points(page)
    drag(page, "coronal", "entry", (14, -9))
    after = until(page, before)
    moved = points(page)
    assert moved[0] != ends[0]
    theirs = scored(folder, toy_plan[1], moved)
    for name, value in after.items():
        told = theirs["breach_probability"]["any"] if name == "any" else None
        assert value == (theirs["clearance"][name]["distance_mm"] if told is None else told)
    # Coronal: 14 pixels to the right are to the patient's left, 9 up are to the head.
    box = page.locator("[data-pane=coronal] img").bounding_box()
    scale = 150.0 / PIXELS * PIXELS / box["width"]
    step = np.subtract(*([float(x) for x in each.split(",")] for each in (moved[0], ends[0])))
    assert step[0] == pytest.approx(14 * scale, abs=2 * scale + 1.0)
    page.get_by_role("button", name="Undo", exact=True).click()
    assert until(page, after) == before
    assert points(page) == ends
    page.keyboard.press("Control+Shift+Z")
    assert until(page, before) == after
    assert page.faults == []


def test_escape_snaps_back_and_makes_no_change(context: Any, start: Any, folder: Path) -> None:
    page = enter(context, start().address)
    before = shown(page)
    drag(page, "axial", "tip", (20, 6), drop=False)
    until(page, before)
    page.keyboard.press("Escape")
    page.mouse.up()
    page.wait_for_timeout(500)
    assert shown(page) == before
    assert "0 changes not saved" in (page.get_by_role("status").first.text_content() or "")
    assert not (folder / "review.jsonl").exists()


def test_what_was_done_survives_a_killed_server(context: Any, start: Any, folder: Path) -> None:
    server = start()
    page = enter(context, server.address)
    before = shown(page)
    drag(page, "coronal", "entry", (10, 0))
    after = until(page, before)
    page.get_by_role("button", name="Save revision").click()
    page.get_by_text("Saved as revision 1").wait_for()
    page.get_by_role("button", name="Accept", exact=True).click()
    page.get_by_text("1 changes not saved").wait_for()
    server.kill()
    page.close()
    saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert saved["review"]["revision"] == 1
    found = saved["trajectories"][0]
    assert found["review"]["origin"] == "changed"
    assert found["clearance"]["canal"]["distance_mm"] == after["canal"]
    again = enter(context, start().address)
    assert shown(again) == after
    again.get_by_text("1 changes up to").wait_for()
    assert "accepted" in (again.locator(f'[data-path="{LEFT}"]').text_content() or "")


def test_a_second_tab_is_told_and_cannot_write(context: Any, start: Any) -> None:
    server = start()
    first = enter(context, server.address)
    second = enter(context, server.root + "/")
    notice = second.get_by_text("Another page of this review holds the pen")
    notice.wait_for()
    assert second.get_by_role("button", name="Save revision").is_disabled()
    before = shown(second)
    drag(second, "coronal", "entry", (15, 0))
    second.wait_for_timeout(600)
    assert shown(first) == before
    second.get_by_role("button", name="Take the pen here").click()
    notice.wait_for(state="hidden")  # its line goes, and what is below it moves up
    first.get_by_text("Another page of this review holds the pen").wait_for()
    drag(second, "coronal", "entry", (15, 0))
    second.get_by_text("1 changes not saved").wait_for()
    first.get_by_text("1 changes not saved").wait_for()
    assert until(first, before) == until(second, before)  # it sees what the other does


def test_a_wrong_token_and_a_used_one_are_refused(browser: Any, context: Any, start: Any) -> None:
    server = start()
    stranger = browser.new_context()
    stranger.set_default_timeout(PATIENCE_MS)
    page = stranger.new_page()
    assert page.goto(f"{server.root}/open?token=guess").status == 403
    assert page.goto(server.root + "/").status == 403
    assert page.goto(server.host + "/").status == 403
    enter(context, server.address)
    assert page.goto(server.address).status == 403  # it worked once, for its owner
    assert "works once" in (page.text_content("body") or "")
    stranger.close()


def test_nothing_is_asked_from_outside_and_space_follows(context: Any, start: Any) -> None:
    server = start()
    page = enter(context, server.address)
    page.wait_for_selector("#planner-space[data-state=ready]")
    outside = [u for u in page.asked if not u.startswith((server.root, "data:", "blob:"))]
    assert outside == []
    page.wait_for_timeout(500)
    before = page.locator("#planner-space").screenshot()
    page.locator('[data-path="short_axis-right-1"]').click()
    page.wait_for_timeout(1500)
    assert page.locator("#planner-space").screenshot() != before
    assert page.faults == []


def test_an_end_is_dragged_in_the_scene(
    context: Any, start: Any, folder: Path, toy_plan: tuple[Path, Path]
) -> None:
    page = enter(context, start().address)
    page.wait_for_selector("#planner-space[data-state=ready]")
    grip = page.locator("#planner-space .grip-tip")
    grip.wait_for()
    before, ends, box = shown(page), points(page), grip.bounding_box()
    page.mouse.move(box["x"] + 7, box["y"] + 7)
    page.mouse.down()
    page.mouse.move(box["x"] + 11, box["y"] + 7)
    page.mouse.move(box["x"] + 15, box["y"] + 7)
    until(page, before)
    page.get_by_text("0 changes not saved").wait_for()
    page.mouse.up()
    page.get_by_text("1 changes not saved").wait_for()
    page.wait_for_timeout(1000)
    after, moved = shown(page), points(page)
    assert moved[0] == ends[0]
    # Seen from behind, to the right is to the patient's right: towards smaller x, and hardly
    # else, as the end is seen at a slant.
    x, y, z = np.subtract(*(np.array(each[1].split(","), float) for each in (moved, ends)))
    assert -8 < x < -0.5
    assert abs(y) < abs(x) / 4
    assert abs(z) < abs(x) / 4
    theirs = scored(folder, toy_plan[1], moved)
    assert after["canal"] == theirs["clearance"]["canal"]["distance_mm"]
    now = grip.bounding_box()
    assert now["x"] - box["x"] == pytest.approx(8, abs=2)
    assert page.faults == []


def test_a_click_on_a_handle_of_the_scene_moves_nothing(context: Any, start: Any) -> None:
    page = enter(context, start().address)
    page.wait_for_selector("#planner-space[data-state=ready]")
    grip = page.locator("#planner-space .grip-tip")
    grip.wait_for()
    ends, box = points(page), grip.bounding_box()
    for button in ("left", "right"):
        page.mouse.click(box["x"] + 11, box["y"] + 3, button=button)
        page.wait_for_timeout(700)
        assert points(page) == ends
    page.get_by_text("0 changes not saved").wait_for()


def test_arrow_keys_move_what_was_chosen_for_them(context: Any, start: Any) -> None:
    page = enter(context, start().address)
    ends = points(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert points(page) == ends
    page.get_by_label("Arrow keys move").click()
    page.get_by_role("option", name="the tip").click()
    page.wait_for_function("document.activeElement === document.body")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.get_by_text("1 changes not saved").wait_for()  # steps in a row are one change
    moved = points(page)
    assert moved[0] == ends[0]
    step = np.subtract(*(np.array(each[1].split(","), float) for each in (moved, ends)))
    assert step == pytest.approx(np.array([1.0, 0, 0]), abs=2e-3)


def test_a_foramen_is_moved_and_planned_on(context: Any, start: Any, folder: Path) -> None:
    page = enter(context, start().address)
    page.get_by_text("Correct the anatomy").click()
    page.get_by_role("button", name="Put its centre at the crosshair").click()
    page.get_by_text("1 changes not saved").wait_for()
    page.get_by_text("foramen s1 left moved by").first.wait_for()
    page.get_by_role("button", name="Withdraw all").click()
    page.get_by_text("2 changes not saved").wait_for()
    page.get_by_role("button", name="Not bone here").click()
    page.get_by_text("is not bone").first.wait_for()
    page.get_by_role("button", name="Save revision").click()
    page.get_by_text("plan again, or withdraw the corrections").wait_for()
    page.get_by_role("button", name="Plan again").click()
    page.get_by_text("is being made again on the corrected anatomy").wait_for()
    assert page.get_by_role("button", name="Save revision").is_disabled()
    page.get_by_text("Planned again and saved as revision 1").wait_for(timeout=4 * PATIENCE_MS)
    page.get_by_text("revision 1, 0 changes not saved").wait_for()
    saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert saved["review"]["revision"] == 1
    assert any("corrected by a reviewer" in line for line in saved["warnings"])
    kept = sorted(path.name.split("-", 2)[2] for path in (folder / "revisions").iterdir())
    assert kept == ["anatomy.seg.nrrd", "plan.json"]
    assert page.faults == []


def test_a_reason_is_asked_and_the_name_is_signed(context: Any, start: Any, folder: Path) -> None:
    page = enter(context, start().address)
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_label("Why is this path rejected?").fill("skin infection")
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    page.get_by_text("1 changes not saved").wait_for()
    page.get_by_role("button", name="Sign and save").click()
    page.get_by_label("Name", exact=True).fill("R. Eader")
    page.get_by_role("dialog").get_by_role("button", name="Sign and save").click()
    page.get_by_text("Saved as revision 1").wait_for()
    saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert saved["review"]["signed"]["name"] == "R. Eader"
    assert saved["trajectories"][0]["review"]["reason"] == "skin infection"


def test_typed_angles_move_the_tip_and_limits_are_coloured(context: Any, start: Any) -> None:
    page = enter(context, start().address)
    before = shown(page)
    field = page.get_by_label("In bone mm")
    field.fill("40")
    field.press("Enter")
    after = until(page, before)
    assert after["anterior_cortex"] < 2
    row = page.locator(".figures tr[data-structure=anterior_cortex]")
    assert "breaks" in (row.get_attribute("class") or "")
    assert "✖" in (row.text_content() or "")


def test_an_id_from_a_file_runs_nothing(context: Any, start: Any, folder: Path) -> None:
    evil = 'a" :onclick="document.title=1" innerHTML="<b>x</b>'
    text = (folder / "plan.json").read_text(encoding="utf-8")
    (folder / "plan.json").write_text(text.replace(LEFT, json.dumps(evil)[1:-1]), encoding="utf-8")
    page = enter(context, start().address)
    row = page.locator(".path").first
    row.click()
    page.wait_for_timeout(500)
    assert page.title() != "1"
    assert evil in (row.text_content() or "")
    assert row.get_attribute("data-path") == evil


def test_a_refused_note_is_not_wiped(context: Any, start: Any) -> None:
    page = enter(context, start().address)
    note = page.get_by_label("Note on this path")
    note.fill("x" * 4001)
    note.blur()
    page.get_by_text("longer than the 4000").wait_for()
    page.wait_for_timeout(500)
    assert len(note.input_value()) == 4001
    page.get_by_text("0 changes not saved").wait_for()


def test_two_reviews_of_a_folder_exclude_each_other(
    start: Any, folder: Path, toy_plan: tuple[Path, Path]
) -> None:
    start()
    result = subprocess.run(
        [*COMMAND, str(folder), "--no-browser"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "another review of" in result.stderr
