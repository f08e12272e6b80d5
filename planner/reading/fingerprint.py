"""One hash over voxels and geometry: the same CT gives the same hash from any file or order."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Grid

# Nanometres: below what any header states, above the last bits of a float64 calculation.
DECIMALS_MM = 6


def fingerprint(values: NDArray[Any], grid: Grid) -> str:
    """Hash an array (I, J, K) and its grid with SHA-256.

    Fixed order: "planner-ct-1", the type, the shape, the affine in whole nanometres by rows, then
    the voxels plane by plane with i running fastest, little-endian.
    """
    digest = hashlib.sha256(b"planner-ct-1")
    digest.update(f"{values.dtype.name} {values.shape}".encode())
    affine = np.rint(grid.patient_from_ijk * 10.0**DECIMALS_MM).astype("<i8")
    digest.update(affine.tobytes())
    little = values.dtype.newbyteorder("<")
    for k in range(values.shape[2]):
        digest.update(np.ascontiguousarray(values[:, :, k].T, little).data)
    return digest.hexdigest()
