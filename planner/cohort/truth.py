"""How right a plan on a parametric phantom was, where the truth is known.

Foramina: how far each lies from the one derived in the same way from true labels, and whether
another label lies nearer. Paths: the clearances that the plan reports against the true ones, and
the breaches that it predicts against those of needles drawn about the path in the true anatomy.
Calibration: predicted against observed breaches over the paths of many phantoms.

Prediction and truth are of different things in two ways. A prediction counts the segmentation's
error as chance, whereas the anatomy of one case is wrong once for all its paths: only over many
cases can they agree. And a prediction guards the outer cortices on the whole path; in the truth the
back's flanks are told from walls by their slope alone, so it looks at walls where the path is past
them, on its deeper half.

A phantom's formulas are exact in sign, and as distances only on the surface itself: half a needle's
width away they are off by 0.3 mm in one point of ten and by a millimetre in edges. Signs come from
the formulas therefore, and distances from meshes of their zero levels.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from planner.anatomy import derive_anatomy
from planner.anatomy.surface import JOINT_FACING, JOINT_MM
from planner.geometry.capsules import Triangles, nearest_on_triangles
from planner.geometry.distance import distances, face_normals, isosurface
from planner.geometry.fields import Spread
from planner.geometry.grid import Float, Grid
from planner.geometry.segments import perpendicular_axes
from planner.model.anatomy import Anatomy
from planner.model.configuration import PlacementError
from planner.model.trajectory import ScoredTrajectory, Structure, Trajectory
from planner.phantom.truth import PhantomTruth
from planner.scoring.breach import stretches

Mesh = tuple[Float, NDArray[np.int64]]

STEP_MM = 0.5
OUTSIDE_STEP_MM = 1.0
"""Between the points at which a drawn needle is asked whether it is still in bone."""
MESH_MM, HULL_MM = 0.6, 1.0
BACKWARDS = 0.5
"""Triangles that face the back by more than this cosine are the posterior cortex."""
CONTENTS = ("sacrum", "sacral_canal")
HULL = ("walls", "joint", "back")
WALLS = (Structure.ANTERIOR, Structure.SACROILIAC, Structure.SUPERIOR)
TAKEN_MM = 4.5
"""A label this near to a true foramen that was not found has taken its place: the nearest two of
300 phantoms, S4 and S5, are 9.4 mm apart."""
PLACE_MM = 1e-3
"""Paths differ where their ends do by this."""


class TrueSurfaces:
    """The phantom's structures as meshes: their formulas are exact on the surface only.

    Every mesh is the zero level of the structure's formula, sampled at MESH_MM and interpolated,
    which leaves some hundredths of a millimetre. meshes: (V, 3) vertices, patient LPS, mm, and
    (F, 3) triangles by name: each foramen, sacral_canal, and the sacrum's hull in three parts:
    walls, joint (what faces backwards and a hip) and back (the rest of what faces backwards).
    """

    def __init__(self, truth: PhantomTruth) -> None:
        self._truth = truth
        self.foramina = [n for n in truth.structures if n.startswith("foramen")]
        self.meshes = {n: self._mesh(n) for n in (*self.foramina, "sacral_canal")}
        vertices, faces = self._mesh("sacrum_hull")
        normals = truth.frame.direction_to_sacrum(face_normals(vertices, faces))
        front = normals[:, 1] < BACKWARDS  # the back is crossed on purpose
        joint = ~front & self._faces_hip(vertices, faces)
        self.meshes["walls"] = (vertices, faces[front])
        self.meshes["joint"] = (vertices, faces[joint])
        self.meshes["back"] = (vertices, faces[~front & ~joint])
        self._prepared: dict[str, Triangles] = {}

    def _mesh(self, name: str) -> Mesh:
        whole = name == "sacrum_hull"
        mask = self._truth.mask(*((*CONTENTS, *self.foramina) if whole else (name,)))
        points = self._truth.grid.to_patient(np.argwhere(mask))
        grid = Grid.around(points, HULL_MM if whole else MESH_MM, 4.0)
        return isosurface(self._truth.distance_volume(name, grid), grid)

    def _faces_hip(self, vertices: Float, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(F,) triangles of the joint, by the rule of `planner.anatomy.surface`."""
        centres = vertices[faces].mean(axis=1)
        ahead = centres + face_normals(vertices, faces)
        out = np.zeros(len(faces), bool)
        for hip in ("hip_left", "hip_right"):
            here = self._truth.distance(hip, centres)
            nearer = here - self._truth.distance(hip, ahead) > JOINT_FACING
            out |= (here <= JOINT_MM) & nearer
        return out

    def inside(self, name: str, points: Float) -> NDArray[np.bool_]:
        """(...) whether (..., 3) points, mm, are in a structure; for parts of the hull, in it."""
        field = "sacrum_hull" if name in HULL else name
        return np.asarray(self._truth.distance(field, points) < 0)

    def distance(self, name: str, points: Float) -> float:
        """Least distance (mm) of (N, 3) points from a structure's surface, negative inside it."""
        gaps = distances(points, *self.meshes[name])
        inside = self.inside(name, points)
        if name in HULL:  # the needle is inside the hull: outside is what is bad
            return float(np.where(inside, gaps, -gaps).min())
        return float(np.where(inside, -gaps, gaps).min())

    def gaps(self, name: str, starts: Float, ends: Float) -> Float:
        """(N,) exact distances (mm) of segments, (N, 3) to (N, 3), from a mesh; 0 where crossed."""
        if name not in self._prepared:
            self._prepared[name] = Triangles.of(*self.meshes[name])
        mesh = self._prepared[name]
        pairs = zip(starts, ends, strict=True)
        return np.array([nearest_on_triangles(a, b, mesh).distance_mm for a, b in pairs])


