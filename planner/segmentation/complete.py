"""A sacrum of the user's, completed by what the CT shows: canal, foramina, hips and L5.

The user's bone wins wherever it is drawn; the built-in segmentation says where the channels run. A
mask that is filled (canal and foramina inside it, as many labels are) has them carved out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from planner.errors import UntrustedAnatomyError
from planner.geometry.grid import Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import CHANNELS, LABELS, SIDES
from planner.model.volume import Volume
from planner.segmentation.agreement import check_border
from planner.segmentation.segment import Segmentation, segment

AGREEMENT_FLOOR = 0.7
"""Dice of two outlines of one sacrum, canal and foramina included: good labels that differ in how
they treat L5 and the coccyx measured 0.8; a mask of another place or turned has less than 0.5."""
FILLED_SHARE = 0.5
"""A mask that holds this share of canal and foramina is a filled one."""
NEEDED = frozenset(
    {"sacrum", "sacral_canal"}
    | {f"foramen_s{level}_{side}" for level in (1, 2, 3) for side in SIDES}
)
"""Without these a plan cannot be measured; a fourth pair of foramina may be absent or closed."""


def complete_labels(
    labels: NDArray[np.uint8],
    grid: Grid,
    volume: Volume,
    progress: Callable[[str, float], None] | None = None,
    found: Segmentation | None = None,
) -> Segmentation:
    """Add to a label map what it lacks, from the CT; one that holds all of NEEDED stays as it is.

    labels: (I, J, K) values of LABELS on grid; `sacrum` at least. found: the built-in segmentation
    of the same CT, where it is at hand. Returns labels on the built-in segmentation's grid.
    Raises UntrustedAnatomyError where the given sacrum is not where the CT shows one.
    """
    doubts = check_border(labels, grid, volume)
    if {name for name, value in LABELS.items() if (labels == value).any()} >= NEEDED:
        return Segmentation(labels, grid, {}, doubts, source="provided")
    found = found or segment(volume, progress)
    given = {
        name: resample((labels == value).astype(np.float32), grid, found.grid, 0.0) > 0.5
        for name, value in LABELS.items()
        if (labels == value).any()
    }
    channels = np.isin(found.labels, [LABELS[name] for name in CHANNELS])
    own = found.labels == LABELS["sacrum"]
    bone = given["sacrum"]
    check_agreement(bone | channels, own | channels)
    if float(bone[channels].mean()) > FILLED_SHARE:
        bone = bone & ~channels
    out = found.labels.copy()
    out[own | (channels & bone)] = 0
    for name, mask in given.items():
        if name != "sacrum":
            out[found.labels == LABELS[name]] = 0
            out[mask] = LABELS[name]
    out[bone] = LABELS["sacrum"]
    taken = [n for n in LABELS if n not in given and (out == LABELS[n]).any()]
    note = f"The label map did not hold {', '.join(taken)}: these were found in the CT."
    return Segmentation(
        out,
        found.grid,
        {**found.confidences, **dict.fromkeys(given, 1.0)},
        (*doubts, note, *found.warnings) if taken else (*doubts, *found.warnings),
        source="provided",
        evidence=found.evidence,
    )


def check_agreement(given: NDArray[np.bool_], own: NDArray[np.bool_]) -> None:
    """Refuse a mask that does not lie on the CT's sacrum."""
    dice = 2.0 * float((given & own).sum()) / max(float(given.sum() + own.sum()), 1.0)
    if dice < AGREEMENT_FLOOR:
        raise UntrustedAnatomyError(
            f"The given sacrum is not where the CT shows one: the two overlap with a Dice of "
            f"{dice:.2f}, at least {AGREEMENT_FLOOR:.2f} was expected. Check that the label map "
            "belongs to this CT and was not turned when it was converted."
        )
