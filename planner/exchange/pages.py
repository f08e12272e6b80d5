"""report: what a person reads."""

from __future__ import annotations

from pathlib import Path

from planner.exchange.handover import Handover
from planner.export.report import write_report


def report(handover: Handover, path: Path, pdf: Path | None = None) -> None:
    """Write the report of the saved revision; pdf: where to print it as well.

    It holds all paths, and tells rejected ones apart. It names nobody.
    """
    write_report(
        handover.plan,
        handover.opened.ground,
        path,
        document=handover.document,
        grey_values=handover.volume is not None,
        pdf=pdf,
    )
