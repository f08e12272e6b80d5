"""Two needles at once: which of the ranked paths can be placed together.

Bilateral fractures take a needle on each side (26 of 31 patients in Anton Jimenez 2025); Kao 2021
puts a short and a long axis into one ala. Paths that are each the best on their side can meet
outside the body, so they are chosen together: shafts and hubs keep apart, then risk decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from planner.geometry.grid import Float
from planner.geometry.segments import cross_in_plane, segment_distance
from planner.model.anatomy import SacralFrame
from planner.model.configuration import Configuration
from planner.model.pair import NeedlePair, PairKind
from planner.model.trajectory import ScoredTrajectory, Technique
from planner.scoring.ranking import risk_band_of

HUB_LENGTH_MM = 30.0
"""A handle is a cylinder of this length on the needle's axis (assumed; its width can be set)."""
CLOSE_SKIN_MM = 10.0
"""Skin entries nearer than this are told: two incisions run into one (assumed)."""


def needle_length(item: ScoredTrajectory, configuration: Configuration) -> float | None:
    """Shortest configured needle that reaches the tip with its reserve outside the skin, mm.

    None where none does, and where the CT does not show the skin.
    """
    if not skin_shown(item):
        return None
    return configuration.pairs.shortest_needle(item.trajectory.skin_to_tip_mm)


def skin_shown(item: ScoredTrajectory) -> bool:
    """Tell whether the CT shows the skin behind a needle."""
    return item.measures.get("skin_in_view", 1.0) > 0


@dataclass(frozen=True, eq=False)
class _Shaft:
    """A needle from tip to hub, and its hub; points are (3,) patient LPS, mm."""

    tip: Float
    skin: Float
    hub: Float
    handle: Float
    radius_mm: float


def _shaft(item: ScoredTrajectory, configuration: Configuration) -> _Shaft:
    path = item.trajectory
    length = needle_length(item, configuration)
    if length is None:  # skin unknown, or too far for any needle: as long as there is
        length = max(path.skin_to_tip_mm, *configuration.pairs.needle_lengths_mm)
    hub = path.tip - length * path.direction
    handle = hub - HUB_LENGTH_MM * path.direction
    return _Shaft(path.tip, path.skin_entry, hub, handle, path.needle.radius_mm)


def find_pairs(
    ranked: tuple[ScoredTrajectory, ...], frame: SacralFrame, configuration: Configuration
) -> tuple[NeedlePair, ...]:
    """Pair ranked trajectories; best first, at most `pairs.top` of each kind.

    Pairs whose shafts or hubs come too near are left out.
    """
    shafts = {item.id: _shaft(item, configuration) for item in ranked}
    found = []
    for one, other in combinations(ranked, 2):
        kind = _kind(one, other)
        if kind is None:
            continue
        pair = _measure(kind, one, other, shafts, frame, configuration)
        wide = pair.shaft_clearance_mm >= configuration.pairs.shaft_clearance_mm
        if wide and pair.hub_clearance_mm >= 0:
            found.append(pair)
    found.sort(key=_order)
    kept: list[NeedlePair] = []
    for pair in found:
        if sum(item.kind is pair.kind for item in kept) < configuration.pairs.top:
            kept.append(replace(pair, rank=len(kept) + 1))
    return tuple(kept)


def _kind(one: ScoredTrajectory, other: ScoredTrajectory) -> PairKind | None:
    if one.trajectory.side != other.trajectory.side:
        return PairKind.BILATERAL
    techniques = {one.trajectory.technique, other.trajectory.technique}
    if techniques == {Technique.SHORT_AXIS, Technique.LONG_AXIS}:
        return PairKind.SAME_ALA
    return None


def _order(pair: NeedlePair) -> tuple[int, float, tuple[str, str]]:
    return risk_band_of(pair.breach_probability), -round(pair.score, 9), pair.trajectories


def _measure(
    kind: PairKind,
    one: ScoredTrajectory,
    other: ScoredTrajectory,
    shafts: dict[str, _Shaft],
    frame: SacralFrame,
    configuration: Configuration,
) -> NeedlePair:
    a, b = shafts[one.id], shafts[other.id]
    apart = segment_distance(a.tip, a.hub, b.tip, b.hub) - a.radius_mm - b.radius_mm
    wide = configuration.pairs.hub_diameter_mm
    hubs = min(
        segment_distance(a.hub, a.handle, b.hub, b.handle) - wide,
        segment_distance(a.hub, a.handle, b.tip, b.hub) - wide / 2.0 - b.radius_mm,
        segment_distance(b.hub, b.handle, a.tip, a.hub) - wide / 2.0 - a.radius_mm,
    )
    spacing = float(np.linalg.norm(a.skin - b.skin))
    # an AP beam runs across the patient, within the sacrum's midplane
    seen = [
        np.array([(point - frame.origin) @ frame.axes[:, 0], point[2]])
        for point in (a.skin, a.tip, b.skin, b.tip)
    ]
    crosses = cross_in_plane(*seen)
    safe = (1.0 - one.breach_probability["any"]) * (1.0 - other.breach_probability["any"])
    warnings = []
    if crosses:
        warnings.append("the needles cross on the AP view: tell them apart on the lateral one")
    if spacing < CLOSE_SKIN_MM:
        warnings.append(f"the skin entries are only {spacing:.0f} mm apart")
    hidden = [item.id for item in (one, other) if not skin_shown(item)]
    if hidden:
        warnings.append(
            f"the CT does not show the skin behind {' and '.join(hidden)}: hubs are placed at the "
            "end of the longest needle, and the spacing on the skin is not known"
        )
    return NeedlePair(
        0,
        kind,
        (one.id, other.id),
        apart,
        hubs,
        spacing,
        crosses,
        1.0 - safe,
        (one.score + other.score) / 2.0,
        tuple(warnings),
    )
