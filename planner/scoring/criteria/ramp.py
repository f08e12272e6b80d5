"""Utilities that rise or fall in a straight line between a bad and a good value."""

from __future__ import annotations


def ramp(value: float, bad: float, good: float) -> float:
    """0 at bad and beyond, 1 at good and beyond, straight between; a step where they are equal."""
    if good == bad:
        return 1.0 if value >= good else 0.0
    return min(1.0, max(0.0, (value - bad) / (good - bad)))
