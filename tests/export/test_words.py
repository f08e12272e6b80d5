"""What people read: sides, angles and probabilities, never rounded to a comfort."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.export.guidance_words import guidance_lines
from planner.export.numbers import percent, placement_name, placement_words
from planner.model.configuration import Configuration
from planner.model.guidance import BeamView, Guidance

VIEWS = {name: BeamView(0.0, 0.0) for name in ("ap", "outlet", "inlet", "lateral")}
GUIDANCE = Guidance(
    skin_in_view=True,
    skin_slice=12,
    skin_z_mm=-4.0,
    in_plane_deg=10.0,
    cranial_deg=-8.0,
    gantry_tilt_deg=5.0,
    skin_lateral_mm=22.0,
    skin_below_spine_mm=-30.0,
    skin_medial_of_spine_mm=12.0,
    skin_to_bone_mm=45.0,
    skin_to_tip_mm=80.0,
    needle_length_mm=125.0,
    down_the_barrel=BeamView(-12.0, 30.0),
    views=VIEWS,
    entry="3 mm lateral to it",
)


def words(item: Guidance, **given: bool) -> dict[str, str]:
    return dict(guidance_lines(item, **given))


def test_sides_and_ends_follow_the_signs() -> None:
    lines = words(GUIDANCE)
    assert "tip 10° to the patient's left" in lines["CT"]
    assert "8° to the feet" in lines["CT"]
    assert "front edge towards the head" in lines["CT"]
    assert "30 mm above and 12 mm medial" in lines["Skin"]
    assert "patient's right, 30° towards the head" in lines["C-arm, down the barrel"]
    other = replace(
        GUIDANCE, in_plane_deg=-10.0, cranial_deg=8.0, gantry_tilt_deg=-5.0, skin_lateral_mm=-3.0
    )
    lines = words(other)
    assert "patient's right in the image" in lines["CT"]
    assert "8° to the head" in lines["CT"]
    assert "front edge towards the feet" in lines["CT"]
    assert "across the midline" in lines["Skin"]


def test_a_tilt_no_gantry_has_is_told() -> None:
    assert "most gantries end at" not in words(GUIDANCE)["CT"]
    assert "most gantries end at 30°" in words(replace(GUIDANCE, gantry_tilt_deg=42.0))["CT"]


def test_a_needle_is_never_shorter_than_it_is() -> None:
    assert "needle of 12.5 cm" in words(GUIDANCE)["Depth"]
    assert "longer than every needle" in words(replace(GUIDANCE, needle_length_mm=None))["Depth"]
    hidden = words(replace(GUIDANCE, skin_in_view=False, needle_length_mm=None))
    assert "more than 80 mm to tip" in hidden["Depth"]
    assert "needle length unknown" in hidden["Depth"]
    assert "does not show the skin" in hidden["Skin"]


def test_without_the_ct_the_skin_is_left_out() -> None:
    lines = words(GUIDANCE, skin_known=False)
    assert not {"Skin", "Depth"} & set(lines)
    assert "z -4" not in lines["CT"]


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "0.0"), (0.0004, "<0.1"), (0.0006, "0.1"), (0.25, "25.0"), (1.0, "100.0")],
)
def test_a_small_risk_is_not_none(probability: float, text: str) -> None:
    assert percent(probability) == text


def test_a_changed_preset_is_not_named_by_its_old_name() -> None:
    plain = Configuration().model_dump(mode="json")
    assert placement_name(plain) == "ct checked"
    own = Configuration.from_mapping({"placement_error": {"angle_deg": 10.0}})
    assert placement_name(own.model_dump(mode="json")) == "own figures"
    assert "angle 10°" in placement_words(own.model_dump(mode="json"))
