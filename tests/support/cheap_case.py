"""Cases that are planned in seconds: the toy pelvis as a volume with its labels beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from planner.export.segmentation_nrrd import write_segmentation
from planner.geometry.sampling import to_sitk
from tests.support import toy

SPACING_MM = (1.6, 1.6, 2.0)
BONE_HU, SOFT_HU, AIR_HU = 300, 40, -1000


def write_cheap_case(folder: Path, yaw_deg: float = 0.0, seed: int = 0) -> tuple[Path, Path]:
    """Write ct.nrrd and anatomy.seg.nrrd into a folder; another seed is another CT."""
    labels, grid, _ = toy.toy_labels("straight", SPACING_MM, yaw_deg=yaw_deg)
    bone = (labels == 1) | (labels > 10)
    values = np.where(bone, BONE_HU, SOFT_HU).astype(np.int16)
    values += np.random.default_rng(seed).integers(-5, 6, values.shape, dtype=np.int16)
    values[:, -3:, :] = AIR_HU
    folder.mkdir(parents=True, exist_ok=True)
    ct, anatomy = folder / "ct.nrrd", folder / "anatomy.seg.nrrd"
    sitk.WriteImage(to_sitk(values, grid), str(ct))
    write_segmentation(labels, grid, anatomy)
    return ct, anatomy
