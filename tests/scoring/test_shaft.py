"""Bone behind the entry: a needle that meets it enters there, not where the plan says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.anatomy.fields import clearance_fields
from planner.anatomy.needles import reenters
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.scoring import measure
from tests.scoring import toy

ENTRY, TIP = (36.0, 14.0, -30.0), (36.0, -8.0, -30.0)
"""The back is flat at y = 14 there."""


def with_flap(gap_mm: float, thick_mm: float) -> Anatomy:
    """The toy sacrum with a plate of bone behind its back, 12 mm wide."""
    subject, _ = toy.standard()
    grid = subject.grid
    local = subject.frame.to_sacrum(grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)))
    plate = (np.abs(local[..., 0] - 36.0) < 6.0) & (np.abs(local[..., 2] + 30.0) < 6.0)
    plate &= (local[..., 1] > 14.0 + gap_mm) & (local[..., 1] < 14.0 + gap_mm + thick_mm)
    assert plate.any()
    return replace(subject, labels=np.where(plate, np.uint8(1), subject.labels))


@pytest.mark.parametrize("gap_mm", [1.6, 2.5, 4.0, 6.0, 7.0])
@pytest.mark.parametrize("thick_mm", [1.1, 1.6, 3.0])
def test_thin_bone_behind_the_entry_is_seen(gap_mm: float, thick_mm: float) -> None:
    subject = with_flap(gap_mm, thick_mm)
    found = measure(toy.needle(subject, ENTRY, TIP), subject, toy.standard()[1], Configuration())
    assert any("single_bone_entry" in text for text in found.warnings)


def test_a_free_shaft_is_free_at_every_incidence() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    for lean in (-40.0, -20.0, 0.0, 20.0, 40.0):
        tip = (36.0, 14.0 - 20.0, -30.0 + 20.0 * np.tan(np.radians(lean)))
        path = toy.needle(subject, ENTRY, tip)
        assert not reenters(fields, path.bone_entry[None], path.direction[None])[0], lean
