"""Which segment a name means: the project's own names and those of TotalSegmentator's classes.

A vertebra S1 that is labelled apart belongs to the sacrum. Segments of any other name are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.model.anatomy import LABELS

CLASSES = {"vertebrae_s1": "sacrum", "vertebrae_l5": "l5"}
"""TotalSegmentator's class names, in lower case, that are not names of LABELS."""
S1_APART = "vertebrae_s1"
NAMES = f"Names are {', '.join(LABELS)}, vertebrae_S1 and vertebrae_L5."


def plain(text: object) -> str:
    """Bring a name to lower case with underscores."""
    return re.sub(r"[\s_-]+", "_", str(text).strip().lower())


def segment_of(name: str) -> str | None:
    """Return the segment, a name of LABELS, that a plain name means; None for others."""
    return name if name in LABELS else CLASSES.get(name)


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
