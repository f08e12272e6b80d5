"""Numbers as people read them, never rounded to a comfort that is not there."""

from __future__ import annotations

from math import isfinite
from typing import Any

from planner.errors import ConfigurationError
from planner.model.configuration import PLACEMENT_ERRORS, Configuration
from planner.model.trajectory import Structure

LEAST_SHOWN = 0.0005

Triple = tuple[float, float, float]


def point_of(text: str) -> Triple:
    """Read X,Y,Z in patient LPS mm; raises ConfigurationError for anything else."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(isfinite(value) for value in values):
        raise ConfigurationError(
            f"{text!r} is not a point; expected X,Y,Z in patient LPS mm, such as 31.5,-12,840.2"
        )
    return values[0], values[1], values[2]


def percent(probability: float) -> str:
    """Write a probability in percent with one decimal; what would read 0.0 is told as less."""
    if 0 < probability < LEAST_SHOWN:
        return "<0.1"
    return f"{100 * probability:.1f}"


MARKS = {"breaks": "✖", "low": "▼", "good": ""}
"""Marks beside the colour, for eyes that do not tell the colours apart."""


def standing(structure: Structure, distance_mm: float, configuration: Configuration) -> str:
    """Tell whether a clearance breaks its limit, is below what is preferred, or is good."""
    limit = float(getattr(configuration.limits, f"{structure.value}_mm"))
    wanted = float(getattr(configuration.preferred, f"{structure.value}_mm"))
    if distance_mm < limit:
        return "breaks"
    return "low" if distance_mm < wanted else "good"


def placement_name(config: dict[str, Any]) -> str:
    """Name the placement error of a plan's configuration; a preset that was changed is none."""
    name = str(config.get("placement_error_preset", ""))
    preset = PLACEMENT_ERRORS.get(name)
    error = config.get("placement_error", {})
    if preset is None or any(error.get(k) != v for k, v in preset.model_dump(mode="json").items()):
        return "own figures"
    return name.replace("_", " ")


def placement_words(config: dict[str, Any]) -> str:
    """Say which placement error a plan was made for, by name and in figures."""
    error = config.get("placement_error", {})
    figures = ", ".join(
        f"{words} {error[key]:g}{unit}"
        for key, words, unit in (
            ("entry_mm", "entry", " mm"),
            ("angle_deg", "angle", "°"),
            ("depth_mm", "depth", " mm"),
            ("segmentation_mm", "borders", " mm"),
        )
        if key in error
    )
    return f"{placement_name(config)} (standard deviations: {figures})"
