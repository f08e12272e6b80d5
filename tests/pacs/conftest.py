"""A small series, and a real server where Orthanc is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.geometry.grid import Grid
from tests.support.dicom_ct import write_ct
from tests.support.orthanc import Orthanc

FILES = 70  # more than two batches


@pytest.fixture(scope="session")
def small_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of FILES slices; too small to plan on."""
    values = np.random.default_rng(4).integers(-1000, 2000, (24, 20, FILES)).astype(np.int16)
    grid = Grid((24, 20, FILES), np.diag([1.0, 1.0, 1.5, 1.0]))
    return write_ct(values, grid, tmp_path_factory.mktemp("small") / "ct")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    made = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield made
    made.kill()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Any]:
    """Start servers of one's own, with options."""
    running: list[Orthanc] = []

    def begin(**more: Any) -> Orthanc:
        running.append(Orthanc(tmp_path / f"orthanc-{len(running)}", **more))
        return running[-1]

    yield begin
    for each in running:
        each.kill()
