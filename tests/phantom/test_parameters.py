from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from planner.phantom import AlarFracture, PhantomParameters, TransverseBar, make_phantom
from planner.shape.parameters import SacrumParameters


def test_defaults_and_samples_are_plausible() -> None:
    PhantomParameters().validate()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        PhantomParameters.sample(rng, "F" if seed % 2 else "M").validate()


def test_samples_are_reproducible_and_fixed_values_win() -> None:
    one, two = (
        PhantomParameters.sample(np.random.default_rng(4), spacing_mm=2.0) for _ in range(2)
    )
    assert one == two
    assert one.spacing_mm == 2.0


def test_validation_lists_every_defect() -> None:
    wrong = PhantomParameters(
        sacrum=SacrumParameters(foramen_pairs=7),
        sacral_slope_deg=90.0,
        osteoporosis=1.5,
        patient_position="sideways",  # type: ignore[arg-type]
        left_fracture=AlarFracture(gap_mm=-1.0),
        transverse_bar=TransverseBar(depth_mm=500.0),
        spacing_mm=float("nan"),
        position_mm=(0.0, 0.0, 1e6),
        seed=-3,
    )
    with pytest.raises(ValueError, match="implausible phantom") as caught:
        make_phantom(wrong)
    message = str(caught.value)
    for part in (
        "sacral_slope_deg is 90, allowed 10 to 70",
        "osteoporosis is 1.5, allowed 0 to 1",
        "patient_position is 'sideways', allowed supine, prone",
        "left_fracture.gap_mm is -1, allowed 0 to 3",
        "transverse_bar.depth_mm is 500, allowed 10 to 80",
        "spacing_mm is nan",
        "position_mm is",
        "seed is -3",
        "foramen_pairs is 7, allowed 4 or 5",
    ):
        assert part in message


def test_a_field_beyond_the_memory_is_refused() -> None:
    huge = PhantomParameters(spacing_mm=0.3, slice_spacing_mm=0.3, field_width_mm=700.0)
    with pytest.raises(ValueError, match=r"voxels, allowed 200000000 in all"):
        make_phantom(huge)


def test_digest_covers_nested_parameters_and_goes_through_json() -> None:
    base = PhantomParameters()
    other = dataclasses.replace(base, sacrum=SacrumParameters(hiatus_level=4.0))
    assert base.digest == PhantomParameters().digest
    assert base.digest != other.digest
    assert json.loads(json.dumps(base.to_dict()))["sacrum"]["hiatus_level"] == 4.2
