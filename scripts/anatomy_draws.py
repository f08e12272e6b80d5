"""Random acquisitions of the real bones: what `evaluate_anatomy.py` draws, and how it makes them.

A draw is one person, one set of the simulator's options, and one turn for the header alone. All
follow from a seed, so that a case that fails can be made again. The ranges are wider than what is
usual in a clinic: where nothing ever fails, they are too narrow.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from planner.geometry.grid import Float, Grid
from planner.model.volume import Volume

ROOT = Path(__file__).resolve().parents[1]
BONES = ROOT.parent / "shared" / "real_bones"
SUBJECTS = ("z001", "z009", "z019", "z023", "z027", "z035", "z042", "z046", "z050", "z055")


_FLAGS = (("--prone", 0.35), ("--bar", 0.2), ("--vacuum", 0.2), ("--metal", 0.1))


@dataclass(frozen=True)
class Draw:
    """One acquisition.

    options: of the CT simulator. turn_deg: (3,) extrinsic turns about the patient's x, y and z by
    which the header alone is turned for the second segmentation.
    """

    name: str
    subject: str
    options: tuple[str, ...]
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)


def turned(volume: Volume, turn_deg: tuple[float, float, float]) -> Volume:
    """The same voxels under a header turned about the patient's origin."""
    affine = np.eye(4)
    affine[:3, :3] = turn_matrix(turn_deg)
    grid = volume.grid
    whole = Grid(grid.shape, affine @ grid.patient_from_ijk, grid.frame_of_reference_uid)
    return replace(volume, grid=whole)


def turn_matrix(turn_deg: tuple[float, float, float]) -> Float:
    """(3, 3) extrinsic turns about x, y and z."""
    return np.asarray(Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix())


def draw(seed: int, harsh: bool = False) -> Draw:
    """Draw one acquisition; the seed also chooses the person, in turn.

    harsh: from the worst end of every range, and beyond what is planned on: something should fail.
    """
    rng = np.random.default_rng((20260, seed, int(harsh)) if harsh else (20260, seed))

    def now_and_then(share: float, value: float) -> float:
        return value if rng.random() < share else 0.0

    slice_mm = float(rng.choice((0.75, 1.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)))
    figures = {
        "spacing": rng.uniform(0.6, 1.0),
        "slice": slice_mm,
        "thickness": slice_mm * rng.choice((1.0, 1.0, 1.5)),
        "psf": rng.uniform(0.4, 0.9),
        "noise": rng.uniform(4.0, 32.0),
        "streak": now_and_then(0.3, rng.uniform(5.0, 25.0)),
        "osteoporosis": rng.uniform(0.1, 1.0),
        "tilt": now_and_then(0.25, rng.uniform(-20.0, 20.0)),
        "yaw": rng.normal(0.0, 14.0),
        "pitch": rng.normal(0.0, 12.0),
        "roll": rng.normal(0.0, 7.0),
        "contrast": now_and_then(0.3, rng.uniform(60.0, 250.0)),
        "ankylosis": now_and_then(0.2, rng.uniform(0.1, 0.5)),
        "back-fat": rng.uniform(8.0, 55.0),
        "above": rng.uniform(5.0, 60.0),
        "below": rng.uniform(-18.0, 40.0),
        "seed": seed,
    }
    if harsh:
        figures |= {
            "noise": rng.uniform(20.0, 40.0),
            "streak": rng.uniform(0.0, 35.0),
            "osteoporosis": rng.uniform(0.85, 1.0),
            "yaw": rng.normal(0.0, 25.0),
            "ankylosis": now_and_then(0.4, rng.uniform(0.2, 0.7)),
        }
    options = [f"--{name}={value:.6g}" for name, value in figures.items()]
    broken = str(rng.choice(("left,right",) if harsh else ("", "", "left", "right", "left,right")))
    if broken:
        kind = rng.choice(("dense", "mixed", "lucent", "open"))
        options += [f"--fracture={broken}", f"--fracture-kind={kind}"]
    options += [flag for flag, share in _FLAGS if rng.random() < share]
    turn = rng.uniform((-45.0, -30.0, -60.0), (45.0, 30.0, 60.0))
    return Draw(
        f"{'harsh' if harsh else 'draw'}-{seed:03d}",
        SUBJECTS[seed % len(SUBJECTS)],
        tuple(options),
        (float(turn[0]), float(turn[1]), float(turn[2])),
    )


def simulate(case: Draw, cache: Path) -> Path:
    """Return the folder of a simulated case, made where it is not there yet."""
    folder = cache / case.name
    if not (folder / "truth.npz").exists():
        made = [sys.executable, str(BONES / "simulate_ct.py"), f"{BONES}/meshes/{case.subject}.npz"]
        subprocess.run([*made, str(folder), *case.options], check=True, stdout=subprocess.DEVNULL)
    return folder
