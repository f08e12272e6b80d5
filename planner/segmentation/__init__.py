"""CT to label map by a built-in method: no trained weights."""

from planner.segmentation.complete import complete_labels
from planner.segmentation.segment import Segmentation, segment

__all__ = ["Segmentation", "complete_labels", "segment"]
