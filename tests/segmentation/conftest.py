"""The shipped sample case, read and segmented once for all tests of the segmentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.model.volume import Volume
from planner.reading import read_ct
from planner.segmentation import Segmentation, segment

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"


@pytest.fixture(scope="session")
def sample_volume() -> Volume:
    return read_ct(SAMPLE)


@pytest.fixture(scope="session")
def sample_truth() -> dict[str, Any]:
    return json.loads((SAMPLE / "truth.json").read_text())


@pytest.fixture(scope="session")
def sample_segmentation(sample_volume: Volume) -> Segmentation:
    return segment(sample_volume)
