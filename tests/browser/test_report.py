"""The report as it opens from a mail attachment: from disk, without a network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

READY = "#scene[data-state=ready]"


@pytest.fixture
def page(browser: Any, toy_report: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1366, "height": 768}, offline=True)
    tab = context.new_page()
    tab.asked, tab.faults = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.on("console", lambda line: tab.faults.append(line.text) if line.type == "error" else None)
    tab.goto(toy_report.as_uri())
    yield tab
    context.close()


def pixels(page: Any) -> Any:
    page.wait_for_timeout(300)
    data = page.locator("#scene .stage").screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def bluish(image: Any) -> int:
    red, green, blue = np.moveaxis(image, -1, 0)
    return int(((blue > red + 40) & (blue > 110)).sum())


def orange(image: Any) -> int:
    red, green, blue = np.moveaxis(image, -1, 0)
    return int(((red > green + 50) & (green > blue + 20) & (red > 120)).sum())


def test_it_opens_from_disk_asks_for_nothing_and_turns(page: Any) -> None:
    page.wait_for_selector(READY, timeout=60_000)
    first = pixels(page)
    assert bluish(first) > 200
    assert orange(first) > 20  # needles are seen end-on
    page.get_by_role("button", name="From the patient's left").click()
    turned = pixels(page)
    assert orange(turned) > 100
    assert np.abs(turned - first).max(axis=-1).astype(bool).mean() > 0.02
    outside = [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert [url for url in page.asked if url.startswith("file:")] == [page.url]
    assert page.faults == []


def test_switches_do_what_they_say(page: Any) -> None:
    page.wait_for_selector(READY, timeout=60_000)
    with_canal = pixels(page)
    page.locator("input[name=sacral_canal]").fill("0")
    assert bluish(pixels(page)) < bluish(with_canal) / 20
    page.locator("select[name=plane]").select_option(label="across")
    across = pixels(page)
    page.locator("input[name=offset]").fill("0")
    assert page.locator("output[name=where]").text_content() == "0.0 mm from the bone entry"
    assert not np.array_equal(pixels(page), across)
    page.locator("select[name=needle]").select_option(index=1)
    assert "beside" not in (page.locator("output[name=where]").text_content() or "")
    page.get_by_role("button", name="Along the needle").click()
    assert orange(pixels(page)) > 0
    assert page.faults == []


def test_without_webgl_the_still_pictures_remain(browser: Any, toy_report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(toy_report.as_uri())
    assert tab.locator("#scene .stills img").count() == 2
    assert tab.locator("#scene .stills img").first.is_visible()
    assert not tab.locator("#scene .stage").is_visible()
    context.close()


def test_by_keyboard_the_first_stop_is_the_table(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the ranked paths"
    page.keyboard.press("Enter")
    page.wait_for_url("**#ranking")


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_printed_it_has_a_page_per_path_and_pictures_instead_of_the_scene(
    page: Any, paper: str
) -> None:
    page.wait_for_selector(READY, timeout=60_000)
    printed = PdfReader(io.BytesIO(page.pdf(format=paper)))
    words = [sheet.extract_text() for sheet in printed.pages]
    starts = [k for k, text in enumerate(words) if text.lstrip().startswith(("1. ", "2. "))]
    assert len(starts) == 2
    assert "not a medical device" in words[0]
    assert "Turn left" not in "".join(words)
    assert "From behind. Sacrum see-through" in "".join(words)
