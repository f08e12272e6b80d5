"""Which segment a name means: the project's own names and those of TotalSegmentator's classes.

A vertebra S1 that is labelled apart belongs to the sacrum. Segments of any other name are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.model.anatomy import LABELS
from planner.reading.labels.codes import Coded

CLASSES = {"vertebrae_s1": "sacrum", "vertebrae_l5": "l5"}
"""TotalSegmentator's class names, in lower case, that are not names of LABELS."""
S1_APART = "vertebrae_s1"
VERTEBRA = frozenset({"vertebra", "vertebrae", "vertebral"})
FILLERS = frozenset({"bone", "os", "the", "and", "side"})
"""Words that a name may have besides."""
HIPS = frozenset({"hip", "hips", "pelvis", "ilium", "innominate", "coxae"})
OTHERS = frozenset(
    {"muscle", "vessel", "vessels", "artery", "vein", "nerve", "nerves", "root", "implant", "screw"}
    | {"prosthesis", "fracture", "lesion", "tumor", "tumour", "metastasis", "cyst", "joint", "fat"}
)
"""Words of names that speak of something at a bone, and not of the bone."""
MOST_NAMED = 6
NAMES = f"Names are {', '.join(LABELS)}, vertebrae_S1 and vertebrae_L5."


def plain(text: object) -> str:
    """Bring a name to lower case with underscores."""
    return re.sub(r"[\s_-]+", "_", str(text).strip().lower())


def segment_of(name: str) -> str | None:
    """Return the segment, a name of LABELS, that a plain name means; None for others."""
    return name if name in LABELS else CLASSES.get(name)


def part_of(text: str) -> str | None:
    """Return the part that a name means in whatever order of its words; None for others."""
    name = plain(text)
    if segment_of(name) is not None:
        return name
    words = set(re.split(r"[^a-z0-9]+", name)) - {""}
    vertebra = bool(words & VERTEBRA)
    if vertebra and words - VERTEBRA - FILLERS == {"s1"}:
        return S1_APART
    words -= FILLERS | VERTEBRA
    if "facet" in words:
        words -= {"joint"}
    same = (part for part in LABELS if set(part.split("_")) == words)
    return next(same, None)


@dataclass(frozen=True)
class Named:
    """How one segment is named. texts: its name, and then others that it goes by."""

    texts: tuple[str, ...]
    coded: Coded

    def part(self, path: Path) -> str | None:
        """The part that it means; None where nothing is understood.

        Raises UnsuitableCtError where name and code contradict each other.
        """
        code = self.coded.part
        for text in self.texts:
            known = part_of(text)
            if known is None:
                continue
            if code and not _agree(str(segment_of(known)), code):
                raise UnsuitableCtError(
                    f"{path}: segment {text!r} is coded as {code.replace('_', ' ')}; name and code "
                    "contradict each other. Correct the one that is wrong."
                )
            return known
        return code if code not in ("", "hip") else None


def _agree(segment: str, coded: str) -> bool:
    """Compare what a name means with what the code means; a code may leave the side open."""
    if coded == "hip":
        return segment.startswith("hip")
    return segment == segment_of(coded)


def left_out(path: Path, segments: Sequence[Named]) -> tuple[str, ...]:
    """Say which segments were not understood; refuse (UnsuitableCtError) where one is needed.

    A sacrum without its S1 has its endplate elsewhere, and without hips nothing keeps a shaft off
    them: what speaks of these and is not understood must not be passed over.
    """
    unknown = [item for item in segments if item.part(path) is None]
    for item in unknown:
        words = {word for text in item.texts for word in re.split(r"[^a-z0-9]+", plain(text))}
        meant = (words & {"s1"} and words & VERTEBRA) or words & HIPS or item.coded.part == "hip"
        if meant and not words & OTHERS:
            raise UnsuitableCtError(
                f"{path}: segment {item.texts[0]!r} speaks of S1 or of a hip and is not "
                f"understood; name it as it is expected, or take it out. {NAMES}"
            )
    unknown = [item for item in unknown if plain(item.texts[0]) not in ("", "background")]
    if not unknown:
        return ()
    shown = ", ".join(repr(item.texts[0]) for item in unknown[:MOST_NAMED])
    more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
    return (
        f"segments of the label map were left out, because their names mean no part that is "
        f"planned with: {shown}{more}.",
    )


class Painter:
    """Gathers named parts into one label map.

    labels: (I, J, K) uint8, values of LABELS. Every part may come once, and every voxel may belong
    to one segment only: nothing is known of which of two overlapping bones is right, and the error
    would lie in the joint or the foramen whose distance is measured.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], like: NDArray[Any] | None = None
    ) -> None:
        """Begin with nothing painted; like: an array whose order in memory the masks will have."""
        # Masks of Fortran's order on labels of C's would be visited against the grain of memory.
        fortran = like is not None and like.flags.f_contiguous
        self._labels = np.zeros(shape, np.uint8, order="F" if fortran else "C")
        self._path = path
        self._parts: set[str] = set()

    def announce(self, part: str) -> None:
        """Note that a part comes; UnsuitableCtError where it came already."""
        if part in self._parts:
            raise UnsuitableCtError(
                f"{self._path} has two segments named {part}; names must be unique."
            )
        self._parts.add(part)

    def paint(self, part: str, mask: NDArray[Any], where: Any = ...) -> None:
        """Label a mask, or one plane of it, as the segment that a part means.

        where: index into the labels that gives an array of the mask's shape.
        """
        value = LABELS[segment_of(part) or part]
        plane = self._labels[where]
        clash = mask & (plane != 0) & (plane != value)
        if clash.any():
            other = next(n for n, v in LABELS.items() if v == int(plane[clash][0]))
            raise UnsuitableCtError(
                f"{self._path}: segment {part} overlaps {other} in {int(clash.sum())} voxels; "
                "every voxel may belong to one only. Cut the one out of the other."
            )
        plane[mask] = value

    @property
    def labels(self) -> NDArray[np.uint8]:
        """What was painted, (I, J, K) in C's order."""
        return np.ascontiguousarray(self._labels)

    @property
    def parts(self) -> frozenset[str]:
        """The parts that came."""
        return frozenset(self._parts)

    def remarks(self) -> tuple[str, ...]:
        """Warn where S1 may lack: TotalSegmentator's sacrum begins below S1."""
        if "vertebrae_l5" in self._parts and S1_APART not in self._parts:
            return (
                "the label map has vertebrae_L5 and no vertebrae_S1: its sacrum was taken to hold "
                "S1. Check the S1 endplate.",
            )
        return ()
