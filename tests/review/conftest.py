"""One toy plan for the folder; every test works on a copy of it."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest

from planner.pipeline import OpenPlan
from planner.review.session import Session
from tests.support.plan_folder import write_toy_plan


@pytest.fixture(scope="session")
def toy_plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_toy_plan(tmp_path_factory.mktemp("toy-plan"))


@pytest.fixture(scope="session")
def opened(toy_plan: tuple[Path, Path]) -> OpenPlan:
    folder, ct = toy_plan
    return OpenPlan.of(folder, ct=ct)


@pytest.fixture
def folder(toy_plan: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_plan[0], tmp_path / "plan"))


@pytest.fixture
def session(opened: OpenPlan, folder: Path) -> Session:
    return again(opened, folder)


def again(opened: OpenPlan, folder: Path) -> Session:
    """Open a review of a folder as a new process would, without measuring the anatomy again."""
    from dataclasses import replace

    from planner.export.plan_json import read_plan_and_hash

    ticks = count()
    clock = lambda: f"2026-01-01T00:00:00.{next(ticks):03d}+00:00"  # noqa: E731
    document, plan_sha256 = read_plan_and_hash(folder)
    return Session(replace(opened, document=document, plan_sha256=plan_sha256), folder, clock)