def foramen_errors(anatomy: Anatomy, truth: PhantomTruth) -> list[dict[str, Any]]:
    """One row for each true foramen of which the truth's grid shows enough to derive its centre.

    label, level, side; found: the anatomy has one of that name, and centre_error_mm how far away,
    None without. nearest_label, nearest_mm: the foramen of the anatomy that is nearest to the true
    one ("" and None where it has none at all). swapped: that is another one, and it isn't merely
    the neighbour of one that is missing. Raises UntrustedAnatomyError where the true labels cannot
    be made sense of, as on a grid that shows little of the sacrum.
    """
    exact = derive_anatomy(truth.labels, truth.grid, source="provided")
    rows = []
    for true in exact.foramina:
        gaps = {f.name: float(np.linalg.norm(f.centre - true.centre)) for f in anatomy.foramina}
        nearest = min(gaps, key=lambda name: gaps[name], default="")
        found = true.name in gaps
        taken = nearest not in ("", true.name) and (found or gaps[nearest] <= TAKEN_MM)
        rows.append(
            {
                "label": true.name,
                "level": true.level,
                "side": true.side,
                "found": found,
                "centre_error_mm": gaps.get(true.name),
                "nearest_label": nearest,
                "nearest_mm": gaps.get(nearest),
                "swapped": taken,
            }
        )
    return rows


def true_clearances(path: Trajectory, surfaces: TrueSurfaces) -> dict[str, float]:
    """Distance (mm) of a needle's surface from the true foramina, canal, walls and joint.

    Foramina and canal over the whole path, negative inside. Walls (the hull without what faces
    backwards) and joint (what faces a hip of that) over the deeper half, negative outside the hull.
    """
    length = path.intraosseous_length_mm
    depth = np.append(np.arange(0.0, length, STEP_MM), length)
    points = path.bone_entry + depth[:, None] * (path.tip - path.bone_entry) / length
    deep = points[depth >= length / 2.0]
    radius = path.needle.radius_mm
    return {
        "foramina": min(surfaces.distance(n, points) for n in surfaces.foramina) - radius,
        "canal": surfaces.distance("sacral_canal", points) - radius,
        "walls": surfaces.distance("walls", deep) - radius,
        "joint": surfaces.distance("joint", deep) - radius,
    }


def reported_clearances(item: ScoredTrajectory) -> dict[str, float]:
    """Reported clearance, mm, by structure; what the plan calls joint is among the walls."""
    return {
        "foramina": item.clearances[Structure.FORAMINA].distance_mm,
        "canal": item.clearances[Structure.CANAL].distance_mm,
        "walls": min(item.clearances[wall].distance_mm for wall in WALLS),
    }


def over_claims(item: ScoredTrajectory, truth: TrueSurfaces) -> dict[str, float]:
    """Reported minus true clearance, mm, by structure."""
    true = true_clearances(item.trajectory, truth)
    return {name: value - true[name] for name, value in reported_clearances(item).items()}


