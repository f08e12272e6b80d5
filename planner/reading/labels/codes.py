"""Which bone a segment's codes name: SNOMED's sacrum, S1 and L5, and a hip with its side.

DICOM segmentations carry the codes as items of sequences, 3D Slicer's .seg.nrrd as one line of text
(the terminology entry among a segment's tags); both come here as `Coded`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.sr.coding import Code

# SNOMED CT. pydicom compares SNOMED-RT codes of older files as equal to these.
BONES = {
    "sacrum": Code("54735007", "SCT", "Sacrum"),
    "vertebrae_s1": Code("65985001", "SCT", "S1 vertebra"),
    "l5": Code("49668003", "SCT", "L5 vertebra"),
    "hip": Code("29836001", "SCT", "Hip"),
}
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
WHOLE = (Code("123037004", "SCT", "Anatomical Structure"), Code("272673000", "SCT", "Bone"))
"""Property types that leave it to the anatomic region to say which bone; a lesion of a region
is not the region."""
OLD_SCHEMES = {"SNM3": "SRT", "99SDM": "SRT"}
ENTRY = "TerminologyEntry:"


@dataclass(frozen=True)
class Coded:
    """What a segment is coded as: types, anatomic regions, and the modifiers of both."""

    types: tuple[Code, ...] = ()
    regions: tuple[Code, ...] = ()
    modifiers: tuple[Code, ...] = ()

    @property
    def part(self) -> str:
        """The part that the codes name; a hip without a side as hip, nothing else."""
        kinds = self.regions if self.types and self.types[0] in WHOLE else self.types
        if not kinds:
            return ""
        bone = next((name for name, known in BONES.items() if kinds[0] == known), "")
        if bone != "hip":
            return bone
        sides = {side for side, known in SIDES.items() if known in self.modifiers}
        return f"hip_{sides.pop()}" if len(sides) == 1 else "hip"


def code_of(value: str, scheme: str) -> Code:
    """A code, its scheme by the name that is used now."""
    return Code(value, OLD_SCHEMES.get(scheme, scheme), "")


def coded_by_tags(tags: str) -> Coded:
    """Read the terminology entry of 3D Slicer's tags; nothing where there is none.

    The entry has the context, category, type, modifier of the type, context of the anatomy, region
    and its modifier, with ~ between them; each code is scheme^value^meaning.
    """
    entry = next((tag for tag in tags.split("|") if tag.strip().startswith(ENTRY)), "")
    parts = entry.strip().removeprefix(ENTRY).split("~") + [""] * 7

    def codes(*places: int) -> tuple[Code, ...]:
        found = (parts[n].split("^") for n in places)
        return tuple(code_of(f[1], f[0]) for f in found if len(f) >= 2 and f[1])

    return Coded(codes(2), codes(5), codes(3, 6))
