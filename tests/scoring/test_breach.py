"""Breach probabilities against brute force, and their limits."""

from __future__ import annotations

import numpy as np
import pytest

from planner.anatomy.fields import GUARDED, clearance_fields
from planner.geometry.fields import Field, Spread, perpendicular_axes
from planner.model.trajectory import Trajectory
from planner.scoring.breach import breach_probabilities
from tests.scoring import toy

SPREAD = Spread(1.5, float(np.tan(np.radians(2.0))), 1.5, 0.7)
FREEHAND = Spread(3.0, float(np.tan(np.radians(4.0))), 2.5, 0.7)


def brute_force(needle: Trajectory, spread: Spread, draws: int = 60_000) -> dict[str, float]:
    """Draw everything, segmentation included, and count needles that touch."""
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    rng = np.random.default_rng(11)
    axes = perpendicular_axes(needle.tip - needle.bone_entry)
    offset = rng.normal(0, spread.entry_mm, (draws, 2))
    slope = rng.normal(0, spread.tan_angle, (draws, 2))
    length = np.maximum(needle.intraosseous_length_mm + rng.normal(0, spread.depth_mm, draws), 0)
    boundary = rng.normal(0, spread.boundary_mm, (draws, len(GUARDED)))
    least = np.full((draws, len(GUARDED)), np.inf)
    for part in np.linspace(0, 1, 41):
        depth = part * length
        across = offset + slope * depth[:, None]
        points = needle.bone_entry + depth[:, None] * axes[0] + across @ axes[1:]
        for n in range(len(GUARDED)):
            field = Field(fields.grid, np.ascontiguousarray(fields.stack[..., n]))
            least[:, n] = np.minimum(least[:, n], field.at(points))
    touched = least - needle.needle.radius_mm + boundary < 0
    out = {"any": float(touched.any(axis=1).mean())}
    out.update({s.value: float(touched[:, n].mean()) for n, s in enumerate(GUARDED)})
    return out


@pytest.mark.parametrize(
    ("entry", "tip", "spread"),
    [
        ((28, 14, -28), (29, -12, -28), SPREAD),
        ((29, 14, -60), (29, -6, -22), SPREAD),
        ((45, 14, -50), (40, -9, -10), FREEHAND),
    ],
)
def test_agrees_with_brute_force(
    entry: tuple[float, float, float], tip: tuple[float, float, float], spread: Spread
) -> None:
    subject, _ = toy.standard()
    needle = toy.needle(subject, entry, tip)
    fast = breach_probabilities(needle, clearance_fields(subject), spread)
    slow = brute_force(needle, spread)
    assert 0.001 < slow["any"] < 0.9
    for name, value in slow.items():
        assert fast[name] == pytest.approx(value, abs=0.005), name


def test_one_plane_has_a_closed_form() -> None:
    """Tip towards the flat anterior cortex: depth and boundary only, at normal incidence."""
    from scipy.stats import norm

    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    needle = toy.needle(subject, (38, 14, -33), (38, -14, -33))
    spread = Spread(0.0, 0.0, 1.5, 0.7)
    gap = float(fields.anterior.at(needle.tip)) - needle.needle.radius_mm
    exact = norm.cdf(-gap / np.hypot(1.5, 0.7))
    found = breach_probabilities(needle, fields, spread)
    assert found["anterior_cortex"] == pytest.approx(exact, abs=0.01)


def test_repeatable_and_growing_with_error() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    needle = toy.needle(subject, (30, 14, -30), (33, -10, -28))
    first = breach_probabilities(needle, fields, SPREAD)
    assert first == breach_probabilities(needle, fields, SPREAD)
    worse = breach_probabilities(needle, fields, FREEHAND)
    assert worse["any"] > first["any"]
    assert first["any"] >= max(v for k, v in first.items() if k != "any") - 1e-12
