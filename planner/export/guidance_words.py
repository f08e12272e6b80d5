"""The set-up of a needle as a person reads it: one line each for CT, skin, depth and C-arm."""

from __future__ import annotations

from planner.export.names import BEAMS
from planner.model.guidance import BeamView, Guidance

MOST_TILT_DEG = 30.0
LEVEL_DEG = 0.5
"""Angles below this are called none."""


def guidance_lines(item: Guidance, *, skin_known: bool = True) -> list[tuple[str, str]]:
    """(heading, words) of a set-up; skin_known: whether the CT was at hand when it was made."""
    lines = [("Bone entry", item.entry)]
    if skin_known:
        lines += [("Skin", _skin(item)), ("Depth", _depth(item))]
    lines += [
        ("CT", _ct(item, skin_known)),
        ("C-arm, down the barrel", _beam(item.down_the_barrel)),
    ]
    lines += [(f"C-arm, {BEAMS[name]}", _beam(view)) for name, view in item.views.items()]
    return lines


def _skin(item: Guidance) -> str:
    across = "across the midline" if item.skin_lateral_mm < 0 else "from the midline"
    text = f"{abs(item.skin_lateral_mm):.0f} mm {across}"
    below, medial = item.skin_below_spine_mm, item.skin_medial_of_spine_mm
    if below is not None and medial is not None:
        text += (
            f"; {abs(below):.0f} mm {'below' if below >= 0 else 'above'} and {abs(medial):.0f} mm "
            f"{'medial' if medial >= 0 else 'lateral'} of the posterior superior iliac spine"
        )
    if not item.skin_in_view:
        text += "; the CT does not show the skin here, this is where the needle leaves it"
    return text


def _depth(item: Guidance) -> str:
    more = "" if item.skin_in_view else "more than "
    text = f"{more}{item.skin_to_bone_mm:.0f} mm to bone, {more}{item.skin_to_tip_mm:.0f} mm to tip"
    if not item.skin_in_view:
        return f"{text}; needle length unknown"
    if item.needle_length_mm is None:
        return f"{text}; longer than every needle listed"
    return f"{text}; needle of {item.needle_length_mm / 10:g} cm"


def _ct(item: Guidance, skin_known: bool) -> str:
    where = ""
    if skin_known and item.skin_slice:
        where = (
            f"skin at z {item.skin_z_mm:.1f} mm, slice {item.skin_slice} in the volume's order; "
        )
    side = "left" if item.in_plane_deg >= 0 else "right"
    up = "head" if item.cranial_deg >= 0 else "feet"
    steep = abs(item.gantry_tilt_deg)
    edge = "head" if item.gantry_tilt_deg > 0 else "feet"
    tilt = f"tilted by {steep:.0f}°, the image's front edge towards the {edge}, it holds the needle"
    if steep < LEVEL_DEG:
        tilt = "it lies in the image"
    elif steep > MOST_TILT_DEG:
        tilt += f"; most gantries end at {MOST_TILT_DEG:.0f}°"
    return (
        f"{where}tip {abs(item.in_plane_deg):.0f}° to the patient's {side} in the image, "
        f"{abs(item.cranial_deg):.0f}° to the {up} out of it; {tilt}"
    )


def _beam(view: BeamView) -> str:
    if abs(view.rotation_deg) < LEVEL_DEG:
        turn = "no rotation"
    else:
        side = "left" if view.rotation_deg > 0 else "right"
        turn = f"{abs(view.rotation_deg):.0f}° towards the patient's {side}"
    if abs(view.tilt_deg) < LEVEL_DEG:
        return f"{turn}, no tilt (dorsal end of the beam)"
    up = "head" if view.tilt_deg > 0 else "feet"
    return f"{turn}, {abs(view.tilt_deg):.0f}° towards the {up} (dorsal end of the beam)"
