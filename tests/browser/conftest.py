"""A real Chromium, driven by playwright; tests skip with a reason where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        pytest.skip("no Chromium on this machine; install it or name it in CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def toy_plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from tests.support.plan_folder import write_toy_plan

    return write_toy_plan(tmp_path_factory.mktemp("toy-plan"))


@pytest.fixture(scope="module")
def toy_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from planner.export.report import write_report
    from tests.export.test_report import guided_plan
    from tests.export.toy import toy_volume

    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(guided_plan(), toy_volume(), path)
    return path
