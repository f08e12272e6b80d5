"""What files of single paths are called, whatever characters the ids of a plan hold.

An id comes from a file that anybody may have written. Only its letters of ASCII, digits, `-` and
`_` reach the disk, so that a name is legal on every system, never leaves its folder and is no
device of Windows; the rank before it keeps apart what cleans to the same.
"""

from __future__ import annotations

import re

from planner.export.plan_document import TrajectoryObject

LONGEST = 60
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")


def file_stem(item: TrajectoryObject) -> str:
    """Name the file of a path, without suffix: rank and id, such as 01-short_axis-left-1."""
    clean = _OTHER.sub("_", item.id).strip("_")[:LONGEST]
    return f"{item.rank:02d}-{clean or 'path'}"


def title(item: TrajectoryObject) -> str:
    """Name a path where people read: rank and id; what cannot be printed (nor be XML) is `_`."""
    return f"{item.rank} {''.join(c if c.isprintable() else '_' for c in item.id)}"
