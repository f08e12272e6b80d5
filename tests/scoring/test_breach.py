"""Breach probabilities against brute force, and their limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from planner.anatomy.fields import COUNTED, GUARDED, ClearanceFields, clearance_fields
from planner.geometry.fields import Field, Spread
from planner.geometry.grid import Float
from planner.geometry.segments import perpendicular_axes
from planner.model.configuration import Limits
from planner.model.trajectory import Trajectory
from planner.scoring.breach import (
    FIRST_DIMENSIONS,
    LATER_DIMENSIONS,
    breach_probabilities,
    least_fields,
    stretches,
    weighted_draws,
)
from planner.scoring.slip import safe_entry_radius
from tests.scoring import toy

SPREAD = Spread(1.5, float(np.tan(np.radians(2.0))), 1.5, 0.7)
FREEHAND = Spread(3.0, float(np.tan(np.radians(4.0))), 2.5, 0.7)
SHARED = replace(SPREAD, boundary_mm=1.5, shared=0.8)
CHECKED = replace(FREEHAND, recheck_mm=15.0, residual_mm=1.5, shared=0.5)


def brute_force(needle: Trajectory, spread: Spread, draws: int = 60_000) -> dict[str, float]:
    """Draw everything, segmentation included, and count needles that touch."""
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    rng = np.random.default_rng(11)
    axes = perpendicular_axes(needle.tip - needle.bone_entry)
    length = needle.intraosseous_length_mm
    own = rng.normal(0, 1, (draws, len(COUNTED)))
    common = rng.normal(0, 1, (draws, 1))
    boundary = np.sqrt(spread.shared) * common + np.sqrt(1 - spread.shared) * own
    least = np.full((draws, len(COUNTED)), np.inf)
    edges = [*np.arange(0.0, length, min(spread.recheck_mm, 1e3)), length]
    for number, (start, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        offset = rng.normal(0, spread.residual_mm if number else spread.entry_mm, (draws, 2))
        slope = rng.normal(0, spread.tan_angle, (draws, 2))
        way = np.full(draws, stop - start)
        if stop == length:
            way = np.maximum(way + rng.normal(0, spread.depth_mm, draws), 0)
        for part in np.linspace(0, 1, 41):
            depth = part * way
            across = offset + slope * depth[:, None]
            along = (start + depth)[:, None] * axes[0]
            points = needle.bone_entry + along + across @ axes[1:]
            for n in range(len(GUARDED)):
                field = Field(fields.grid, np.ascontiguousarray(fields.stack[..., n]))
                least[:, n] = np.minimum(least[:, n], field.at(points))
        if not np.isfinite(spread.recheck_mm):
            moved = needle.bone_entry + offset @ axes[1:]
            ways = axes[0] + slope @ axes[1:]
            least[:, -1] = posterior_by_hand(fields, moved, ways, way, needle.needle.radius_mm)
    touched = least - needle.needle.radius_mm + spread.boundary_mm * boundary < 0
    out = {"any": float(touched.any(axis=1).mean())}
    out.update({s.value: float(touched[:, n].mean()) for n, s in enumerate(COUNTED)})
    return out


def posterior_by_hand(
    fields: ClearanceFields, starts: Float, ways: Float, lengths: Float, radius: float
) -> Float:
    """How near needles come to the posterior cortex again, station by station."""
    top, least = np.full(len(starts), -np.inf), np.full(len(starts), np.inf)
    inside, back = np.zeros(len(starts), bool), np.zeros(len(starts), bool)
    depths = np.linspace(-8.0 * np.ones(len(starts)), lengths, 120)
    for number, depth in enumerate(depths, start=1):
        points = starts + depth[:, None] * ways
        solid, wall = fields.solid.at(points), fields.posterior.at(points)
        inside |= solid < 0
        top = np.where(inside, np.maximum(top, wall), top)
        back |= inside & (((top >= radius) & (wall <= top - 0.5)) | (solid > 0.25))
        counts = back | (inside & (number == len(depths)))
        least = np.where(counts, np.minimum(least, wall), least)
    return np.where(inside, least, -1e3)


@pytest.mark.parametrize(
    ("entry", "tip", "spread"),
    [
        ((28, 14, -28), (29, -12, -28), SPREAD),
        ((29, 14, -60), (29, -6, -22), SPREAD),
        ((45, 14, -50), (40, -9, -10), FREEHAND),
        ((45, 14, -55), (40, 9, -12), FREEHAND),
        ((29, 14, -60), (29, -6, -22), SHARED),
        ((45, 14, -50), (40, -9, -10), CHECKED),
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
    if np.isfinite(spread.recheck_mm):  # the posterior cortex is done by hand without checks only
        slow = {name: slow[name] for name in fast if name not in ("any", "posterior_cortex")}
    for name, value in slow.items():
        assert fast[name] == pytest.approx(value, abs=0.005), name


@pytest.mark.slow
def test_rare_breaches_are_as_likely_as_a_million_draws_say() -> None:
    """Within a fifth, or 0.02 points, down to one in two thousand; and never low on the whole."""
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    rng, ratios = np.random.default_rng(3), []
    while len(ratios) < 25:
        entry = (rng.uniform(26, 46), 14, rng.uniform(-60, -15))
        tip = (rng.uniform(24, 46), rng.uniform(-12, 8), rng.uniform(-50, -8))
        needle = toy.needle(subject, entry, tip)
        spread = (SPREAD, FREEHAND, CHECKED)[rng.integers(3)]
        told = breach_probabilities(needle, fields, spread)["any"]
        if not 2e-4 < told < 0.05:
            continue
        drawn = plain_draws(needle, fields, spread)
        assert abs(told - drawn) < max(0.2 * drawn, 2e-4), (entry, tip, told, drawn)
        ratios.append(told / drawn)
    assert 0.97 < np.median(ratios) < 1.03


def plain_draws(needle: Trajectory, fields: ClearanceFields, spread: Spread) -> float:
    """Probability of any breach by draws as they come, without weights."""
    rng, parts = np.random.default_rng(5), []
    count = len(stretches(needle.intraosseous_length_mm, spread))
    dimensions = FIRST_DIMENSIONS + LATER_DIMENSIONS * (count - 1)
    own = np.sqrt(1.0 - spread.shared) * spread.boundary_mm
    for _ in range(10):
        draws = rng.normal(size=(100_000, dimensions))
        common = np.sqrt(spread.shared) * spread.boundary_mm * draws[:, 5:6]
        room = least_fields(needle, fields, spread, draws) - needle.needle.radius_mm + common
        parts.append(1.0 - np.prod(1.0 - ndtr(-room / own), axis=1))
    return float(np.mean(parts))


def test_weights_make_the_draws_standard_normal() -> None:
    for aims in (np.empty((0, 6)), np.array([[3.0, 0, 0, 0, 0, 1], [0, -2.0, 1, 0, 0, 0]])):
        draws, weights = weighted_draws(aims, 14)
        assert weights.mean() == pytest.approx(1.0, abs=0.01)
        assert weights @ draws / len(draws) == pytest.approx(np.zeros(6), abs=0.03)
        assert weights @ draws**2 / len(draws) == pytest.approx(np.ones(6), abs=0.06)
        rare = weights @ (draws[:, 0] > 3.5) / len(draws)
        assert rare == pytest.approx(float(ndtr(-3.5)), rel=0.15)


def test_a_needle_that_runs_under_the_back_is_at_risk_of_it() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    under = toy.needle(subject, (45, 14, -55), (40, 11, -12))
    chance = breach_probabilities(under, fields, FREEHAND)
    assert chance["posterior_cortex"] > 0.2 and chance["any"] >= chance["posterior_cortex"]
    deep = toy.needle(subject, (38, 14, -33), (38, -8, -33))
    assert breach_probabilities(deep, fields, FREEHAND)["posterior_cortex"] < 0.001


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


def test_checks_on_the_way_in_lower_the_risk_of_long_paths() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    needle = toy.needle(subject, (45, 14, -50), (40, -9, -10))
    never = breach_probabilities(needle, fields, FREEHAND)["any"]
    often = breach_probabilities(needle, fields, CHECKED)["any"]
    assert often < never - 0.02
    # a check that leaves the freehand error anew is no help
    useless = replace(CHECKED, residual_mm=FREEHAND.entry_mm)
    assert breach_probabilities(needle, fields, useless)["any"] > often


def test_common_border_shifts_change_only_the_sum() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    needle = toy.needle(subject, (29, 14, -60), (29, -6, -22))
    own = breach_probabilities(needle, fields, replace(SHARED, shared=0.0))
    shared = breach_probabilities(needle, fields, SHARED)
    for structure in GUARDED:
        assert shared[structure.value] == pytest.approx(own[structure.value], abs=0.004)
    assert shared["any"] <= own["any"] + 0.002


def test_the_entry_may_slip_until_a_limit_breaks() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    needle = toy.needle(subject, (29, 14, -28), (29, -12, -28))
    limits = Limits()
    radius = safe_entry_radius(needle, fields, limits)
    assert 0.5 < radius < 10.0
    axes = perpendicular_axes(needle.tip - needle.bone_entry)
    depths = np.linspace(0, needle.intraosseous_length_mm, 60)[:, None]

    def room(slip: float) -> float:
        """Least distance to any limit over a ring of shifts, mm."""
        least = np.inf
        for angle in np.linspace(0, 2 * np.pi, 72, endpoint=False):
            start = needle.bone_entry + slip * (np.array([np.cos(angle), np.sin(angle)]) @ axes[1:])
            points = start + depths * axes[0]
            for n, structure in enumerate(GUARDED):
                field = Field(fields.grid, np.ascontiguousarray(fields.guarded_stack[..., n]))
                wanted = getattr(limits, f"{structure.value}_mm") + needle.needle.radius_mm
                least = min(least, float(field.at(points).min()) - wanted)
        return least

    assert room(radius - 0.15) > -0.1
    assert room(radius + 0.4) < 0
    # a tip just before its own limit leaves no room, however far the walls are
    gap = float(fields.anterior.at(needle.tip))
    assert safe_entry_radius(needle, fields, Limits(tip_to_anterior_cortex_mm=gap + 0.1)) == 0.0
    tight = Limits(foramina_mm=19.0)
    assert safe_entry_radius(needle, fields, tight) == 0.0
