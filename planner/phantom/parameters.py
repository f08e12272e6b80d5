"""Everything that decides a phantom: anatomy, pose, tissue, fractures, scanner.

Lengths in mm, angles in degrees, HU as on a calibrated scanner. The same parameters give the same
phantom. Figures marked assumed have no published source.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from planner.model.anatomy import Side
from planner.shape.parameters import SacrumParameters, Sex
from planner.shape.pelvis import PelvisParameters

PatientPosition = Literal["supine", "prone"]
Vector = tuple[float, float, float]

# Sacral slope 39 +- 8 (24 to 55) degrees, n=709.
MEAN_SLOPE_DEG = 39.0
SLOPE_SD_DEG = 8.0
# Voxels above this count are refused: a slip in a spacing would otherwise fill the memory.
MAX_VOXELS = 200_000_000

_LIMITS: dict[str, tuple[float, float]] = {
    "sacral_slope_deg": (10.0, 70.0),
    "yaw_deg": (-30.0, 30.0),
    "roll_deg": (-30.0, 30.0),
    "pitch_deg": (-30.0, 30.0),
    "back_fat_mm": (4.0, 90.0),
    "half_width_mm": (120.0, 290.0),
    "half_depth_mm": (80.0, 230.0),
    "osteoporosis": (0.0, 1.0),
    "noise_hu": (0.0, 80.0),
    "spacing_mm": (0.3, 5.0),
    "slice_spacing_mm": (0.3, 6.0),
    "slice_thickness_mm": (0.3, 10.0),
    "psf_mm": (0.0, 2.0),
    "gantry_tilt_deg": (-30.0, 30.0),
    "field_width_mm": (60.0, 700.0),
    "field_depth_mm": (60.0, 600.0),
    "margin_above_mm": (-60.0, 200.0),
    "margin_below_mm": (-60.0, 200.0),
    "margin_behind_mm": (-30.0, 200.0),
}
_ALAR_LIMITS: dict[str, tuple[float, float]] = {
    "lateral_mm": (20.0, 55.0),
    "slant_deg": (-20.0, 20.0),
    "gap_mm": (0.0, 3.0),
    "band_mm": (0.0, 8.0),
    "sclerosis_hu": (0.0, 500.0),
    "length_mm": (10.0, 100.0),
}
_BAR_LIMITS: dict[str, tuple[float, float]] = {
    "depth_mm": (10.0, 80.0),
    "gap_mm": (0.0, 3.0),
    "band_mm": (0.0, 8.0),
    "sclerosis_hu": (0.0, 500.0),
    "half_width_mm": (5.0, 40.0),
}


@dataclass(frozen=True)
class AlarFracture:
    """A vertical insufficiency fracture of one ala, Denis zone I, undisplaced.

    lateral_mm: distance of the line from the midplane, 20 mm below the endplate (between the
    foramina and the joint: assumed). slant_deg: how far it runs out laterally on the way down.
    gap_mm: width of the open line. band_mm: sigma of the sclerotic band along it; sclerosis_hu: its
    height. length_mm: how far below the endplate's plane it ends (S1 to S3: assumed).
    """

    lateral_mm: float = 36.0
    slant_deg: float = -3.0
    gap_mm: float = 0.8
    band_mm: float = 3.0
    sclerosis_hu: float = 160.0
    length_mm: float = 60.0


@dataclass(frozen=True)
class TransverseBar:
    """The crossbar of an H-shaped fracture.

    depth_mm: below the S1 endplate along its normal. half_width_mm: how far it reaches to each
    side. The rest as in AlarFracture; all assumed.
    """

    depth_mm: float = 42.0
    gap_mm: float = 0.6
    band_mm: float = 2.5
    sclerosis_hu: float = 140.0
    half_width_mm: float = 24.0


@dataclass(frozen=True)
class PhantomParameters:
    """One phantom and the scan of it; the defaults are a mean elderly sacrum, scanned supine."""

    sacrum: SacrumParameters = field(default_factory=SacrumParameters)
    pelvis: PelvisParameters = field(default_factory=PelvisParameters)

    # Pose: the sacral frame is turned by the slope, then the patient by pitch (about LPS x), roll
    # (about y) and yaw (about z), each right-handed, and the S1 endplate's centre put at position.
    sacral_slope_deg: float = MEAN_SLOPE_DEG
    yaw_deg: float = 0.0
    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    position_mm: Vector = (4.0, -11.0, -153.0)  # arbitrary, but not the origin
    patient_position: PatientPosition = "supine"

    # Body habitus. Skin to the rearmost bone in the midline region; assumed.
    back_fat_mm: float = 24.0
    half_width_mm: float = 180.0
    half_depth_mm: float = 115.0

    osteoporosis: float = 0.5  # 0 healthy .. 1: ala with voids of negative HU, thin cortex
    left_fracture: AlarFracture | None = None
    right_fracture: AlarFracture | None = None
    transverse_bar: TransverseBar | None = None

    # Scanner.
    noise_hu: float = 12.0  # standard deviation in the middle of the body
    spacing_mm: float = 0.9
    slice_spacing_mm: float = 1.25
    slice_thickness_mm: float = 1.25
    psf_mm: float = 0.55  # sigma of the in-plane point spread (soft-tissue kernel: 0.5 to 0.7)
    gantry_tilt_deg: float = 0.0  # positive: the rows lean towards the head at the back
    field_width_mm: float = 380.0
    field_depth_mm: float = 270.0
    margin_behind_mm: float = 22.0  # air behind the skin of the back
    margin_above_mm: float = 30.0  # above the S1 endplate's centre
    margin_below_mm: float = 15.0  # below the sacrum's lower end
    seed: int = 1

    def fracture(self, side: Side) -> AlarFracture | None:
        """Return the fracture of one ala."""
        return self.left_fracture if side == "left" else self.right_fracture

    def validate(self) -> None:
        """Raise ValueError listing every defect."""
        defects = _range_defects("", self, _LIMITS)
        for name in ("left_fracture", "right_fracture"):
            if getattr(self, name) is not None:
                defects += _range_defects(f"{name}.", getattr(self, name), _ALAR_LIMITS)
        if self.transverse_bar is not None:
            defects += _range_defects("transverse_bar.", self.transverse_bar, _BAR_LIMITS)
        if len(self.position_mm) != 3 or not all(
            math.isfinite(x) and abs(x) <= 2000.0 for x in self.position_mm
        ):
            defects.append(f"position_mm is {self.position_mm}, allowed three of -2000 to 2000")
        if self.patient_position not in ("supine", "prone"):
            defects.append(f"patient_position is {self.patient_position!r}, allowed supine, prone")
        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
            defects.append(f"seed is {self.seed!r}, allowed whole numbers from 0 to 4294967295")
        for part in (self.sacrum, self.pelvis):
            try:
                part.validate()
            except ValueError as error:
                defects.append(str(error))
        if defects:
            raise ValueError("implausible phantom: " + "; ".join(defects))

    @property
    def digest(self) -> str:
        """SHA-256 over every parameter, the root of all identifiers."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, as they go into JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def sample(cls, rng: np.random.Generator, sex: Sex = "F", **fixed: Any) -> Self:
        """Draw anatomy, pose, habitus and fractures; keyword arguments win over what is drawn."""
        fractured = rng.random(2) < 0.6  # assumed; 26 of 31 patients were treated on both sides
        sides = [_sample_fracture(rng) if has else None for has in fractured]
        values: dict[str, Any] = {
            "sacrum": SacrumParameters.sample(rng, sex),
            "sacral_slope_deg": float(np.clip(rng.normal(MEAN_SLOPE_DEG, SLOPE_SD_DEG), 24, 55)),
            "yaw_deg": float(np.clip(rng.normal(0, 4), -10, 10)),  # pose SDs: assumed
            "roll_deg": float(np.clip(rng.normal(0, 3), -8, 8)),
            "pitch_deg": float(np.clip(rng.normal(0, 4), -10, 10)),
            "back_fat_mm": float(rng.uniform(12, 45)),
            "half_width_mm": float(rng.uniform(165, 205)),
            "osteoporosis": float(rng.uniform(0.3, 1.0)),
            "left_fracture": sides[0],
            "right_fracture": sides[1],
            "seed": int(rng.integers(2**32)),
        }
        return cls(**(values | fixed))


def _sample_fracture(rng: np.random.Generator) -> AlarFracture:
    return AlarFracture(
        lateral_mm=float(rng.uniform(33, 40)),
        slant_deg=float(rng.normal(-3, 2)),
        gap_mm=float(rng.uniform(0.2, 1.2)),
        band_mm=float(rng.uniform(2, 4)),
        sclerosis_hu=float(rng.uniform(80, 220)),
        length_mm=float(rng.uniform(40, 70)),
    )


def _range_defects(prefix: str, item: object, limits: dict[str, tuple[float, float]]) -> list[str]:
    defects = []
    for name, (low, high) in limits.items():
        value = getattr(item, name)
        if not (math.isfinite(value) and low <= value <= high):
            defects.append(f"{prefix}{name} is {value:g}, allowed {low:g} to {high:g}")
    return defects
