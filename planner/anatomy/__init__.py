"""Anatomy of the sacrum: from a label map to landmarks, frame, curves and a surface in regions."""

from planner.anatomy.derive import derive_anatomy
from planner.anatomy.orientation import check_orientation

__all__ = ["check_orientation", "derive_anatomy"]
