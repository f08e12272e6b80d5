"""No needle near a proposed one, within its technique, is clearly safer."""

from __future__ import annotations

import numpy as np
import pytest

from planner.anatomy import derive_anatomy
from planner.anatomy.fields import clearance_fields
from planner.candidates import belongs, propose
from planner.geometry.entering import returns_to
from planner.geometry.fields import least_margins
from planner.model.anatomy import Anatomy, Region
from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory, Trajectory
from planner.model.volume import Volume
from planner.scoring import score
from planner.scoring.constraints import broken_limits
from planner.scoring.evidence import gather, setting_of
from tests.candidates.test_real_bones import flesh
from tests.scoring import toy
from tests.support.real_bones import require_real_bones, true_labels

ENTRY_MM, TIP_MM = 6.0, 4.0
TRIED = 4000
CLEARLY_MM = 0.3
"""So much more room at no more risk is clearly better; more room alone is not, for risk decides."""


def neighbours(
    anatomy: Anatomy, path: Trajectory, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Entries on the posterior surface near a needle's, and tips near its tip."""
    vertices, faces = anatomy.surface.part(Region.POSTERIOR)
    centres = vertices[faces].mean(axis=1)
    near = centres[np.linalg.norm(centres - path.bone_entry, axis=1) < ENTRY_MM]
    entries = near[rng.integers(len(near), size=TRIED)]
    away = rng.normal(size=(TRIED, 3))
    away *= (TIP_MM * rng.uniform(0, 1, (TRIED, 1))) / np.linalg.norm(away, axis=1, keepdims=True)
    return entries, path.tip + away


def assert_optimal(anatomy: Anatomy, volume: Volume, configuration: Configuration) -> None:
    """Check the safest path of every technique and side (the score may prefer another one)."""
    scored = score(propose(anatomy, volume, configuration), anatomy, volume, configuration)
    safest: dict[tuple[str, str], ScoredTrajectory] = {}
    for item in sorted(scored.accepted, key=lambda item: -item.measures["z"]):
        safest.setdefault((item.trajectory.technique, item.trajectory.side), item)
    fields = clearance_fields(anatomy)
    spread = configuration.placement_error.spread()
    setting = setting_of(anatomy, volume, configuration)
    rng = np.random.default_rng(5)
    assert safest
    for path in (item.trajectory for item in safest.values()):
        radius = path.needle.radius_mm
        entries, tips = neighbours(anatomy, path, rng)
        starts = np.vstack([path.bone_entry, entries])
        ends = np.vstack([path.tip, tips])
        z, least = least_margins(fields.guarded, starts, ends, radius, spread, -np.inf)
        back = returns_to(fields.posterior, fields.solid, starts, ends, radius, spread=spread)
        z, least = np.minimum(z, back.z), np.minimum(least, back.least - radius)
        better = (z[1:] > z[0]) & (least[1:] > least[0] + CLEARLY_MM)
        for n in np.flatnonzero(better):
            other = Trajectory(
                path.technique, path.side, path.level, path.skin_entry, entries[n], tips[n],
                path.needle,
            )  # fmt: skip
            legal = belongs(other, anatomy) == () and not broken_limits(
                gather(setting, other), configuration.limits
            )
            assert not legal, (path.technique, path.side, least[0], least[n + 1])


def test_toy_paths_are_locally_optimal() -> None:
    subject, volume = toy.standard()
    assert_optimal(subject, volume, Configuration())


@pytest.mark.slow
def test_paths_in_real_bone_are_locally_optimal() -> None:
    require_real_bones()
    labels, grid, _ = true_labels("z042", 0.8)
    anatomy = derive_anatomy(labels, grid, source="provided")
    assert_optimal(anatomy, flesh(anatomy), Configuration())
