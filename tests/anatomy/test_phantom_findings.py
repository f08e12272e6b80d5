"""Findings on a phantom whose labels, fracture and levels are known exactly."""

from __future__ import annotations

import pytest

from planner.anatomy import derive_anatomy
from planner.anatomy.findings.dense_region import find_dense_region
from planner.anatomy.findings.fracture import find_fracture
from planner.anatomy.findings.hardware import find_hardware
from planner.anatomy.findings.numbering import find_numbering
from planner.model.finding import Weight
from planner.phantom import AlarFracture, PhantomParameters, make_phantom
from planner.shape.parameters import SacrumParameters

pytestmark = pytest.mark.slow


def test_a_fractured_phantom_with_five_pairs_is_told_so():
    phantom = make_phantom(
        PhantomParameters(
            sacrum=SacrumParameters(foramen_pairs=5),
            osteoporosis=0.8,
            left_fracture=AlarFracture(),
            spacing_mm=1.0,
            slice_spacing_mm=1.5,
            slice_thickness_mm=1.5,
            field_width_mm=300.0,
            field_depth_mm=220.0,
        )
    )
    volume = phantom.volume
    anatomy = derive_anatomy(phantom.truth.labels, volume.grid, source="provided")

    broken = find_fracture(anatomy, volume)
    assert [item.message.split(":")[0] for item in broken] == ["sign of a fracture in the left ala"]
    assert broken[0].measures["lateral_mm"] == pytest.approx(36.0, abs=4.0)

    (numbering,) = find_numbering(anatomy, volume)
    assert numbering.weight is Weight.WARNING
    assert "5 pairs of foramina" in numbering.message
    assert numbering.measures["l5_s1_disc_mm"] > 5.0

    assert find_hardware(anatomy, volume) == ()
    assert find_dense_region(anatomy, volume) == ()
