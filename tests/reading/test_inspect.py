"""The report names every series with its geometry."""

from __future__ import annotations

import numpy as np
import pytest

from planner.reading import inspect_ct
from planner.reading.inspect import orientation_words

from .dicom_series import Series, write


def test_report_lists_geometry(tmp_path):
    good = Series(row=(-1, 0, 0), column=(0, -1, 0))
    write(tmp_path / "a", good)
    write(tmp_path / "b", Series(slices=22, step=3.6, description="THICK", kernel="B70"))
    first, second = inspect_ct(tmp_path)
    assert (first.uid, first.label) == (good.uid, good.uid)
    assert (first.modality, first.description, first.kernel) == ("CT", "PELVIS", "Br40")
    assert (first.slices, first.size) == (26, (24, 20, 26))
    assert first.spacing_mm == pytest.approx((0.9, 1.1, 2.5))
    assert first.extent_mm == pytest.approx(65.0)
    assert first.orientation == "right, anterior, head"
    assert first.frame_of_reference_uid == good.frame
    assert (first.usable, first.chosen, first.problems) == (True, True, ())
    assert "the only one of 2 that can be planned on" in first.why
    assert (second.usable, second.chosen) == (False, False)
    assert second.why.startswith("cannot be planned on: its voxels are")


def test_oblique_axes_are_called_oblique():
    tilted = np.array([[1, 0, 0], [0, 0.966, -0.259], [0, 0.259, 0.966]])
    assert orientation_words(tilted) == "left, posterior (oblique), head (oblique)"
    assert orientation_words(np.diag([-1.0, 1.0, -1.0])) == "right, posterior, feet"
