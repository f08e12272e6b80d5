"""Make the README's screenshots: the report's scene and the review page, on sample_data.

    python scripts/make_screenshots.py                 plans, then writes sample_data/*.png
    python scripts/make_screenshots.py --plan FOLDER   takes a plan of sample_data made before
    python scripts/make_screenshots.py --size 3840 2160 --into FOLDER   for another screen

Needs the extras review and test, and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from browse import PLANNER, browser, enter, review
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data"
LAPTOP = (1366, 768)
COLOURS = 256


def report_shot(running: Any, folder: Path, size: tuple[int, int], target: Path) -> None:
    """The scene of the report."""
    page = running.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto((folder / "report.html").resolve().as_uri())
    page.wait_for_selector("#scene[data-state=ready]", timeout=180_000)
    page.evaluate("document.querySelector('#space').scrollIntoView()")
    page.wait_for_timeout(2000)
    page.screenshot(path=target)
    page.close()


def review_shot(running: Any, folder: Path, size: tuple[int, int], target: Path) -> None:
    """The review page with a needle that was moved."""
    with review(folder, SAMPLE) as address:
        page, _ = enter(running, address, size)
        page.wait_for_selector("#planner-space[data-state=ready]")
        box = page.locator("[data-pane=coronal] .handle-entry").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 10, y + 6)
        page.wait_for_timeout(1000)
        page.mouse.up()
        page.get_by_text("1 changes not saved").wait_for()
        page.wait_for_timeout(3000)
        page.screenshot(path=target)
        page.close()


def shrink(path: Path) -> None:
    """Store a picture with a palette."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, kmeans=2)
    small.save(path, "PNG", optimize=True)


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, help="a plan of sample_data made before")
    parser.add_argument("--size", type=int, nargs=2, default=LAPTOP)
    parser.add_argument("--into", type=Path, default=SAMPLE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, browser() as running:
        folder = Path(name) / "plan"
        if given.plan is None:
            command = [*PLANNER, "plan", str(SAMPLE), "--output", str(folder), "-q"]
            subprocess.run(command, check=True)
        else:
            shutil.copytree(given.plan, folder)
        for shot, file in ((report_shot, "report.png"), (review_shot, "review.png")):
            target = given.into / file
            shot(running, folder, tuple(given.size), target)
            shrink(target)
            print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
