"""Make sample_data/: one synthetic case, and check that it is what this code makes.

    python scripts/make_sample_data.py            writes sample_data/ anew
    python scripts/make_sample_data.py --check    compares it with what is there, writes nothing

The case is asymmetric, so that left and right cannot be mixed up unnoticed: only the left ala is
broken, the left half is wider, its foramina lie further out and lower, and the patient lies turned.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from planner.phantom import AlarFracture, PhantomParameters, make_phantom
from planner.phantom.files import fill_folder, whole_folder
from planner.reading import read_ct
from planner.shape.parameters import SacrumParameters

# Measured between processors: 10 of 9 million voxels by 1 HU on one, 104 on another (AMD EPYC).
FEW = 10_000

SAMPLE = PhantomParameters(
    sacrum=SacrumParameters(
        left_width_scale=1.05,
        right_width_scale=0.97,
        left_foramen_shift_mm=(1.5, 0.0, 3.0),
        right_foramen_shift_mm=(-0.5, 0.0, -0.5),
    ),
    sacral_slope_deg=41.0,
    yaw_deg=6.0,
    roll_deg=-2.0,
    position_mm=(7.5, -14.0, -612.0),
    osteoporosis=0.85,
    left_fracture=AlarFracture(lateral_mm=37.0, gap_mm=1.0, sclerosis_hu=180.0),
    back_fat_mm=26.0,
    half_width_mm=176.0,
    noise_hu=10.0,
    spacing_mm=1.05,
    slice_spacing_mm=1.5,
    slice_thickness_mm=1.5,
    field_width_mm=336.0,
    field_depth_mm=252.0,
    margin_above_mm=32.0,
    margin_below_mm=34.0,
    seed=20260101,
)

PICTURES = frozenset({"overview.png", "report.png", "review.png"})
"""Made from the case by other scripts, and so neither written nor compared here."""

README = """# Sample case

A synthetic CT of a pelvis with its truth. It shows no patient and was derived from none: bones and
tissue are formulas, the figures in them are population means from the literature.

| file | what |
|---|---|
| `dicom/*.dcm` | CT series, JPEG 2000 lossless; file names carry no order |
| `truth.nrrd` | label map on the CT's grid, exact at voxel centres; names in the header |
| `truth.json` | foramina, endplate, axes, fracture line (patient LPS, mm) and all parameters |

The bone is osteoporotic and the left ala is broken. Left and right differ on purpose: the left half
of the sacrum is wider, its foramina lie 3 to 4 mm further out and lower, and the patient lies
turned by 6 degrees.

Made by `python scripts/make_sample_data.py`; with `--check` the script compares the files with what
it would make: byte by byte, and where they differ, by what they hold. Floating-point results can
differ in the last digit between processors and library versions, and then single voxels by 1 HU,
with other UIDs and names of files, as these are made of the voxels.

Licence: Apache-2.0, like the rest of this repository.
"""


def main() -> int:
    """Write or check the sample; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--output", type=Path, default=root / "sample_data")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.check:
        with tempfile.TemporaryDirectory() as name:
            return _check(arguments.output, make(Path(name) / "sample_data"))
    folder = make(arguments.output)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"wrote {folder}: {len(list(folder.rglob('*.dcm')))} slices, {size / 1e6:.1f} MB")
    return 0


def make(folder: Path) -> Path:
    """Write the sample case, README included, in place of the folder."""
    phantom = make_phantom(SAMPLE)
    kept = {name: (folder / name).read_bytes() for name in PICTURES if (folder / name).is_file()}
    with whole_folder(folder, overwrite=True) as building:
        fill_folder(phantom, building, "jpeg2000")
        for name, data in kept.items():
            (building / name).write_bytes(data)
        (building / "README.md").write_text(README, encoding="utf-8")
    return folder


def _check(folder: Path, fresh: Path) -> int:
    names = {path.relative_to(top) for top in (folder, fresh) for path in top.rglob("*.*")}
    names -= {Path(name) for name in PICTURES}
    wrong = [
        name
        for name in sorted(names)
        if (fresh / name).is_file()
        and not ((folder / name).is_file() and filecmp.cmp(folder / name, fresh / name, False))
    ]
    wrong += [name for name in sorted(names) if not (fresh / name).exists()]
    print(f"{len(wrong)} of {len(names)} files differ")
    if not wrong:
        return 0
    faults = compare(folder, fresh)
    for fault in faults:
        print(f"differs: {fault}")
    print("they hold the same, but for last digits" if not faults else "they hold something else")
    return 1 if faults else 0


def compare(folder: Path, fresh: Path) -> list[str]:
    """Say in what the cases of two folders differ by more than last digits of floating point."""
    faults = [
        f"{name}: other text"
        for name in ("README.md",)
        if (folder / name).read_bytes() != (fresh / name).read_bytes()
    ]
    count = [len(list((top / "dicom").iterdir())) for top in (folder, fresh)]
    if count[0] != count[1]:
        return [*faults, f"dicom: {count[0]} and {count[1]} files"]
    one, other = (read_ct(top / "dicom") for top in (folder, fresh))
    if not np.array_equal(one.grid.patient_from_ijk, other.grid.patient_from_ijk):
        faults.append("dicom: another grid")
    faults += differences("dicom", one.values, other.values)
    labels = [nrrd.read(str(top / "truth.nrrd"))[0] for top in (folder, fresh)]
    faults += differences("truth.nrrd", *labels)
    texts = [json.loads((top / "truth.json").read_text("utf-8")) for top in (folder, fresh)]
    for text in texts:
        text["frame"].pop("frame_of_reference_uid")
    if not alike(*texts):
        faults.append("truth.json: other values")
    return faults


def differences(name: str, one: NDArray[Any], other: NDArray[Any]) -> list[str]:
    """Say where voxels differ by more than 1, or more than one in FEW of them at all."""
    if one.shape != other.shape:
        return [f"{name}: {one.shape} and {other.shape} voxels"]
    gap = np.abs(one.astype(np.int64) - other.astype(np.int64))
    if gap.max() > 1 or (gap > 0).sum() * FEW > gap.size:
        return [f"{name}: {(gap > 0).sum()} of {gap.size} voxels, by {gap.max()} at most"]
    return []


def alike(one: Any, other: Any) -> bool:
    """Tell whether nested values are the same, numbers to a thousandth."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-3
    return bool(one == other)


if __name__ == "__main__":
    sys.exit(main())
