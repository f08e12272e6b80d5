"""Clearances on the toy sacrum, whose distances can be written down, and their laws."""

from __future__ import annotations

import numpy as np
import pytest

from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory, Structure
from planner.scoring import measure
from tests.scoring import toy

CONFIGURATION = Configuration()
RADIUS = 3.048 / 2
# Half a voxel of the toy's labels, and the rounding of their corners.
VOXEL = 0.6


def judged(
    entry: tuple[float, float, float], tip: tuple[float, float, float], gauge: str = "11G"
) -> ScoredTrajectory:
    subject, volume = toy.standard()
    return measure(toy.needle(subject, entry, tip, gauge), subject, volume, CONFIGURATION)


def test_straight_path_has_the_written_distances() -> None:
    found = judged((36, 14, -30), (36, -8, -30))
    distance = {s: c.distance_mm for s, c in found.clearances.items()}
    foramen = np.hypot(16, 8) - toy.FORAMEN_RADIUS - RADIUS
    assert distance[Structure.FORAMINA] == pytest.approx(foramen, abs=VOXEL)
    assert distance[Structure.CANAL] == pytest.approx(36 - 8 - RADIUS, abs=VOXEL)
    assert distance[Structure.ANTERIOR] == pytest.approx(10 - RADIUS, abs=VOXEL)
    assert distance[Structure.SACROILIAC] == pytest.approx(19 - RADIUS, abs=VOXEL)
    assert distance[Structure.SUPERIOR] == pytest.approx(30 - RADIUS, abs=VOXEL)
    assert found.clearances[Structure.FORAMINA].label == "foramen_s1_left"
    assert found.measures["tip_to_anterior_mm"] == pytest.approx(10, abs=VOXEL)
    assert found.measures["incidence_deg"] < 5
    assert found.measures["soft_tissue_mm"] == pytest.approx(46, abs=1.5)
    assert found.measures["level_lambda"] == pytest.approx(1 + 8 / 22, abs=0.05)


def test_witness_lies_on_the_structure() -> None:
    subject, _ = toy.standard()
    found = judged((36, 14, -30), (36, -8, -30)).clearances[Structure.ANTERIOR]
    assert subject.frame.to_sacrum(found.witness)[1] == pytest.approx(toy.FRONT, abs=VOXEL)
    assert found.depth_mm == pytest.approx(22, abs=VOXEL)


@pytest.mark.parametrize(
    ("entry", "tip", "structure", "most"),
    [
        ((36, 14, -30), (36, -21, -30), Structure.ANTERIOR, -3 - RADIUS),
        ((20, 14, -22), (20, -8, -22), Structure.FORAMINA, -4 - RADIUS),
        ((4, 14, -30), (4, 0, -30), Structure.CANAL, -RADIUS - 3),
        ((50, 14, -30), (58, -8, -30), Structure.SACROILIAC, -2 - RADIUS),
        ((40, 14, -10), (40, -8, 3), Structure.SUPERIOR, -2 - RADIUS),
    ],
)
def test_inside_a_structure_is_negative(
    entry: tuple[float, float, float],
    tip: tuple[float, float, float],
    structure: Structure,
    most: float,
) -> None:
    found = judged(entry, tip)
    assert found.clearances[structure].distance_mm == pytest.approx(most, abs=1.2)
    assert any(structure.value in text for text in found.warnings)


def test_exit_counts_where_it_happens_only() -> None:
    found = judged((36, 14, -30), (36, -21, -30))
    assert found.clearances[Structure.SACROILIAC].distance_mm > 15
    assert found.breach_probability["anterior_cortex"] > 0.95
    assert found.breach_probability["foramina"] < 0.01


def test_never_grows_with_the_radius() -> None:
    gauges = [judged((33, 14, -30), (38, -8, -25), g) for g in ("13G", "11G", "10G", "8G")]
    for thin, thick in zip(gauges, gauges[1:], strict=False):
        for structure, clearance in thick.clearances.items():
            if structure is Structure.POSTERIOR:  # counts from a depth that grows with the radius
                continue
            assert clearance.distance_mm <= thin.clearances[structure].distance_mm + 1e-9
        assert thick.breach_probability["any"] >= thin.breach_probability["any"] - 1e-12


def test_unchanged_by_a_rigid_motion() -> None:
    here = judged((33, 14, -30), (38, -8, -25))
    other = toy.anatomy(-15.0, (-40.0, 33.0, 80.0))
    there = measure(
        toy.needle(other, (33, 14, -30), (38, -8, -25)), other, toy.flesh(other), CONFIGURATION
    )
    for structure, clearance in here.clearances.items():
        assert there.clearances[structure].distance_mm == pytest.approx(
            clearance.distance_mm, abs=0.25
        )
    assert there.score == pytest.approx(here.score, abs=0.03)


def test_mirrored_needle_swaps_sides() -> None:
    left, right = judged((33, 14, -30), (38, -8, -25)), judged((-33, 14, -30), (-38, -8, -25))
    assert right.clearances[Structure.FORAMINA].label == "foramen_s1_right"
    for structure, clearance in left.clearances.items():
        assert right.clearances[structure].distance_mm == pytest.approx(
            clearance.distance_mm, abs=0.5
        )
    for name in ("azimuth_deg", "inclination_deg", "level_lambda", "lateral_offset_mm"):
        assert right.measures[name] == pytest.approx(left.measures[name], abs=0.6)


def test_entry_exempts_the_posterior_cortex_only_near_the_entry() -> None:
    plain = judged((36, 14, -30), (36, -8, -30))
    assert plain.measures["posterior_settled_mm"] == pytest.approx(1 + RADIUS, abs=VOXEL)
    assert not any("posterior_cortex" in text for text in plain.warnings)
    grazing = judged((36, 14, -30), (40, 12, -60))
    assert any("posterior_cortex" in text for text in grazing.warnings)
    assert any("entry_incidence" in text for text in grazing.warnings)


def test_leaving_through_the_back_is_refused_and_counts_everywhere() -> None:
    found = judged((36, 14, -30), (36, 18, -60))
    assert any("posterior_cortex" in text for text in found.warnings)
    least = found.clearances[Structure.POSTERIOR].distance_mm
    assert least == pytest.approx(-4.0 - RADIUS, abs=0.6)
    assert found.measures["min_clearance_mm"] == least
    assert found.measures["z"] < -1.0 and found.measures["safe_entry_radius_mm"] == 0.0
    assert found.breach_probability["posterior_cortex"] > 0.95
    assert found.breach_probability["any"] >= found.breach_probability["posterior_cortex"]


def test_the_entry_itself_is_no_clearance() -> None:
    found = judged((36, 14, -30), (36, -8, -30))
    least = found.clearances[Structure.POSTERIOR].distance_mm
    assert least == pytest.approx(22 - RADIUS, abs=0.6)
    assert found.clearances[Structure.POSTERIOR].depth_mm == pytest.approx(22, abs=0.1)


def test_a_path_over_the_canal_is_no_second_entry() -> None:
    found = judged((18, 14, -33), (-10, 2, -33))
    assert found.clearances[Structure.CANAL].distance_mm < 0


def test_entry_off_the_bone_is_told() -> None:
    found = judged((36, 20, -30), (36, -8, -30))
    assert any("entry_on_bone" in text for text in found.warnings)
