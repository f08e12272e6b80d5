"""What a user may set, with the default and source of every figure.

Files are TOML with the same names. Unknown keys are refused with the nearest known name, and values
outside their range with the range.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from planner.errors import ConfigurationError
from planner.geometry.fields import Spread
from planner.model.trajectory import OUTER_DIAMETERS_MM, Technique


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Section):
    """Hard limits: distance from the needle's surface, mm. Assumed: no source gives a rule."""

    foramina_mm: float = Field(2.0, ge=0, le=20)
    canal_mm: float = Field(2.0, ge=0, le=20)
    anterior_cortex_mm: float = Field(2.0, ge=0, le=20)
    sacroiliac_joint_mm: float = Field(2.0, ge=0, le=20)
    superior_cortex_mm: float = Field(2.0, ge=0, le=20)
    posterior_cortex_mm: float = Field(1.0, ge=0, le=20, description="once past the entry")
    tip_to_anterior_cortex_mm: float = Field(4.0, ge=0, le=30)
    entry_incidence_deg: float = Field(65.0, gt=0, lt=90, description="to the cortex normal")
    hip_outside_bone_mm: float = Field(2.0, ge=0, le=20, description="shaft outside the bone")
    skin_to_tip_mm: float = Field(200.0, gt=0, le=400)
    skin_in_view: bool = Field(False, description="refuse where the CT does not show the skin")


class Preferred(_Section):
    """Distances at which a clearance counts as fully good, mm. Assumed."""

    foramina_mm: float = Field(5.0, gt=0, le=30)
    canal_mm: float = Field(5.0, gt=0, le=30)
    anterior_cortex_mm: float = Field(4.0, gt=0, le=30)
    sacroiliac_joint_mm: float = Field(4.0, gt=0, le=30)
    superior_cortex_mm: float = Field(4.0, gt=0, le=30)
    posterior_cortex_mm: float = Field(4.0, gt=0, le=30, description="once past the entry")
    tip_to_anterior_cortex_mm: float = Field(5.0, gt=0, le=30)


class PlacementError(_Section):
    """Standard deviations of where a needle really goes.

    The needle pivots about its bone entry: sd(L)^2 = entry^2 + (L tan angle)^2 + segmentation^2.
    With checks on the way in, L counts from the last check, and what the check leaves of the offset
    takes the place of the entry error.
    """

    entry_mm: float = Field(1.5, ge=0, le=20)
    angle_deg: float = Field(2.0, ge=0, le=30)
    depth_mm: float = Field(1.5, ge=0, le=20)
    segmentation_mm: float = Field(0.7, ge=0, le=10, description="assumed")
    segmentation_shared: float = Field(
        0.5,
        ge=0,
        le=1,
        description="part of its variance that all borders have in common, as blur has; assumed",
    )
    recheck_mm: float | None = Field(
        None, ge=2, le=200, description="checked and corrected every so many mm in bone"
    )
    recheck_residual_mm: float = Field(
        1.5, ge=0, le=20, description="offset that a check leaves: that of ct_checked"
    )

    def spread(self) -> Spread:
        """Return the same as a spread along a path."""
        return Spread(
            self.entry_mm,
            float(np.tan(np.radians(self.angle_deg))),
            self.depth_mm,
            self.segmentation_mm,
            np.inf if self.recheck_mm is None else self.recheck_mm,
            self.recheck_residual_mm,
            self.segmentation_shared,
        )


# Support: ct_checked 2.5 +- 1.5 mm (3D-navigated vertebroplasty), 2.9 +- 1.7 (Takao 2019);
# freehand 6.3 +- 3.6 mm, 3.4 +- 3.1 deg (PMC4499536); robot 0.89-1.61 mm; fluoroscopy_2d assumed.
PLACEMENT_ERRORS: dict[str, PlacementError] = {
    "ct_checked": PlacementError(entry_mm=1.5, angle_deg=2.0, depth_mm=1.5),
    "freehand": PlacementError(entry_mm=3.0, angle_deg=4.0, depth_mm=2.5),
    "robot": PlacementError(entry_mm=0.8, angle_deg=1.0, depth_mm=1.0),
    "fluoroscopy_2d": PlacementError(entry_mm=2.0, angle_deg=3.0, depth_mm=2.0),
}

