"""A plan folder to export, made once; and one with a reviewer's verdicts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from planner.exchange import Handover, Settings


@pytest.fixture(scope="session")
def toy_plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plan folder and its CT, which is a volume file."""
    from tests.support.plan_folder import write_toy_plan

    return write_toy_plan(tmp_path_factory.mktemp("toy-plan"))


@pytest.fixture(scope="session")
def dicom_plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plan folder and its CT as DICOM; nothing may be written into either."""
    from tests.support.plan_folder import write_toy_plan

    return write_toy_plan(tmp_path_factory.mktemp("dicom-plan"), dicom=True)


@pytest.fixture(scope="session")
def handover(dicom_plan: tuple[Path, Path]) -> Handover:
    """The DICOM plan as every format is given it, with its CT and reproducible UIDs."""
    return Handover.of(*dicom_plan, Settings(reproducible=True), dicom=True)


@pytest.fixture
def folder(toy_plan: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_plan[0], tmp_path / "plan"))


@pytest.fixture
def reviewed(folder: Path) -> Path:
    """The plan folder after a reviewer rejected its second path."""
    path = folder / "plan.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["trajectories"][1]["review"] = {
        "verdict": "rejected",
        "origin": "planned",
        "reason": "too near",
    }
    path.write_text(json.dumps(values), encoding="utf-8")
    return folder
