"""A revised plan.json: what a reviewer changed, with what stood there before; the old one is kept.

Paths keep the planner's order and ids; added ones follow. Figures of a path that was changed are
measured anew, pairs are found anew among the paths that were not rejected.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.errors import OutputError
from planner.export import segmentation_nrrd
from planner.export.atomic import write_file
from planner.export.plan_document import PlanDocument
from planner.export.plan_json import FILE_NAME, document_text, tell_problems

REVISIONS = "revisions"


@dataclass(frozen=True)
class Saved:
    """A revision that was saved: its number, and the sha256 of its plan.json."""

    number: int
    sha256: str


def plan_hash(folder: Path) -> str:
    """Sha256 of the plan.json in a folder."""
    return hashlib.sha256((folder / FILE_NAME).read_bytes()).hexdigest()


def revised(
    document: PlanDocument,
    trajectories: Sequence[dict[str, Any]],
    pairs: Sequence[dict[str, Any]],
    review: dict[str, Any],
    warnings: Sequence[str],
) -> PlanDocument:
    """Build the document of a revision; raises OutputError where it breaks the format."""
    values = document.model_dump(mode="json", exclude_none=True)
    values |= {"trajectories": list(trajectories), "pairs": list(pairs), "review": review}
    values["warnings"] = list(warnings)
    try:
        return PlanDocument.model_validate(values)
    except ValidationError as error:
        raise OutputError(
            f"the revision was not saved, because it breaks the format: {tell_problems(error)}."
        ) from error


def save_revision(folder: Path, document: PlanDocument, base: str) -> Saved:
    """Keep the plan.json of a folder under its number and put a revision in its place.

    base: sha256 of the plan.json that the revision rests on. Raises OutputError where another one
    lies there by now; nothing is changed then.
    """
    number = 1 if document.review is None else document.review.revision
    keep(folder, check_base(folder, base), number - 1)
    text = document_text(document).encode("utf-8")
    write_file(folder / FILE_NAME, lambda path: _put(path, text))
    return Saved(number, hashlib.sha256(text).hexdigest())


def check_base(folder: Path, base: str) -> bytes:
    """Read the plan.json of a folder; raises OutputError where it is not the one of a sha256."""
    target = folder / FILE_NAME
    try:
        before = target.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{target} cannot be read any more: {error.strerror}. Nothing was saved; your changes "
            "are kept in the journal beside it."
        ) from error
    if hashlib.sha256(before).hexdigest() != base:
        raise OutputError(
            f"{target} has been changed since it was opened, by another program or another page. "
            "Nothing was saved; your changes are kept in the journal beside it. Open the review "
            "again to see what lies there now."
        )
    return before


def keep(folder: Path, data: bytes, number: int, name: str = FILE_NAME) -> Path:
    """Keep the bytes of a file under its revision's number and its own hash; returns where."""
    place = folder / REVISIONS / f"{number:04d}-{hashlib.sha256(data).hexdigest()[:8]}-{name}"
    if not place.exists():
        write_file(place, lambda path: _put(path, data))
    return place


def keep_anatomy(folder: Path, number: int) -> None:
    """Keep the label map of a folder under a revision's number, before another takes its place."""
    data = (folder / segmentation_nrrd.FILE_NAME).read_bytes()
    keep(folder, data, number, segmentation_nrrd.FILE_NAME)


def keep_reviewed(folder: Path) -> None:
    """Keep the plan.json of a folder where it holds a review, before a new plan replaces it."""
    try:
        data = (folder / FILE_NAME).read_bytes()
        review = json.loads(data).get("review")
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # no plan, or none that this program wrote
    if isinstance(review, dict):
        number = review.get("revision")
        keep(folder, data, number if isinstance(number, int) else 0)


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
