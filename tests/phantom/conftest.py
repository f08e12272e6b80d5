"""Small coarse phantoms, each made once; asymmetric, so that a slip of sides shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pydicom
import pytest

from planner.phantom import AlarFracture, Phantom, PhantomParameters, make_phantom
from planner.shape.parameters import SacrumParameters

SACRUM = SacrumParameters(
    left_width_scale=1.06,
    right_width_scale=0.96,
    left_foramen_shift_mm=(2.0, 0.0, 3.0),
    right_foramen_shift_mm=(-1.0, 0.0, 0.0),
)
COARSE = PhantomParameters(
    sacrum=SACRUM,
    yaw_deg=6.0,
    roll_deg=-3.0,
    pitch_deg=2.0,
    left_fracture=AlarFracture(sclerosis_hu=400.0, gap_mm=0.0),
    osteoporosis=0.9,
    spacing_mm=2.5,
    slice_spacing_mm=3.0,
    slice_thickness_mm=2.0,
    field_width_mm=210.0,
    field_depth_mm=170.0,
    margin_above_mm=30.0,
    margin_below_mm=6.0,
    noise_hu=6.0,
    seed=5,
)


@pytest.fixture(scope="session")
def coarse() -> Phantom:
    return make_phantom(COARSE)


@pytest.fixture(scope="session")
def prone() -> Phantom:
    return make_phantom(dataclasses.replace(COARSE, patient_position="prone"))


@pytest.fixture(scope="session")
def tilted() -> Phantom:
    narrow = dataclasses.replace(COARSE, gantry_tilt_deg=14.0, spacing_mm=3.0)
    return make_phantom(narrow)


def read_series(folder: Path) -> list[pydicom.Dataset]:
    """Read every file of a folder, in the order of the positions along the slices' normal."""
    items = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    row, column = np.reshape([float(x) for x in items[0].ImageOrientationPatient], (2, 3))
    normal = np.cross(row, column)
    return sorted(
        items, key=lambda d: float(np.dot(normal, np.array(d.ImagePositionPatient, float)))
    )


def value_at(items: list[pydicom.Dataset], point: np.ndarray) -> float:
    """HU of the pixel nearest to a patient point, from the attributes alone; NaN off the images."""
    row, column = np.reshape([float(x) for x in items[0].ImageOrientationPatient], (2, 3))
    normal = np.cross(row, column)
    gaps = [abs(np.dot(point - np.array(d.ImagePositionPatient, float), normal)) for d in items]
    item = items[int(np.argmin(gaps))]
    offset = point - np.array(item.ImagePositionPatient, float)
    down, across = (float(x) for x in item.PixelSpacing)
    i, j = round(float(offset @ row) / across), round(float(offset @ column) / down)
    if not (0 <= i < item.Columns and 0 <= j < item.Rows):
        return float("nan")
    return float(item.pixel_array[j, i] * float(item.RescaleSlope) + float(item.RescaleIntercept))
