"""Parameters of the parametric sacrum: population means, their spread, and plausibility limits.

Lengths in mm, angles in degrees, frame: sacral (x left, y dorsal, z along the S1 endplate normal).
Tuples over levels run S1, S2, ... caudally. "Sections" below names the source "mean of section
measurements on seven of the ten sacra of Fischer, Sci Data 10:763, 2023".
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

import numpy as np

Sex: TypeAlias = Literal["F", "M"]
Vector: TypeAlias = tuple[float, float, float]

MEAN_WIDTH_MM: Final = 117.0  # sections: widest extent of the averaged bone
MEAN_LENGTH_MM: Final = 111.0  # sections: length of the sacral axis, endplate to the end of S5
MEAN_CORONAL_DEG: Final = 22.6  # Kaiser 2014
MEAN_AXIAL_DEG: Final = 11.0  # Kaiser 2014
FORAMEN_LEVELS: Final = ("S1", "S2", "S3", "S4", "S5")

# Spread in relation to the mean, by sex: Bangladesh J Anat 15(2), n=60. That series measured
# smaller bones (107.6 / 93.6 mm long, 101.5 / 106.2 mm wide, M / F) by other landmarks than ours,
# so only the sex ratio and the coefficient of variation are taken from it.
_LENGTH_RATIO: Final = {"M": (1.07, 0.083), "F": (0.93, 0.074)}
_WIDTH_RATIO: Final = {"M": (0.977, 0.067), "F": (1.023, 0.048)}

_LIMITS: Final[dict[str, tuple[float, float]]] = {
    # Plausible ranges, mean plus or minus about 3.5 SD (assumed where no SD is published).
    "width_mm": (85.0, 150.0),
    "length_mm": (75.0, 150.0),
    "ap_scale": (0.7, 1.4),
    "body_width_mm": (32.0, 66.0),
    "body_ap_mm": (20.0, 46.0),
    "pitch_deg": (-30.0, 30.0),
    "curvature_scale": (0.0, 2.5),
    "tail_mm": (-8.0, 30.0),
    "ala_coronal_deg": (-12.0, 60.0),
    "ala_axial_deg": (-25.0, 45.0),
    "mammillary_height_mm": (0.0, 12.0),
    "articular_process_height_mm": (0.0, 12.0),
    "crest_height_mm": (-8.0, 10.0),
    "residual_disc_mm": (0.0, 8.0),
    "hiatus_level": (2.5, 4.9),
    "left_width_scale": (0.8, 1.2),
    "right_width_scale": (0.8, 1.2),
}
_TUPLE_LIMITS: Final[dict[str, tuple[int, float, float]]] = {
    "segment_heights_mm": (5, 8.0, 45.0),
    "ventral_spacing_mm": (5, 16.0, 62.0),
    "dorsal_spacing_mm": (5, 16.0, 62.0),
    "ventral_width_mm": (5, 2.0, 24.0),
    "ventral_height_mm": (5, 2.0, 24.0),
    "dorsal_width_mm": (5, 2.0, 18.0),
    "dorsal_height_mm": (5, 2.0, 18.0),
    "canal_width_mm": (5, 4.0, 46.0),
    "canal_ap_mm": (5, 2.0, 24.0),
    "left_foramen_shift_mm": (3, -10.0, 10.0),
    "right_foramen_shift_mm": (3, -10.0, 10.0),
}


@dataclass(frozen=True)
class SacrumParameters:
    """One sacrum. The defaults are the population mean."""

    width_mm: float = MEAN_WIDTH_MM  # sections
    ap_scale: float = 1.0  # dorso-ventral scale of all sections, relative to the mean
    # Along the axis: endplate to S1 foramina, S1-S2, S2-S3, S3-S4, S4 to the end of S5 (sections;
    # SD 1.5, 2.2, 3.3, 2.0, 0.5. Korean post-mortem CT: S1 28.0, S2 29.7 mm).
    segment_heights_mm: tuple[float, ...] = (31.6, 26.5, 19.5, 18.0, 16.0)
    tail_mm: float = 6.0  # bone beyond the end of S5, coccyx included when fused (sections, SD 11)
    body_width_mm: float = 47.0  # S1 body, dry bones n=32 (47.0 +- 5.0)
    body_ap_mm: float = 32.0  # S1 endplate, sections (dry bones n=32: 28.3 +- 3.5 without the lips)
    pitch_deg: float = 0.0  # turn of everything below S1 against the endplate (sections, SD 7)
    curvature_scale: float = 1.0  # of the axis' turning (sections, SD 0.35)
    ala_coronal_deg: float = MEAN_CORONAL_DEG  # Kaiser 2014, 22.6 +- 11.1
    ala_axial_deg: float = MEAN_AXIAL_DEG  # Kaiser 2014, 11 +- 10.5
    mammillary_height_mm: float = 0.0  # dysmorphic bump on the ala (Kaiser 2014); height assumed
    articular_process_height_mm: float = 4.0  # added to the averaged S1 process (sections)
    crest_height_mm: float = 2.0  # added to the crest, which averaging flattens (sections)
    residual_disc_mm: float = 0.0  # thickness of a residual S1/S2 disc; 0 is a fused joint

    foramen_pairs: int = 4  # 4 or 5; S5 of the tuples below counts only with 5
    # Centre to centre, sections. The Korean series' 36.7, 29.8, 26.5, 26.6 (ventral) and 29.2,
    # 27.2, 24.5, 24.4 (dorsal) are distances between the foramina's medial edges.
    ventral_spacing_mm: tuple[float, ...] = (41.5, 42.0, 41.0, 38.0, 30.0)
    dorsal_spacing_mm: tuple[float, ...] = (44.0, 41.0, 37.0, 36.0, 29.0)
    # Narrowest part at the opening, without its flare; sections, S5 assumed. With the flare S1 and
    # S2 reach the 13.0 x 12.2 and 12.9 x 13.1 of Saluja n=108 and Ebraheim 1998.
    ventral_width_mm: tuple[float, ...] = (12.0, 11.0, 12.0, 8.0, 7.0)
    ventral_height_mm: tuple[float, ...] = (11.0, 11.0, 9.0, 7.0, 6.0)
    # Sections, S5 assumed. Published: S1 10.4 x 7.7 (n=632), S2 7.05 x 7.3 (n=27).
    dorsal_width_mm: tuple[float, ...] = (6.5, 7.0, 5.5, 5.0, 5.0)
    dorsal_height_mm: tuple[float, ...] = (10.0, 8.0, 6.0, 5.5, 5.0)
    # Halfway down S1..S5 (axis levels 0.4, 1.4, ...); sections.
    canal_width_mm: tuple[float, ...] = (34.0, 27.5, 20.5, 17.5, 12.0)
    canal_ap_mm: tuple[float, ...] = (12.0, 9.5, 6.0, 4.5, 4.5)
    hiatus_level: float = 4.2  # axis level of the apex; S4 in 80 % of dry bones

    left_width_scale: float = 1.0  # of the left half's lateral extent
    right_width_scale: float = 1.0
    left_foramen_shift_mm: Vector = (0.0, 0.0, 0.0)  # lateral, dorsal, caudal
    right_foramen_shift_mm: Vector = (0.0, 0.0, 0.0)

    @property
    def length_mm(self) -> float:
        """Length of the sacral axis from the S1 endplate to the end of S5."""
        return float(sum(self.segment_heights_mm))

    @property
    def dysmorphism_score(self) -> float:
        """Coronal angle plus twice the axial angle; above 70 is dysmorphic (Kaiser 2014)."""
        return self.ala_coronal_deg + 2.0 * self.ala_axial_deg

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the foramen levels present."""
        return FORAMEN_LEVELS[: self.foramen_pairs]

    def mirrored(self) -> Self:
        """Return the same sacrum with left and right exchanged."""
        return dataclasses.replace(
            self,
            left_width_scale=self.right_width_scale,
            right_width_scale=self.left_width_scale,
            left_foramen_shift_mm=self.right_foramen_shift_mm,
            right_foramen_shift_mm=self.left_foramen_shift_mm,
        )

    def validate(self) -> None:
        """Raise ValueError listing every defect."""
        defects = []
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                defects.append(f"{name} is {value:g}, allowed {low:g} to {high:g}")
        for name, (count, low, high) in _TUPLE_LIMITS.items():
            values = getattr(self, name)
            if len(values) != count:
                defects.append(f"{name} has {len(values)} values, needs {count}")
            elif not all(math.isfinite(v) and low <= v <= high for v in values):
                defects.append(f"{name} is {values}, allowed {low:g} to {high:g} each")
        if self.foramen_pairs not in (4, 5):
            defects.append(f"foramen_pairs is {self.foramen_pairs}, allowed 4 or 5")
        if defects:
            raise ValueError("implausible sacrum: " + "; ".join(defects))

    @classmethod
    def sample(cls, rng: np.random.Generator, sex: Sex = "F") -> Self:
        """Draw one sacrum from the published spread, clipped to plausible values."""
        if sex not in ("F", "M"):
            raise ValueError(f"sex is {sex!r}, allowed 'F' or 'M'")
        mean = cls()
        values: dict[str, object] = _sample_size(rng, sex, mean) | _sample_channels(rng, mean)
        dysmorphic = rng.random() < 0.2  # assumed share with clear dysmorphism (41 % by any sign)
        coronal, axial = (32.0, 20.0) if dysmorphic else (MEAN_CORONAL_DEG, MEAN_AXIAL_DEG)
        values |= {
            "ala_coronal_deg": _draw(rng, coronal, 8.0, "ala_coronal_deg"),
            "ala_axial_deg": _draw(rng, axial, 7.0, "ala_axial_deg"),
            "mammillary_height_mm": float(rng.uniform(2.0, 6.0)) if dysmorphic else 0.0,
            "residual_disc_mm": float(rng.uniform(1.5, 5.0)) if dysmorphic else 0.0,
            "foramen_pairs": 5 if rng.random() < 0.15 else 4,  # assumed
            "hiatus_level": _draw(rng, 4.2, 0.25, "hiatus_level"),
        }
        for side in ("left", "right"):  # asymmetry: assumed SDs, about 3 mm at the joint
            values[f"{side}_width_scale"] = _draw(rng, 1.0, 0.03, f"{side}_width_scale")
            shift = np.clip(rng.normal(0.0, 1.0, 3), -3.0, 3.0)
            values[f"{side}_foramen_shift_mm"] = tuple(float(x) for x in shift)
        return dataclasses.replace(mean, **values)  # type: ignore[arg-type]


