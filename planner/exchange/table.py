"""csv and json: the figures for spreadsheets and scripts."""

from __future__ import annotations

import csv as csv_module
from pathlib import Path

from planner.exchange.handover import Handover
from planner.export.cells import inert
from planner.export.flat import COLUMNS, flat_row
from planner.export.plan_json import write_document


def csv(handover: Handover, path: Path) -> None:
    """Write one row per path; points are patient LPS.

    Unknown is empty. The last column holds the disclaimer.
    """
    disclaimer = handover.document.disclaimer
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_module.DictWriter(file, [*COLUMNS, "disclaimer"])
        writer.writeheader()
        for item in handover.paths:
            row = flat_row(item) | {"disclaimer": disclaimer}
            writer.writerow({name: inert(cell) for name, cell in row.items()})


def json(handover: Handover, path: Path) -> None:
    """Write plan.json as it is, rejected paths included: it says that they are."""
    write_document(handover.document, path)
