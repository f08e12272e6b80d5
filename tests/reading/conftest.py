from __future__ import annotations

import numpy as np
import pytest

from planner.model.volume import Volume

from .dicom_series import MARKER_HU, SECRET, SECRET_ID


@pytest.fixture
def assert_marker():
    """Check that the brightest voxel of a volume lies at a patient position."""

    def check(volume: Volume, point: np.ndarray, hu: int = MARKER_HU) -> None:
        brightest = np.unravel_index(np.argmax(volume.values), volume.values.shape)
        assert volume.values[brightest] == hu
        np.testing.assert_allclose(volume.grid.to_patient(brightest), point, atol=1e-3)

    return check


@pytest.fixture
def assert_private():
    """Check that a text names no patient."""

    def check(text: str) -> None:
        for secret in (SECRET, SECRET.split("^")[0], SECRET_ID, "19440229"):
            assert secret not in text

    return check
