"""Real CTs, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from planner.reading import read_ct

REAL = Path(__file__).parents[2].parent / "shared" / "real_ct"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real CTs are not beside the code")


@needs_real
def test_pelvic_reference_agrees_with_simpleitk():
    folder = REAL / "Pelvic-Ref-002"
    volume = read_ct(folder)
    assert volume.values.shape == (512, 512, 163)
    np.testing.assert_allclose(volume.grid.spacing_mm, (1, 1, 3), atol=1e-6)
    assert any("1.5 mm" in w for w in volume.warnings)
    files = {}
    for path in folder.glob("CT*.dcm"):
        ds = pydicom.dcmread(path, specific_tags=["ImagePositionPatient"], stop_before_pixels=True)
        files[float(ds.ImagePositionPatient[2])] = str(path)
    oracle = sitk.ReadImage([files[z] for z in sorted(files)])
    stored = sitk.GetArrayViewFromImage(oracle).T
    np.testing.assert_array_equal(volume.values, np.clip(stored, -1024, None))
    for ijk in ((0, 0, 0), (511, 0, 80), (100, 400, 162)):
        there = oracle.TransformIndexToPhysicalPoint(ijk)
        np.testing.assert_allclose(volume.grid.to_patient(ijk), there, atol=1e-3)


@needs_real
def test_totalsegmentator_example_reads():
    volume = read_ct(REAL / "totalseg-example-ct.nii.gz")
    assert volume.values.shape == (122, 101, 112)
    np.testing.assert_allclose(volume.grid.direction, np.diag([-1, -1, 1]), atol=1e-6)
    np.testing.assert_allclose(volume.grid.spacing_mm, 3.0, atol=1e-5)
    oracle = sitk.ReadImage(str(REAL / "totalseg-example-ct.nii.gz"))
    np.testing.assert_allclose(volume.grid.origin, oracle.GetOrigin(), atol=1e-3)
