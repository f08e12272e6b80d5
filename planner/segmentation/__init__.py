"""CT to label map: by a built-in method without trained weights, or by the user's own program."""

from planner.segmentation.complete import complete_labels
from planner.segmentation.segment import Segmentation, segment
from planner.segmentation.totalsegmentator import TotalSegmentator

__all__ = ["Segmentation", "TotalSegmentator", "complete_labels", "segment"]
