"""Parametric sacrum and pelvis as implicit signed-distance functions (sacral frame, mm)."""

from .lumbar import l5_distance
from .parameters import SacrumParameters
from .pelvis import PelvisParameters, femur_distance, hip_distance
from .regions import REGIONS, surface_regions
from .sacrum import (
    ForamenLandmark,
    canal_centreline,
    canal_distance,
    foramen_distance,
    foramen_landmarks,
    sacral_axis,
    sacrum_distance,
    sacrum_hull_distance,
)

__all__ = [
    "REGIONS",
    "ForamenLandmark",
    "PelvisParameters",
    "SacrumParameters",
    "canal_centreline",
    "canal_distance",
    "femur_distance",
    "foramen_distance",
    "foramen_landmarks",
    "hip_distance",
    "l5_distance",
    "sacral_axis",
    "sacrum_distance",
    "sacrum_hull_distance",
    "surface_regions",
]
