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


TABLE = """<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>
<VolumeInformation Index="0"> <LabelTable>{labels}</LabelTable> </VolumeInformation>
</CaretExtension>
              """


def with_table(image: nibabel.Nifti1Image, names: dict[int, str], code: int = 0) -> None:
    """Add a label table to a NIfTI as TotalSegmentator does: Caret's XML, under code 0."""
    labels = "".join(
        f'<Label Key="{value}" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA[{name}]]></Label>\n'
        for value, name in names.items()
    )
    content = TABLE.format(labels=labels).encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, content))


def save_mask(mask: np.ndarray, grid: Grid, path: Path, dtype: type = np.uint8) -> Path:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.patient_from_ijk
    nibabel.save(nibabel.Nifti1Image(mask.astype(dtype), affine), path)
    return path


def mask_folder(folder: Path, labels: np.ndarray, grid: Grid) -> Path:
    """Write TotalSegmentator's files of a toy anatomy: S1 apart, canal and foramina in no file."""
    folder.mkdir(exist_ok=True)
    bone = labels == LABELS["sacrum"]
    upper = np.zeros_like(bone)
    high = toy_frame().to_sacrum(grid.to_patient(np.argwhere(bone)))[:, 2] > -28
    upper[tuple(np.argwhere(bone)[high].T)] = True
    masks = {"sacrum": bone & ~upper, "vertebrae_S1": upper}
    names = {"vertebrae_L5": "l5", "hip_left": "hip_left", "hip_right": "hip_right"}
    masks |= {name: labels == LABELS[ours] for name, ours in names.items()}
    for name, mask in masks.items():
        save_mask(mask, grid, folder / f"{name}.nii.gz")
    return folder