def path_truth(
    item: ScoredTrajectory,
    surfaces: TrueSurfaces,
    placement: PlacementError,
    draws: int = 256,
    seed: int = 0,
) -> dict[str, float]:
    """Measure one path of a plan against the truth.

    true_{foramina,canal,walls,joint}_mm and over_claim_{foramina,canal,walls}_mm as by
    `true_clearances` and `over_claims`; predicted_breach, and true_breach as by `true_breach`.
    """
    true = true_clearances(item.trajectory, surfaces)
    claimed = reported_clearances(item)
    out = {f"true_{name}_mm": value for name, value in true.items()}
    out |= {f"over_claim_{name}_mm": claimed[name] - true[name] for name in claimed}
    out["predicted_breach"] = item.breach_probability["any"]
    out["true_breach"] = true_breach(item.trajectory, surfaces, placement, draws, seed)
    return out


def true_breach(
    path: Trajectory,
    surfaces: TrueSurfaces,
    placement: PlacementError,
    draws: int = 256,
    seed: int = 0,
) -> float:
    """Share of needles, drawn about a path with its placement error, that truly breach.

    A needle breaches where its surface touches a foramen or the canal anywhere, or on the deeper
    half of the path a wall or the joint, where it is out of the bone there, through its back as
    well, and where its tip touches the back. The segmentation's error is not drawn. seed: with the
    path's place it decides the draws; the same ones for all paths would be wrong in the same way in
    all. Raises ValueError without a draw.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    radius, half = path.needle.radius_mm, path.intraosseous_length_mm / 2.0
    hit = np.zeros(draws, bool)
    for begin, end, starts, ends in drawn_needles(path, placement.spread(), draws, seed):
        for name in (*surfaces.foramina, "sacral_canal"):
            # crossing a border is a gap of 0; a needle that crosses none may lie inside whole
            hit |= (surfaces.gaps(name, starts, ends) < radius) | surfaces.inside(name, ends)
        if end > half:
            along = ends - starts
            reach = np.linalg.norm(along, axis=1, keepdims=True)
            part = np.clip((half - begin) / np.maximum(reach, 1e-9), 0.0, 1.0)
            hit |= _through_walls(surfaces, starts + part * along, ends, radius)
    return float(hit.mean())


def drawn_needles(
    path: Trajectory, spread: Spread, draws: int, seed: int
) -> list[tuple[float, float, Float, Float]]:
    """Draw needles about a path by the error model of `planner.scoring.breach`.

    Returns for each stretch between two checks (the whole path without checks) the depths, mm, at
    which it begins and ends, and (draws, 3) starts and ends of the drawn needles, patient LPS, mm.
    """
    parts = stretches(path.intraosseous_length_mm, spread)
    normal = _normal_draws(draws, 4 * len(parts) + 1, seed, path)
    along, first, second = perpendicular_axes(path.direction)
    out = []
    for number, (begin, end) in enumerate(parts):
        four = normal[:, 4 * number : 4 * number + 4]
        offset = four[:, :2] * (spread.residual_mm if number else spread.entry_mm)
        slope = four[:, 2:] * spread.tan_angle
        depth = np.full((draws, 1), end - begin)
        if number == len(parts) - 1:
            depth = np.maximum(0.0, depth + spread.depth_mm * normal[:, -1:])
        starts = path.bone_entry + begin * along + offset @ np.array([first, second])
        ends = starts + depth * (along + slope @ np.array([first, second]))
        out.append((begin, end, starts, ends))
    return out


def _normal_draws(count: int, dimensions: int, seed: int, path: Trajectory) -> Float:
    """(count, dimensions) standard normal quasi-random draws; the same for the same path."""
    place = np.rint(np.concatenate([path.bone_entry, path.tip]) / PLACE_MM).astype("<i8")
    own = np.random.default_rng([seed, zlib.crc32(place.tobytes())])
    sobol = qmc.Sobol(dimensions, scramble=True, seed=own)
    uniform = sobol.random_base2(max(0, int(np.ceil(np.log2(count)))))[:count]
    return np.asarray(ndtri(np.clip(uniform, 1e-12, 1 - 1e-12)))


def _through_walls(
    surfaces: TrueSurfaces, starts: Float, ends: Float, radius: float
) -> NDArray[np.bool_]:
    """(N,) whether the deeper halves of needles touch a wall, or are outside the bone."""
    hit = surfaces.gaps("walls", starts, ends) < radius
    hit |= surfaces.gaps("joint", starts, ends) < radius
    hit |= surfaces.gaps("back", ends, ends) < radius
    longest = float(np.linalg.norm(ends - starts, axis=1).max())
    part = np.linspace(0.0, 1.0, int(np.ceil(longest / OUTSIDE_STEP_MM)) + 1)
    points = starts[:, None] + part[:, None] * (ends - starts)[:, None]
    outside = ~surfaces.inside("walls", points) & ~hit[:, None]
    return np.asarray(hit | outside.any(axis=1))


EDGES = (0.0, 0.001, 0.01, 0.05, 0.2, 1.0)
"""Between the bins of a calibration: above the lower edge, up to the upper one."""
RESAMPLES = 4000
LEAST_CASES = 5
"""A bootstrap over fewer cases than this says nothing."""

Interval = tuple[float, float]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Paths whose predicted probability lies above low and up to high.

    paths, cases: how many. predicted, observed: means, None without paths. interval: 95 % of the
    observed mean, over cases; None below LEAST_CASES. Where no draw breached it is (0, 0), which
    is not to say that none could.
    """

    low: float
    high: float
    paths: int
    cases: int
    predicted: float | None
    observed: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Calibration:
    """Predicted against observed breaches.

    bins: from low to high. overall: the same over all paths. difference: predicted minus observed,
    mean over all paths, and difference_interval its 95 %. mean_absolute_difference: of a path's
    predicted probability from its observed share; some of it is chance of the draws.
    """

    bins: tuple[Bin, ...]
    overall: Bin
    difference: float
    difference_interval: Interval | None
    mean_absolute_difference: float


