"""A review and a browser on it, for the scripts that look at pages or time them.

Needs the extras review and test, and Chromium (found on the PATH, or named in CHROMIUM).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PLANNER = (sys.executable, "-c", "from planner.cli import main; main()")
PATIENCE_MS = 180_000
MOVES = 20
# Notes when the mouse moved and when the numbers changed next.
WATCH = """() => {
  window.moved = []; window.changed = [];
  document.addEventListener("mousemove", () => window.moved.push(performance.now()), true);
  new MutationObserver(() => window.changed.push(performance.now())).observe(
    document.querySelector(".numbers"), {subtree: true, childList: true, characterData: true});
}"""


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium; raises SystemExit where there is none."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        raise SystemExit("no Chromium here; install it, or name it in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        yield running
        running.close()


@contextmanager
def review(folder: Path, ct: Path) -> Iterator[str]:
    """A review of a plan folder; the address that opens it once."""
    command = [*PLANNER, "review", str(folder), "--ct", str(ct), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"http://\S+/open\?token=\S+", line)
            if found:
                yield found[0]
                return
        raise SystemExit(f"the review of {folder} did not start")
    finally:
        process.kill()
        process.wait()


def enter(running: Any, address: str, size: tuple[int, int]) -> tuple[Any, float]:
    """Open the page; returns it and the seconds until all four pictures stood."""
    page = running.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENCE_MS)
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_function(
        "(() => { const all = [...document.querySelectorAll('.pane img')]; return all.length === 4"
        " && all.every((each) => each.naturalWidth > 0); })()"
    )
    return page, time.perf_counter() - start


def drag_times(page: Any) -> list[float]:
    """Drag an entry to and fro; milliseconds from each move of the mouse to the next numbers."""
    box = page.locator("[data-pane=coronal] .handle-entry").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate(WATCH)
    page.mouse.move(x, y)
    page.mouse.down()
    found = []
    for step in range(MOVES):
        page.evaluate("() => { window.moved = []; window.changed = []; }")
        page.mouse.move(x + 4 + step % 5, y + 4 + step % 3)
        page.wait_for_timeout(500)
        moved, changed = page.evaluate("() => [window.moved[0], window.changed[0]]")
        if moved is not None and changed is not None:
            found.append(changed - moved)
    page.keyboard.press("Escape")
    page.mouse.up()
    return sorted(found)
