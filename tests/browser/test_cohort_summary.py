"""The summary of a cohort as it opens from disk, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pandas", reason="the extra cohort is not installed")


def test_it_opens_without_a_network_and_shows_its_pictures(browser: Any, tmp_path: Path) -> None:
    from planner.cohort.summary import summarize
    from tests.cohort.made_up import a_case, a_cohort, a_failure, a_map, a_picture, a_plan

    names = ("p1", "p2", "p3")
    pairs = [(a_case(name, sex="F"), a_plan(name, n)) for n, name in enumerate(names)]
    pairs.append((a_case("p4"), a_failure("p4", 4, "<img src=x onerror=alert(1)>")))
    a_cohort(tmp_path, pairs)
    for name in (*names, "p4"):
        a_picture(tmp_path, name)
        a_map(tmp_path, name)
    context = browser.new_context(viewport={"width": 1366, "height": 768}, offline=True)
    tab = context.new_page()
    asked: list[str] = []
    faults: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda line: faults.append(line.text))
    tab.on("dialog", lambda dialog: faults.append(dialog.message))
    try:
        tab.goto(summarize(tmp_path).as_uri())
        images = tab.evaluate(
            "Promise.all([...document.images].map(async i => {"
            " await i.decode().catch(() => 0); return [i.alt, i.naturalWidth]; }))"
        )
        # Three figures, three overviews and one failure.
        assert len(images) == 7
        assert all(alt and width > 0 for alt, width in images), images
        assert tab.locator("h1").inner_text() == "Sacroplasty cohort"
        shown = tab.locator(".sheet").first.evaluate("e => getComputedStyle(e).display")
        assert shown == "grid"  # the page's own style is let through
        assert tab.get_by_text("<img src=x onerror=alert(1)>").count() == 1
        # Nothing but wide tables may be wider than the window.
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert [url for url in asked if not url.startswith("data:")] == [tab.url]
        assert faults == []
    finally:
        context.close()
