"""overview.png: the whole plan on one page, for a clinician to read at once."""

from planner.export.overview.page import FILE_NAME, write_overview

__all__ = ["FILE_NAME", "write_overview"]
