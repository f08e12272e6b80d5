"""Label map files of a toy anatomy, for the tests of every reader."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from export.toy import toy_frame, toy_labels

from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels import LabelMap

NIFTI_VALUES = {"l5": 27, "hip_left": 77, "hip_right": 78}
SACRUM_WITH_S1 = (25, 26)


def header_for(grid: Grid, names: dict[str, int], space: str = "left-posterior-superior") -> dict:
    header = {
        "space": space,
        "space directions": grid.patient_from_ijk[:3, :3].T,
        "space origin": grid.origin,
        "kinds": ["domain"] * 3,
    }
    for number, (name, value) in enumerate(names.items()):
        header |= {
            f"Segment{number}_ID": f"Segment_{number + 1}",
            f"Segment{number}_Name": name,
            f"Segment{number}_LabelValue": str(value),
            f"Segment{number}_Layer": "0",
        }
    return header


def as_nifti(labels: np.ndarray, grid: Grid, path: Path) -> Path:
    values = np.zeros(labels.shape, np.int16)
    bone = labels == LABELS["sacrum"]
    values[bone] = SACRUM_WITH_S1[0]
    upper = toy_frame().to_sacrum(grid.to_patient(np.argwhere(bone)))[:, 2] > -28
    values[tuple(np.argwhere(bone)[upper].T)] = SACRUM_WITH_S1[1]
    for name, value in NIFTI_VALUES.items():
        values[labels == LABELS[name]] = value
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.patient_from_ijk
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def label_map(grid: Grid, **changes: object) -> LabelMap:
    labels = toy_labels(grid, toy_frame())
    names = frozenset(name for name, value in LABELS.items() if (labels == value).any())
    return LabelMap(labels, grid, names, "provided")