def _draw(rng: np.random.Generator, mean: float, sd: float, name: str) -> float:
    """Draw a clipped normal value (2.5 SD, and the plausibility limits of the named field)."""
    low, high = _LIMITS[name]
    low, high = max(low, mean - 2.5 * sd), min(high, mean + 2.5 * sd)
    return float(np.clip(rng.normal(mean, sd), low, high))


def _sample_size(rng: np.random.Generator, sex: Sex, mean: SacrumParameters) -> dict[str, object]:
    """Draw the overall dimensions, by sex."""
    length, length_cv = _LENGTH_RATIO[sex]
    width, width_cv = _WIDTH_RATIO[sex]
    scale = length * float(np.clip(rng.normal(1.0, length_cv), 0.8, 1.2))
    own = np.clip(rng.normal(1, 0.05, 5), 0.9, 1.1)
    heights = np.asarray(mean.segment_heights_mm) * scale * own
    return {
        "width_mm": _draw(rng, MEAN_WIDTH_MM * width, MEAN_WIDTH_MM * width_cv, "width_mm"),
        "segment_heights_mm": tuple(float(h) for h in heights),
        "ap_scale": _draw(rng, 1.03 if sex == "M" else 0.97, 0.07, "ap_scale"),  # assumed
        "tail_mm": float(np.clip(rng.normal(mean.tail_mm, 4.0), -2.0, 16.0)),
        "body_width_mm": _draw(rng, mean.body_width_mm, 4.0, "body_width_mm"),
        "body_ap_mm": _draw(rng, mean.body_ap_mm, 2.5, "body_ap_mm"),
        "pitch_deg": _draw(rng, 0.0, 7.0, "pitch_deg"),
        "curvature_scale": _draw(rng, 1.0, 0.3, "curvature_scale"),
        "articular_process_height_mm": _draw(rng, 4.0, 1.2, "articular_process_height_mm"),
        "crest_height_mm": _draw(rng, 2.0, 1.5, "crest_height_mm"),
    }


def _sample_channels(rng: np.random.Generator, mean: SacrumParameters) -> dict[str, object]:
    """Draw canal and foramina: one factor shared by all levels and a smaller one for each."""
    spread = {  # shared SD; spacing 3.5 mm of about 40 (Korean series, assumed there)
        "ventral_spacing_mm": 0.06,
        "dorsal_spacing_mm": 0.06,
        "ventral_width_mm": 0.12,
        "ventral_height_mm": 0.12,
        "dorsal_width_mm": 0.12,
        "dorsal_height_mm": 0.12,
        "canal_width_mm": 0.08,
        "canal_ap_mm": 0.12,
    }
    shared_spacing = float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12))
    values: dict[str, object] = {}
    for name, sd in spread.items():
        spacing = name.endswith("spacing_mm")
        common = shared_spacing if spacing else float(np.clip(rng.normal(1, sd), 0.72, 1.3))
        own = np.clip(rng.normal(1.0, sd / 3.0, 5), 0.9, 1.1)
        values[name] = tuple(float(x) for x in np.asarray(getattr(mean, name)) * common * own)
    return values