def calibration(
    predicted: ArrayLike, observed: ArrayLike, case: ArrayLike, seed: int = 0
) -> Calibration:
    """Compare predicted probabilities with observed shares of breaches.

    predicted, observed: (N,) from 0 to 1. case: (N,) names or numbers of the paths' cases; paths of
    one case share its anatomy and its errors, so that intervals come from drawing whole cases anew.
    Predictions include the segmentation's error, observed shares the one error that a case has.
    Raises ValueError for arrays that do not fit each other, are empty or are no probabilities.
    """
    told, seen = np.asarray(predicted, float), np.asarray(observed, float)
    cases = np.asarray(case)
    if not told.shape == seen.shape == cases.shape or told.ndim != 1 or len(told) == 0:
        raise ValueError(
            "predicted, observed and case must be of one length, at least 1; got shapes "
            f"{told.shape}, {seen.shape}, {cases.shape}"
        )
    for name, values in (("predicted", told), ("observed", seen)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} must be from 0 to 1, got {values.min()} to {values.max()}")
    _, owner = np.unique(cases, return_inverse=True)
    # drawing whole cases anew: how often each is in each resample
    count = int(owner.max()) + 1
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    at = np.digitize(told, EDGES[1:-1], right=True)
    bins = []
    for n in range(len(EDGES) - 1):
        mine = at == n
        edges = (EDGES[n], EDGES[n + 1])
        bins.append(_bin(edges, told[mine], seen[mine], owner[mine], weights))
    return Calibration(
        bins=tuple(bins),
        overall=_bin((EDGES[0], EDGES[-1]), told, seen, owner, weights),
        difference=float((told - seen).mean()),
        difference_interval=_interval(told - seen, owner, weights),
        mean_absolute_difference=float(np.abs(told - seen).mean()),
    )


def _bin(edges: Interval, told: Float, seen: Float, owner: Indices, weights: Indices) -> Bin:
    """Sum up the paths of one bin."""
    return Bin(
        *edges,
        paths=len(told),
        cases=len(np.unique(owner)),
        predicted=float(told.mean()) if len(told) else None,
        observed=float(seen.mean()) if len(told) else None,
        interval=_interval(seen, owner, weights),
    )


def _interval(values: Float, owner: Indices, weights: Indices) -> Interval | None:
    """95 % interval of a mean over paths; weights: (RESAMPLES, cases), owner: (N,) cases."""
    if len(np.unique(owner)) < LEAST_CASES:
        return None
    count = weights.shape[1]
    sums = weights @ np.bincount(owner, values, count)
    sizes = weights @ np.bincount(owner, minlength=count)
    low, high = np.percentile(sums[sizes > 0] / sizes[sizes > 0], [2.5, 97.5])
    return float(low), float(high)