WEIGHTS: dict[str, float] = {
    "breach_probability": 4.0,
    "clearance_foramina": 2.0,
    "clearance_canal": 1.0,
    "clearance_anterior_cortex": 1.0,
    "clearance_sacroiliac_joint": 1.0,
    "clearance_superior_cortex": 1.0,
    "clearance_posterior_cortex": 1.0,
    "anterior_reach": 1.0,
    "entry_incidence": 0.5,
    "in_plane": 0.5,
    "bone_along_path": 0.25,
    "bone_length": 0.25,
    "skin_length": 0.25,
    "target_distance": 2.0,
    "target_coverage": 1.0,
}
"""How much each soft criterion counts, relative to the others. Assumed."""


class Pairs(_Section):
    """Two needles together, and the needles on the shelf. Assumed but for the needles' lengths."""

    top: int = Field(5, ge=0, le=50, description="pairs kept of each kind")
    shaft_clearance_mm: float = Field(2.0, ge=0, le=50, description="between two shafts")
    hub_diameter_mm: float = Field(25.0, ge=0, le=80, description="width of a handle")
    needle_lengths_mm: tuple[float, ...] = Field((100.0, 150.0), description="10 and 15 cm")
    reserve_mm: float = Field(5.0, ge=0, le=50, description="of a needle outside the skin")

    @field_validator("needle_lengths_mm")
    @classmethod
    def _lengths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(10.0 <= length <= 400.0 for length in value):
            raise ValueError("needle_lengths_mm must be lengths from 10 to 400 mm, one at least")
        return value

    def shortest_needle(self, skin_to_tip_mm: float) -> float | None:
        """Shortest needle, mm, that reaches so deep with its reserve outside; None for none."""
        needed = skin_to_tip_mm + self.reserve_mm
        return min((length for length in self.needle_lengths_mm if length >= needed), default=None)


class Configuration(_Section):
    """Everything that decides a plan beside the CT."""

    needle: str = "11G"
    sides: tuple[Literal["left", "right"], ...] = ("left", "right")
    techniques: tuple[Technique, ...] = tuple(Technique)
    top: int = Field(3, ge=1, le=20, description="kept per technique and side")
    placement_error_preset: str = "ct_checked"
    placement_error: PlacementError = PLACEMENT_ERRORS["ct_checked"]
    limits: Limits = Limits()
    preferred: Preferred = Preferred()
    pairs: Pairs = Pairs()
    weights: dict[str, float] = Field(default_factory=lambda: dict(WEIGHTS))
    confidence_floor: float = Field(
        0.8,
        ge=0,
        le=1,
        description="probability that S1 to S3 are right below which anatomy is not trusted",
    )

    @field_validator("needle")
    @classmethod
    def _known_gauge(cls, value: str) -> str:
        if value not in OUTER_DIAMETERS_MM:
            raise ValueError(f"needle must be one of {', '.join(OUTER_DIAMETERS_MM)}")
        return value

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if name not in WEIGHTS:
                raise ValueError(f"unknown weight {name!r}{_nearest(name, list(WEIGHTS))}")
            if not 0 <= weight <= 100:
                raise ValueError(f"weight {name} must be from 0 to 100, got {weight}")
        merged = {**WEIGHTS, **value}
        if not any(merged.values()):
            raise ValueError("at least one weight must be above 0")
        return merged

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Self:
        """Build from nested values; raises ConfigurationError listing every defect."""
        values = dict(values)
        preset = values.get("placement_error_preset", "ct_checked")
        if not isinstance(preset, str) or preset not in PLACEMENT_ERRORS:
            hint = _nearest(str(preset), list(PLACEMENT_ERRORS))
            raise ConfigurationError(
                f"placement_error_preset {preset!r} is not known{hint}; "
                f"allowed: {', '.join(PLACEMENT_ERRORS)}."
            )
        base = PLACEMENT_ERRORS[preset].model_dump()
        own = values.get("placement_error", {})
        if isinstance(own, dict):
            values["placement_error"] = {**base, **own}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from error

    @classmethod
    def from_toml(cls, path: Path, **overrides: Any) -> Self:
        """Read a TOML file; overrides (from the command line) win."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigurationError(
                f"configuration file {path} cannot be read: {error}."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"configuration file {path} is not TOML: {error}.") from error
        return cls.from_mapping({**values, **overrides})


def _nearest(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    model: Any = Configuration
    for key in path[:-1]:
        model = getattr(model.model_fields.get(key), "annotation", None)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return list(model.model_fields)


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            hint = _nearest(str(item["loc"][-1]), _known_keys(item["loc"]))
            lines.append(f"unknown key {name!r}{hint}")
        else:
            lines.append(f"{name}: {item['msg']}, got {item['input']!r}")
    return "The configuration is not usable: " + "; ".join(lines) + "."
