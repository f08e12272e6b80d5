"""A CT volume in Hounsfield units and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Grid


@dataclass(frozen=True)
class CtSource:
    """What a plan must say about its CT. Never a name or an identifier of the patient.

    kind: dicom, nifti, nrrd or mha.
    sha256: hash over the voxels and the geometry that were planned on.
    choice: why this series was chosen, in words.
    """

    kind: str
    sha256: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    series_description: str = ""
    convolution_kernel: str = ""
    patient_position: str = ""
    slice_thickness_mm: float = 0.0
    choice: str = ""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a grid.

    values: (I, J, K), Hounsfield units, int16 or float32, read-only; `values[i, j, k]` lies at
        `grid.to_patient((i, j, k))`.
    """

    values: NDArray[Any]
    grid: Grid
    source: CtSource
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise ValueError(f"voxels {self.values.shape} do not fit the grid {self.grid.shape}")
        if self.values.dtype not in (np.int16, np.float32):
            raise TypeError(f"voxels must be int16 or float32, got {self.values.dtype}")
        self.values.setflags(write=False)
