"""The bones in a CT, from the segmentation or the user's own labels, and whether to trust them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from planner import anatomy as anatomy_stage
from planner import segmentation
from planner.anatomy.judge import judge
from planner.anatomy.plausibility import IMPOSSIBLE
from planner.errors import UnsuitableCtError, UntrustedAnatomyError
from planner.model.anatomy import LABELS, Anatomy
from planner.model.configuration import Configuration
from planner.model.rejection import RejectedAnatomy
from planner.model.volume import Volume
from planner.reading.labels import LabelMap, fit_to_volume, read_labels, read_mask_folder
from planner.segmentation import Segmentation, TotalSegmentator
from planner.segmentation.complete import NEEDED

Progress = Callable[[str, float], None]

NAMED_WEAKEST = 3
MOST_NOTED = 4
PROVIDED_FLOOR = 0.2
"""Two doubts about one structure of the user's own labels leave 0.16."""


def find_bones(
    volume: Volume,
    anatomy_file: Path | None = None,
    progress: Progress | None = None,
    method: TotalSegmentator | None = None,
) -> Segmentation:
    """Find the bones in a CT, or take them from a label map of the user's.

    method: another program for the segmentation, completed by the built-in one; None for that.
    Raises UntrustedAnatomyError where a given sacrum is not where the CT shows one, and
    UnsuitableCtError where no sacrum is found or the label map does not fit the CT.
    """
    if anatomy_file is not None:
        if method is not None:
            raise ValueError("give a label map or a method of segmentation, not both")
        return _completed(fit_to_volume(read_labels(anatomy_file), volume), volume, progress)
    if method is None:
        return segmentation.segment(volume, progress)
    with method.run(volume, progress) as masks:
        labels = fit_to_volume(read_mask_folder(masks, source="totalsegmentator"), volume)
    return _completed(labels, volume, progress)


def _completed(labels: LabelMap, volume: Volume, progress: Progress | None) -> Segmentation:
    """Check that a label map lies on the CT's bone, and find in the CT what it lacks."""
    found = segmentation.complete_labels(labels.labels, labels.grid, volume, progress)
    return replace(found, source=labels.source, warnings=(*labels.warnings, *found.warnings))


def trusted_anatomy(found: Segmentation, volume: Volume, configuration: Configuration) -> Anatomy:
    """Derive the anatomy of a segmentation, and refuse one below the configuration's floor.

    Raises UntrustedAnatomyError; its `rejected` holds the labels, so that a person can see what was
    wrong with them.
    """
    anatomy: Anatomy | None = None
    try:
        anatomy = _derived(found)
        anatomy = judge(anatomy, volume, dict(found.evidence))
        check_confidence(anatomy, volume, configuration, judged=bool(found.evidence))
    except UntrustedAnatomyError as error:
        error.rejected = RejectedAnatomy(
            volume,
            found.labels,
            found.grid,
            dict(anatomy.confidences) if anatomy is not None else {},
            str(error),
            anatomy.confidence if anatomy is not None else 0.0,
        )
        raise
    return anatomy


def _derived(found: Segmentation) -> Anatomy:
    """Derive the anatomy of a segmentation.

    Where the built-in one found how the body lies, and its own labels contradict that, the labels
    are wrong and not the scan.
    """
    try:
        return anatomy_stage.derive_anatomy(
            found.labels,
            found.grid,
            source=found.source,
            confidences=found.confidences,
            warnings=found.warnings,
        )
    except UnsuitableCtError as error:
        if not found.evidence:
            raise
        raise UntrustedAnatomyError(
            f"what was taken for the sacrum cannot be one: {error} The scan itself may be sound."
        ) from error


def check_confidence(
    anatomy: Anatomy, volume: Volume, configuration: Configuration, judged: bool
) -> None:
    """Refuse an anatomy that cannot be trusted (UntrustedAnatomyError).

    judged: whether its confidence is a calibrated probability. Of labels that the user answers for
    only what is grossly wrong is refused, unless the configuration states a floor of its own.
    """
    floor = configuration.confidence_floor
    if not judged and floor == Configuration().confidence_floor:
        floor = PROVIDED_FLOOR
    fatal = [c for c in anatomy.checks if judged and not c.passed and c.factor <= IMPOSSIBLE]
    if anatomy.confidence >= floor and not fatal:
        return
    counted = {n: c for n, c in anatomy.confidences.items() if n in NEEDED}
    weakest = sorted(counted.items(), key=lambda item: (item[1], item[0]))[:NAMED_WEAKEST]
    detail = "; ".join(
        f"{name} {value:.2f}, look at {where_to_look(anatomy, volume, name)}"
        for name, value in weakest
    )
    failed = [c.message for c in (*fatal, *anatomy.checks) if not c.passed]
    noted = "; ".join(dict.fromkeys(failed[:MOST_NOTED])) or " ".join(anatomy.warnings[:1])
    raise UntrustedAnatomyError(
        f"the anatomy found in the CT has a confidence of {anatomy.confidence:.2f}, expected at "
        f"least {floor:.2f}"
        + (", and is impossible in part" if fatal else "")
        + (f". Weakest: {detail}" if detail else "")
        + (f". Noted: {noted}." if noted else "")
        + " Check the CT (`planner inspect`), or give a corrected label map with --anatomy."
    )


def where_to_look(anatomy: Anatomy, volume: Volume, name: str) -> str:
    """Say where a structure was sought: its point in patient LPS, mm, and the CT's slice there."""
    mine = np.argwhere(anatomy.labels == LABELS[name])
    if len(mine):
        point = anatomy.grid.to_patient(mine.mean(axis=0))
    else:
        level = [item.centre for item in anatomy.foramina if item.name[:10] == name[:10]]
        point = np.mean(level, axis=0) if level else anatomy.axis[len(anatomy.axis) // 2]
    number = int(np.clip(np.rint(volume.grid.to_ijk(point)[2]), 0, volume.grid.shape[2] - 1))
    where = ", ".join(f"{value:.0f}" for value in point)
    return f"({where}) mm LPS, slice {number + 1} of {volume.grid.shape[2]}"
