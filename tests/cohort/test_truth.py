"""A plan on the exact labels of a phantom, measured against the phantom's formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import vtk
from phantom.conftest import COARSE
from vtk.util.numpy_support import vtk_to_numpy

import planner
from planner.anatomy.fields import clearance_fields
from planner.cohort.truth import (
    EDGES,
    Calibration,
    TrueSurfaces,
    calibration,
    drawn_needles,
    foramen_errors,
    over_claims,
    path_truth,
    reported_clearances,
    true_breach,
    true_clearances,
)
from planner.geometry.distance import distances, to_polydata
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import Anatomy
from planner.model.configuration import PLACEMENT_ERRORS, Configuration, PlacementError
from planner.model.trajectory import Needle, ScoredTrajectory, Structure, Technique, Trajectory
from planner.model.volume import CtSource, Volume
from planner.phantom.anatomy import PhantomAnatomy
from planner.phantom.truth import PhantomTruth
from planner.scoring.breach import breach_probabilities

EXACT = PlacementError(entry_mm=0.0, angle_deg=0.0, depth_mm=0.0, segmentation_mm=0.0)
FREEHAND = PLACEMENT_ERRORS["freehand"].model_copy(update={"segmentation_mm": 0.0})
SPACING_MM = 1.2


@dataclass(frozen=True, eq=False)
class Known:
    """A plan on true labels, with the truth."""

    truth: PhantomTruth
    surfaces: TrueSurfaces
    anatomy: Anatomy
    paths: tuple[ScoredTrajectory, ...]


@pytest.fixture(scope="module")
def known() -> Known:
    body = PhantomAnatomy(COARSE)
    low, high = body.box("sacrum_hull", 25.0)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    grid = Grid.around(body.frame.to_patient(low + corners * (high - low)), SPACING_MM, 0.0)
    truth = PhantomTruth.of(body, grid)
    values = np.where(truth.mask("sacrum"), 300, 40).astype(np.int16)
    values[:, -4:, :] = -1000  # air behind the back
    volume = Volume(values, grid, CtSource("nrrd", "0" * 64))
    anatomy = planner.derive_anatomy(truth.labels, grid, source="provided")
    configuration = Configuration()
    proposed = planner.propose(anatomy, volume, configuration)
    scored = planner.score(proposed, anatomy, volume, configuration)
    return Known(truth, TrueSurfaces(truth), anatomy, planner.rank(scored, configuration))


def moved(path: Trajectory, by: Float) -> Trajectory:
    return replace(
        path, skin_entry=path.skin_entry + by, bone_entry=path.bone_entry + by, tip=path.tip + by
    )


def toward_foramen(item: ScoredTrajectory) -> Float:
    """Unit vector from the needle to where a foramen is nearest."""
    found, path = item.clearances[Structure.FORAMINA], item.trajectory
    way = found.witness - (path.bone_entry + found.depth_mm * path.direction)
    return np.asarray(way / np.linalg.norm(way))


def needle(truth: PhantomTruth, start: tuple[float, ...], end: tuple[float, ...]) -> Trajectory:
    """A needle between two points of the sacral frame, mm."""
    a, b = truth.frame.to_patient(start), truth.frame.to_patient(end)
    return Trajectory(Technique.SHORT_AXIS, "left", "S1", a, a, b, Needle("13G"))


def near_surface(known: Known, name: str, count: int = 400) -> Float:
    vertices = known.surfaces.meshes[name][0]
    rng = np.random.default_rng(0)
    return np.asarray(
        vertices[rng.integers(0, len(vertices), count)] + rng.normal(0, 2, (count, 3))
    )


def test_exact_labels_claim_hardly_too_much(known: Known) -> None:
    claims = [over_claims(item, known.surfaces) for item in known.paths]
    assert len(claims) >= 10
    for name in ("foramina", "canal"):
        assert max(abs(claim[name]) for claim in claims) < 0.5, name
    # A plan's walls end where its posterior cortex begins, the truth's at a slope.
    assert np.median([claim["walls"] for claim in claims]) < 0.3


def test_a_path_has_its_row(known: Known) -> None:
    item = known.paths[0]
    row = path_truth(item, known.surfaces, FREEHAND, draws=32)
    claims = over_claims(item, known.surfaces)
    for name, reported in reported_clearances(item).items():
        assert row[f"over_claim_{name}_mm"] == pytest.approx(claims[name])
        assert row[f"true_{name}_mm"] + claims[name] == pytest.approx(reported)
    assert row["true_joint_mm"] == true_clearances(item.trajectory, known.surfaces)["joint"]
    assert row["predicted_breach"] == item.breach_probability["any"]
    assert row["true_breach"] == true_breach(item.trajectory, known.surfaces, FREEHAND, 32)


@pytest.mark.parametrize("name", ["foramen_s1_left", "foramen_s4_right", "sacral_canal", "hull"])
def test_the_signs_of_formulas_and_meshes_agree(known: Known, name: str) -> None:
    meshes, formula = known.surfaces.meshes, name
    vertices, faces = meshes["walls" if name == "hull" else name]
    points = near_surface(known, "walls" if name == "hull" else name)
    if name == "hull":
        faces, formula = np.vstack([meshes[n][1] for n in ("walls", "joint", "back")]), "walls"
    asked = vtk.vtkSelectEnclosedPoints()
    asked.SetInputData(to_polydata(points, np.empty((0, 3), np.int64)))
    asked.SetSurfaceData(to_polydata(vertices, faces))
    asked.CheckSurfaceOn()  # closed, or it says so
    asked.Update()
    enclosed = vtk_to_numpy(asked.GetOutput().GetPointData().GetArray("SelectedPoints")) > 0
    clear = distances(points, vertices, faces) > 0.1
    assert 20 < enclosed[clear].sum() < clear.sum() - 20
    np.testing.assert_array_equal(known.surfaces.inside(formula, points)[clear], enclosed[clear])


def test_points_are_as_far_from_a_mesh_by_either_way(known: Known) -> None:
    points = near_surface(known, "foramen_s2_left", 50)
    found = distances(points, *known.surfaces.meshes["foramen_s2_left"])
    np.testing.assert_allclose(
        known.surfaces.gaps("foramen_s2_left", points, points), found, atol=1e-6
    )
    nothing = np.empty((0, 3), np.int64)
    assert np.isinf(distances(points, known.surfaces.meshes["walls"][0], nothing)).all()


def test_the_joint_faces_the_hips(known: Known) -> None:
    vertices, faces = known.surfaces.meshes["joint"]
    centres = vertices[faces].mean(axis=1)
    hips = [known.truth.distance(f"hip_{side}", centres) for side in ("left", "right")]
    assert np.minimum(*hips).max() <= 4.0
    assert all((hip < 4.0).any() for hip in hips)


def test_nearer_to_a_foramen_more_needles_breach(known: Known) -> None:
    item = min(known.paths, key=lambda path: path.clearances[Structure.FORAMINA].distance_mm)
    near = moved(item.trajectory, 3.0 * toward_foramen(item))
    before = true_clearances(item.trajectory, known.surfaces)["foramina"]
    assert true_clearances(near, known.surfaces)["foramina"] == pytest.approx(before - 3.0, abs=0.6)
    error = PLACEMENT_ERRORS["ct_checked"]
    shares = [true_breach(path, known.surfaces, error) for path in (item.trajectory, near)]
    assert shares[1] > shares[0] + 0.05


def test_without_placement_error_the_true_clearance_decides(known: Known) -> None:
    seen = set()
    for item in known.paths[:3]:
        for by in np.arange(-6.0, 12.1, 1.5):
            path = moved(item.trajectory, by * toward_foramen(item))
            least = min(true_clearances(path, known.surfaces).values())
            if abs(least) < 0.05:  # clearances are taken at points, breaches on the whole segment
                continue
            share = true_breach(path, known.surfaces, EXACT, draws=4)
            assert share == float(least < 0), (item.id, by, least)
            seen.add(share)
    assert seen == {0.0, 1.0}


def test_leaving_through_the_front_or_the_back_is_a_breach(known: Known) -> None:
    behind = needle(known.truth, (25.0, 58.0, -20.0), (32.0, 60.0, -22.0))
    before = needle(known.truth, (25.0, -40.0, -20.0), (32.0, -42.0, -22.0))
    assert not known.surfaces.inside("walls", np.array([behind.tip, before.tip])).any()
    assert true_breach(behind, known.surfaces, EXACT, 1) == 1.0
    assert true_breach(before, known.surfaces, EXACT, 1) == 1.0


def test_a_needle_wholly_in_the_canal_breaches(known: Known) -> None:
    axis = known.truth.canal_axis
    start, end = (known.truth.frame.to_sacrum(axis[n]) for n in (40, 41))
    inside = needle(known.truth, tuple(start), tuple(end))
    ends = np.array([inside.bone_entry]), np.array([inside.tip])
    assert known.surfaces.gaps("sacral_canal", *ends)[0] > inside.needle.radius_mm
    assert true_breach(inside, known.surfaces, EXACT, 1) == 1.0


def test_drawn_needles_spread_as_configured(known: Known) -> None:
    path = known.paths[0].trajectory
    error = PlacementError(entry_mm=2.0, angle_deg=3.0, depth_mm=1.0)
    [(begin, end, starts, ends)] = drawn_needles(path, error.spread(), 2048, 0)
    assert (begin, end) == (0.0, path.intraosseous_length_mm)
    off = starts - path.bone_entry
    np.testing.assert_allclose(off @ path.direction, 0.0, atol=1e-9)
    assert np.sqrt((off**2).sum(axis=1).mean() / 2) == pytest.approx(2.0, rel=0.02)
    depth = (ends - starts) @ path.direction
    assert depth.mean() == pytest.approx(end, abs=0.02)
    assert depth.std() == pytest.approx(1.0, rel=0.02)
    slope = (ends - starts) / depth[:, None] - path.direction
    wanted = np.tan(np.radians(3.0))
    assert np.sqrt((slope**2).sum(axis=1).mean() / 2) == pytest.approx(wanted, rel=0.02)


def test_a_check_on_the_way_begins_a_new_stretch(known: Known) -> None:
    path = known.paths[0].trajectory
    error = PlacementError(entry_mm=3.0, recheck_mm=8.0, recheck_residual_mm=0.5)
    parts = drawn_needles(path, error.spread(), 1024, 0)
    assert len(parts) == int(np.ceil(path.intraosseous_length_mm / 8.0))
    for number, (begin, _, starts, _) in enumerate(parts):
        off = starts - path.bone_entry - begin * path.direction
        wanted = 0.5 if number else 3.0
        assert np.sqrt((off**2).sum(axis=1).mean() / 2) == pytest.approx(wanted, rel=0.05)
    assert true_breach(path, known.surfaces, error, 16) <= 1.0


def test_draws_depend_on_seed_and_path_only(known: Known) -> None:
    first, other = (item.trajectory for item in known.paths[:2])
    spread = FREEHAND.spread()

    def offsets(path: Trajectory, seed: int) -> Float:
        return np.asarray(drawn_needles(path, spread, 64, seed)[0][2] - path.bone_entry)

    np.testing.assert_array_equal(offsets(first, 0), offsets(first, 0))
    sizes = [np.linalg.norm(x, axis=1) for x in (offsets(first, 0), offsets(first, 1))]
    assert not np.allclose(*sizes)
    assert not np.allclose(sizes[0], np.linalg.norm(offsets(other, 0), axis=1))
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        true_breach(first, known.surfaces, FREEHAND, 0)


def test_breaches_equal_those_of_dense_points(known: Known) -> None:
    # the oracle: every needle as points 0.25 mm apart, each with its signed distance
    path, surfaces = known.paths[1].trajectory, known.surfaces
    path = moved(path, 2.0 * toward_foramen(known.paths[1]))
    [(_, length, starts, ends)] = drawn_needles(path, FREEHAND.spread(), 64, 0)
    hits, doubtful = [], 0
    for a, b in zip(starts, ends, strict=True):
        part = np.linspace(0.0, 1.0, int(4 * np.linalg.norm(b - a)))[:, None]
        points = a + part * (b - a)
        reach = part[:, 0] * np.linalg.norm(b - a)
        deep = points[reach >= length / 2]
        least = min(surfaces.distance(n, points) for n in (*surfaces.foramina, "sacral_canal"))
        least = min(least, *(surfaces.distance(n, deep) for n in ("walls", "joint")))
        least = min(least, surfaces.distance("back", points[-1:]))
        least = 0.0 if not surfaces.inside("walls", deep).all() else least
        hits.append(least < path.needle.radius_mm)
        doubtful += abs(least - path.needle.radius_mm) < 0.05
    share = true_breach(path, surfaces, FREEHAND, 64)
    assert 0.05 < share < 0.95
    assert abs(share - np.mean(hits)) * 64 <= doubtful


def test_with_exact_labels_the_prediction_comes_true(known: Known) -> None:
    fields = clearance_fields(known.anatomy)
    told, seen = [], []
    for item in known.paths:
        told.append(breach_probabilities(item.trajectory, fields, FREEHAND.spread())["any"])
        seen.append(true_breach(item.trajectory, known.surfaces, FREEHAND, 256))
    assert np.mean(told) > 0.02
    assert np.mean(seen) == pytest.approx(np.mean(told), rel=0.25)
    # one path differs by 0.1: it passes the joint before half its depth
    assert np.abs(np.subtract(told, seen)).mean() < 0.02


def named(anatomy: Anatomy, names: dict[tuple[str, str], tuple[str, str]]) -> Anatomy:
    """Give foramina other levels and sides; those not in `names` are left out."""
    kept = [item for item in anatomy.foramina if (item.level, item.side) in names]
    new = [names[item.level, item.side] for item in kept]
    foramina = [
        replace(item, level=level, side=side)  # type: ignore[arg-type]
        for item, (level, side) in zip(kept, new, strict=True)
    ]
    return replace(anatomy, foramina=tuple(foramina))


def test_foramina_of_true_labels_have_no_error(known: Known) -> None:
    rows = foramen_errors(known.anatomy, known.truth)
    assert [row["label"] for row in rows] == known.surfaces.foramina
    assert {(row["level"], row["side"]) for row in rows} == {
        (level, side) for level in ("S1", "S2", "S3", "S4") for side in ("left", "right")
    }
    for row in rows:
        assert row["found"] and not row["swapped"] and row["nearest_label"] == row["label"]
        assert row["centre_error_mm"] == row["nearest_mm"] == 0.0


def test_swapped_sides_are_seen(known: Known) -> None:
    every = [(item.level, item.side) for item in known.anatomy.foramina]
    other = {"left": "right", "right": "left"}
    rows = foramen_errors(
        named(known.anatomy, {k: (k[0], other[k[1]]) for k in every}), known.truth
    )
    for row in rows:
        assert row["found"] and row["swapped"] and row["centre_error_mm"] > 10.0
        assert row["nearest_label"] == f"foramen_{row['level'].lower()}_{other[row['side']]}"


def test_levels_one_off_are_seen_even_where_one_name_is_not_used(known: Known) -> None:
    every = [(item.level, item.side) for item in known.anatomy.foramina]
    down = {"S1": "S2", "S2": "S3", "S3": "S4", "S4": "S5"}
    rows = foramen_errors(named(known.anatomy, {k: (down[k[0]], k[1]) for k in every}), known.truth)
    assert all(row["swapped"] for row in rows)
    assert [row["found"] for row in rows] == [row["level"] != "S1" for row in rows]


def test_a_missing_foramen_is_missing_and_not_swapped(known: Known) -> None:
    kept = {(f.level, f.side): (f.level, f.side) for f in known.anatomy.foramina}
    del kept["S3", "left"]
    rows = foramen_errors(named(known.anatomy, kept), known.truth)
    missing = [row for row in rows if not row["found"]]
    assert [(row["label"], row["centre_error_mm"]) for row in missing] == [
        ("foramen_s3_left", None)
    ]
    assert not any(row["swapped"] for row in rows)
    nothing = foramen_errors(named(known.anatomy, {}), known.truth)
    assert {(row["nearest_label"], row["nearest_mm"]) for row in nothing} == {("", None)}
    assert not any(row["found"] or row["swapped"] for row in nothing)


def made_up(factor: float, seed: int = 3) -> Calibration:
    """Forty cases of twenty paths; what is observed is `factor` times as likely as predicted."""
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(40), 20)
    told = 10 ** rng.uniform(-4, np.log10(0.45), len(case))
    # a case is worse or better as a whole, on average neither
    worse = rng.gamma(4.0, 1 / 4.0, 40)[case]
    seen = rng.binomial(256, np.clip(factor * worse * told, 0, 1)) / 256
    return calibration(told, seen, np.char.add("case-", case.astype(str)))


def test_calibrated_predictions_lie_within_their_intervals() -> None:
    found = made_up(1.0)
    for item in (*found.bins, found.overall):
        assert item.interval is not None
        assert item.interval[0] <= item.predicted <= item.interval[1], item
        assert item.interval[0] <= item.observed <= item.interval[1]
    assert found.difference_interval is not None
    assert found.difference_interval[0] < 0 < found.difference_interval[1]
    assert sum(item.paths for item in found.bins) == found.overall.paths == 800
    assert [(item.low, item.high) for item in found.bins] == list(
        zip(EDGES[:-1], EDGES[1:], strict=True)
    )


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(60):
        found = made_up(1.0, seed).difference_interval
        assert found is not None
        held += found[0] <= 0.0 <= found[1]
    assert 52 <= held <= 60


@pytest.mark.parametrize("factor", [0.4, 2.0])
def test_biased_predictions_lie_outside(factor: float) -> None:
    found = made_up(factor)
    assert found.overall.interval is not None and found.difference_interval is not None
    low, high = found.overall.interval
    assert not low <= found.overall.predicted <= high
    assert (found.difference > 0) == (factor < 1)
    assert found.difference == pytest.approx(found.overall.predicted - found.overall.observed)
    assert found.difference_interval[0] * found.difference_interval[1] > 0
    assert found.mean_absolute_difference >= abs(found.difference)


def test_paths_of_one_case_are_not_independent() -> None:
    rng = np.random.default_rng(0)
    case = np.repeat(np.arange(30), 20)
    seen = rng.uniform(0, 0.2, 30)[case]
    together = calibration(np.full(600, 0.1), seen, case).overall.interval
    apart = calibration(np.full(600, 0.1), seen, np.arange(600)).overall.interval
    assert together is not None and apart is not None
    assert together[1] - together[0] > 3 * (apart[1] - apart[0])


def test_bins_are_closed_above_and_few_cases_have_no_interval() -> None:
    told = [0.0, 0.001, 0.01, 0.05, 0.2, 1.0]
    found = calibration(told, [0.0] * 6, ["a", "a", "b", "b", "c", "d"])
    assert [item.paths for item in found.bins] == [2, 1, 1, 1, 1]
    assert [item.cases for item in found.bins] == [1, 1, 1, 1, 1]
    assert found.overall.cases == 4
    assert found.overall.interval is None and found.difference_interval is None
    assert found == calibration(told, [0.0] * 6, ["a", "a", "b", "b", "c", "d"])
    empty = calibration([0.5], [1.0], [7]).bins[0]
    assert (empty.paths, empty.predicted, empty.observed) == (0, None, None)


def test_arrays_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one length, at least 1; got shapes \(2,\), \(1,\)"):
        calibration([0.1, 0.2], [0.1], [1, 2])
    with pytest.raises(ValueError, match="at least 1"):
        calibration([], [], [])
    with pytest.raises(ValueError, match="observed must be from 0 to 1, got 2.0 to 2.0"):
        calibration([0.1], [2.0], [1])
    with pytest.raises(ValueError, match="predicted must be from 0 to 1, got nan"):
        calibration([float("nan")], [0.0], [1])
