from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.model.configuration import Limits, Preferred
from planner.model.trajectory import (
    OUTER_DIAMETERS_MM,
    Needle,
    Structure,
    Technique,
    Trajectory,
)

points = st.tuples(*[st.floats(-500, 500)] * 3)


def path(skin: tuple, entry: tuple, tip: tuple) -> Trajectory:
    ends = (np.array(p, float) for p in (skin, entry, tip))
    return Trajectory(Technique.SHORT_AXIS, "left", "S1", *ends, Needle())


@pytest.mark.parametrize("gauge", ["11", "11g", "12G", "", "G11"])
def test_a_gauge_that_does_not_exist(gauge: str) -> None:
    with pytest.raises(
        ValueError, match=r"gauge must be one of \['8G', '10G', '11G', '13G'\], got"
    ):
        Needle(gauge)


def test_a_higher_gauge_is_thinner() -> None:
    gauges = sorted(OUTER_DIAMETERS_MM, key=lambda name: int(name[:-1]))
    diameters = [Needle(name).outer_diameter_mm for name in gauges]
    assert diameters == sorted(diameters, reverse=True)
    assert Needle().outer_diameter_mm == 3.048
    assert Needle("13G").radius_mm == pytest.approx(2.413 / 2)


def test_a_needle_is_a_value() -> None:
    assert Needle("13G") == Needle("13G") != Needle("11G")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Needle().gauge = "13G"  # type: ignore[misc]


@given(points, points, points)
def test_lengths_and_direction(skin: tuple, entry: tuple, tip: tuple) -> None:
    if np.linalg.norm(np.subtract(tip, entry)) < 1e-3:
        return
    made = path(skin, entry, tip)
    assert np.linalg.norm(made.direction) == pytest.approx(1.0)
    end = made.bone_entry + made.intraosseous_length_mm * made.direction
    np.testing.assert_allclose(end, made.tip, atol=1e-6)
    assert made.skin_to_tip_mm == pytest.approx(np.linalg.norm(np.subtract(tip, skin)), abs=1e-9)


def test_lengths_of_a_plain_path() -> None:
    made = path((0, 100, 0), (0, 40, 0), (0, 10, 0))
    assert made.intraosseous_length_mm == 30.0
    assert made.skin_to_tip_mm == 90.0
    np.testing.assert_allclose(made.direction, [0, -1, 0])


def test_every_structure_has_a_limit() -> None:
    for structure in Structure:
        assert f"{structure.value}_mm" in Limits.model_fields
    guarded = [item for item in Structure if item is not Structure.POSTERIOR]  # crossed on purpose
    assert all(f"{item.value}_mm" in Preferred.model_fields for item in guarded)
    for item in guarded:
        name = f"{item.value}_mm"
        assert getattr(Preferred(), name) >= getattr(Limits(), name)
