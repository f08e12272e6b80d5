"""How segments are coloured and coded.

Colours are Okabe and Ito's, which stay apart for colour-blind eyes. Codes are SNOMED CT where a
code is known to be right; sacral foramina (within the region of the sacrum) and facet joints get a
private code (scheme 99PLANNER, as DICOM allows), rather than one that means something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from planner.model.anatomy import LABELS, LEVELS, SIDES

Colour = tuple[float, float, float]
Code = tuple[str, str, str]

BONE: Colour = (0.0, 0.62, 0.45)
CANAL: Colour = (0.34, 0.71, 0.91)
FORAMEN: Colour = (0.94, 0.89, 0.26)
HIP: Colour = (0.80, 0.47, 0.65)
LUMBAR: Colour = (0.72, 0.72, 0.72)
FACET: Colour = (0.0, 0.45, 0.70)
NEEDLE: Colour = (0.90, 0.45, 0.0)

PRIVATE = "99PLANNER"
ANATOMICAL: Code = ("SCT", "123037004", "Anatomical Structure")
SACRUM: Code = ("SCT", "54735007", "Sacrum")
MODIFIERS: dict[str, Code] = {
    "left": ("SCT", "7771000", "Left"),
    "right": ("SCT", "24028007", "Right"),
}
NOTHING: Code = ("", "", "")


def _colours() -> dict[str, Colour]:
    colours = {"sacrum": BONE, "sacral_canal": CANAL, "l5": LUMBAR}
    for name in LABELS:
        if name.startswith("foramen"):
            colours[name] = FORAMEN
        if name.startswith("hip"):
            colours[name] = HIP
        if name.startswith("facet"):
            colours[name] = FACET
    return colours


COLOURS = MappingProxyType(_colours())
"""Segment name to red, green, blue, each 0 to 1."""


@dataclass(frozen=True)
class Coded:
    """What a segment is: the code of its kind, the code of its side, the region it lies in."""

    kind: Code
    side: Code = NOTHING
    region: Code = NOTHING


def _codes() -> dict[str, Coded]:
    codes = {
        "sacrum": Coded(SACRUM),
        "sacral_canal": Coded(("SCT", "61853006", "Spinal canal"), region=SACRUM),
        "l5": Coded(("SCT", "49668003", "L5 vertebra")),
    }
    for side in SIDES:
        codes[f"hip_{side}"] = Coded(("SCT", "29836001", "Hip"), MODIFIERS[side])
        joint = (PRIVATE, "facet_l5_s1", "L5/S1 facet joint")
        codes[f"facet_{side}"] = Coded(joint, MODIFIERS[side])
        for level in LEVELS:
            code = (PRIVATE, f"foramen_{level.lower()}", f"{level} sacral foramen")
            codes[f"foramen_{level.lower()}_{side}"] = Coded(code, MODIFIERS[side], SACRUM)
    return codes


CODES = MappingProxyType(_codes())
"""Segment name to its codes."""


def _entry(coded: Coded) -> str:
    parts = ["Segmentation category and type - planner"]
    parts += ["^".join(code) for code in (ANATOMICAL, coded.kind, coded.side)]
    parts += ["Anatomic codes - DICOM master list", "^".join(coded.region), "^".join(NOTHING)]
    return "~".join(parts)


TERMINOLOGY = MappingProxyType({name: _entry(coded) for name, coded in CODES.items()})
"""Segment name to 3D Slicer's terminology entry."""
