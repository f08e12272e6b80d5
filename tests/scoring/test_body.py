"""The way from bone to skin: table, field of view, folds."""

from __future__ import annotations

import numpy as np
import pytest

from planner.anatomy.body import body_of, way_out
from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.model.volume import CtSource, Volume

SOURCE = CtSource("phantom", "0" * 64)
BACK = np.array([[0.0, -1.0, 0.0]])


def ct(values: np.ndarray) -> Volume:
    grid = Grid.from_axes((100, 80, 30), (-100, -80, 0), (2.0, 2.0, 3.0))
    return Volume(values.astype(np.int16), grid, SOURCE)


def trunk() -> np.ndarray:
    """Flesh from y = -60 to y = 30 mm; air around."""
    values = np.full((100, 80, 30), -1000.0)
    values[10:90, 10:56] = 40.0
    return values


def walk(values: np.ndarray, y: float = 0.0) -> tuple[bool, float, int]:
    out = way_out(body_of(ct(values)), np.array([[0.0, y, 45.0]]), BACK, 150.0)
    return bool(out.reached[0]), float(out.soft_tissue_mm[0]), int(out.crossings[0])


def test_flat_back() -> None:
    reached, depth, crossings = walk(trunk())
    assert reached
    assert crossings == 1
    assert depth == pytest.approx(31.0, abs=1.0)


def test_a_table_behind_the_patient_is_not_skin() -> None:
    values = trunk()
    values[5:95, 58:60] = 100.0
    values[70:76, 56:58] = 100.0
    assert walk(values)[1] == pytest.approx(31.0, abs=1.5)
    assert walk(values)[2] == 1


def test_bowel_gas_is_body() -> None:
    values = trunk()
    values[40:60, 42:50] = -950.0
    reached, depth, crossings = walk(values)
    assert (reached, crossings) == (True, 1)
    assert depth == pytest.approx(31.0, abs=1.0)


def test_field_of_view_ends_before_skin() -> None:
    values = trunk()
    values[10:90, 10:] = 40.0
    assert not walk(values)[0]
    padded = trunk()
    padded[:, 56:] = -2000.0
    assert not walk(padded)[0]


def test_a_fold_is_a_second_crossing() -> None:
    values = np.full((100, 80, 30), -1000.0)
    values[10:90, 10:70] = 40.0
    values[:80, 46:52] = -1000.0
    assert walk(values)[2] == 2


def test_air_alone_is_no_body() -> None:
    with pytest.raises(UnsuitableCtError, match="no body"):
        body_of(ct(np.full((100, 80, 30), -1000.0)))
