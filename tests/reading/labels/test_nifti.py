from pathlib import Path

import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels

from planner.model.anatomy import LABELS
from planner.reading.labels import read_labels
from reading.labels.files import as_nifti

GRIDS = awkward_grids()


@pytest.mark.parametrize("name", GRIDS)
def test_totalsegmentator_labels_in_place_on_every_grid(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    labels = toy_labels(grid, toy_frame())
    found = read_labels(as_nifti(labels, grid, tmp_path / "labels.nii.gz"))
    np.testing.assert_allclose(found.grid.patient_from_ijk, grid.patient_from_ijk, atol=1e-3)
    for segment in ("sacrum", "l5", "hip_left", "hip_right"):
        np.testing.assert_array_equal(
            found.labels == LABELS[segment], labels == LABELS[segment], err_msg=segment
        )
    assert found.source == "totalsegmentator"
    assert found.names == {"sacrum", "l5", "hip_left", "hip_right"}
