from __future__ import annotations

import nrrd
import numpy as np
import pytest

from planner.errors import UntrustedAnatomyError
from planner.model.anatomy import CHANNELS, LABELS
from planner.model.volume import Volume
from planner.segmentation import Segmentation, complete_labels
from segmentation.conftest import SAMPLE

NERVES = [LABELS[name] for name in CHANNELS]


def truth() -> np.ndarray:
    return nrrd.read(str(SAMPLE / "truth.nrrd"))[0].astype(np.uint8)


@pytest.mark.parametrize("filled", [False, True])
def test_a_sacrum_alone_is_completed(
    filled: bool, sample_volume: Volume, sample_segmentation: Segmentation
) -> None:
    labels = truth()
    sacrum = labels == LABELS["sacrum"]
    if filled:
        sacrum |= np.isin(labels, NERVES)
    done = complete_labels(
        sacrum.astype(np.uint8), sample_volume.grid, sample_volume, found=sample_segmentation
    )
    assert done.source == "provided"
    assert done.confidences["sacrum"] == 1.0
    assert "foramen_s1_left" in done.warnings[0]
    for name in ("sacral_canal", "foramen_s1_left", "foramen_s3_right", "hip_left"):
        assert (done.labels == LABELS[name]).any(), name
    if not filled:  # the user's bone is kept as it was drawn
        assert np.array_equal(done.labels == LABELS["sacrum"], sacrum)
    else:
        holes = np.isin(labels, NERVES) & np.isin(done.labels, NERVES)
        assert holes.sum() > 0.5 * np.isin(labels, NERVES).sum()


def test_a_mask_that_does_not_fit_the_ct_is_refused(
    sample_volume: Volume, sample_segmentation: Segmentation
) -> None:
    flipped = (truth() == LABELS["sacrum"])[:, ::-1, :].astype(np.uint8)
    with pytest.raises(UntrustedAnatomyError, match="does not lie on bone"):
        complete_labels(flipped, sample_volume.grid, sample_volume, found=sample_segmentation)
    part = (truth() == LABELS["sacrum"]).astype(np.uint8)
    part[:, :, np.flatnonzero(part.any(axis=(0, 1)))[0] + 40 :] = 0  # on bone, but not the sacrum
    with pytest.raises(UntrustedAnatomyError, match="not where the CT shows one"):
        complete_labels(part, sample_volume.grid, sample_volume, found=sample_segmentation)


def test_a_full_label_map_stays_as_it_is(sample_volume: Volume) -> None:
    labels = truth()
    done = complete_labels(labels, sample_volume.grid, sample_volume)
    assert done.labels is labels
    assert done.grid is sample_volume.grid
    assert (done.source, done.confidences, done.warnings) == ("provided", {}, ())
