"""A sclerotic band through the ala, as a healing insufficiency fracture leaves it.

Insufficiency fractures run mostly vertically through the ala, between the foramina and the joint.
Their line is rarely wider than a voxel and, in an ala full of fatty voids, no darker than these; a
first look for dark or broken lines would find voids. What stands out is the band of callus and
haematoma along the line: in fractured alae HU are higher than on the sound side (Wagner 2018, Arch
Orthop Trauma Surg 138:971), while a sound ala has its lowest HU there.

So cancellous HU are averaged along the line of sight, straight from the back or along the joint
(SIGHTS_DEG), into a picture over lateral place and height. In each row a point's excess is its HU
over the brighter of the two places FLANK_MM beside it; the chain from top to bottom that collects
the most excess over FLOOR_HU is the band. Thresholds were set on
25 CTs, 23 of them simulated over real sacra: bands of the four fractured alae collected 651 to
1532 HU mm, those of the sound ones at most 361. On alae simulated afterwards five of six
fractures were seen; the sixth collected 204.
A fresh line without a band, a displaced fracture and a fracture through bone that lies medial
to MEDIAL_MM are not seen. Where the band comes within WALL_MM of a foramen this is told; whether
its wall is broken is not measured: osteoporotic walls are thinner than a voxel and look open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.anatomy.findings.view import NOT_IMAGED_HU, View, view_of
from planner.geometry.grid import Float
from planner.model.anatomy import SIDES, Anatomy, Side, side_sign
from planner.model.finding import Finding
from planner.model.volume import Volume

SIGHTS_DEG = (-24.0, -16.0, -8.0, 0.0)
"""Directions of the line of sight in the axial plane; negative: the front is lateral, as joints
run (-28 to 5 degrees on twenty real sides)."""
DEPTH_MM = 3.0
MEDIAL_MM = 22.0
"""Medially the dense side of the body makes a ridge of its own."""
LEAST_SIGHT_MM = 8.0
SMOOTH_MM = (1.0, 2.0)
"""Sigma across and along the band."""
FLANK_MM = (6, 7, 8)
"""Half width of a band with its callus is about 5 mm."""
FLOOR_HU = 10.0
CEILING_HU = 120.0
"""More excess than this counts no further: cement is no fracture."""
GAP_PENALTY_HU = -60.0
LEAST_HU_MM = 500.0
LEAST_MM = 20.0
"""Shorter ridges are texture, or the edge of the body's dense bone."""
WALL_MM = 2.0


@dataclass(frozen=True)
class Band:
    """The chain of one side: lateral and z (N,) in mm; sight_deg; collected excess, HU mm."""

    lateral: Float
    z: Float
    sight_deg: float
    middle_y: float
    excess_hu_mm: float

    @property
    def length_mm(self) -> float:
        """Height over which the band was followed."""
        return float(np.ptp(self.z)) + 1.0


def find_fracture(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Look for a vertical band in each ala."""
    view = view_of(anatomy, volume)
    found = []
    for side in SIDES:
        band = strongest_band(view, side)
        if band is None or band.excess_hu_mm < LEAST_HU_MM or band.length_mm < LEAST_MM:
            continue
        found.append(_finding(view, side, band))
    return tuple(found)


def strongest_band(view: View, side: Side) -> Band | None:
    """Follow the strongest band of one ala over all lines of sight; None without an ala."""
    rows = np.argsort(view.lateral(side).ravel())
    lateral = view.lateral(side).ravel()[rows]
    rows = rows[lateral > MEDIAL_MM]
    if len(rows) < 2 * FLANK_MM[-1] + 3:
        return None
    deep = (view.depth[rows] > DEPTH_MM) & (view.hu[rows] > NOT_IMAGED_HU + 1)
    values = np.where(deep, view.hu[rows], np.float32(0.0))
    foramen = view.anatomy.foramen("S1", side)
    y = view.axes[1].ravel()
    middle = float(view.anatomy.frame.to_sacrum(foramen.centre)[1]) if foramen else 0.0
    best = None
    for sight in SIGHTS_DEG:
        picture = _look(values, deep, np.tan(np.deg2rad(sight)) * (y - middle))
        chain = _chain(_excess(picture))
        if chain is not None and (best is None or chain[2] > best.excess_hu_mm):
            place = np.sort(lateral[lateral > MEDIAL_MM])[chain[0]]
            height = view.axes[2].ravel()[chain[1]]
            best = Band(place, height, sight, middle, chain[2])
    return best


def _look(values: NDArray[np.float32], deep: NDArray[np.bool_], shifts: Float) -> Float:
    """(I, K) mean HU along the line of sight; nan where too little bone lies on it."""
    total, count = np.zeros(values.shape[::2]), np.zeros(values.shape[::2])
    for j, shift in enumerate(np.rint(shifts).astype(int)):
        # Row i of the picture takes row i + shift: what leaves the ala counts as no bone.
        low, high = max(0, -shift), min(len(values), len(values) - shift)
        if low < high:
            total[low:high] += values[low + shift : high + shift, j]
            count[low:high] += deep[low + shift : high + shift, j]
    return np.where(count >= LEAST_SIGHT_MM, total / np.maximum(count, 1), np.nan)


def _excess(picture: Float) -> Float:
    """(I, K) HU over the brighter flank; nan where a flank is missing."""
    known = np.isfinite(picture)
    share = np.maximum(ndimage.gaussian_filter(known.astype(float), SMOOTH_MM), 1e-3)
    smooth = ndimage.gaussian_filter(np.where(known, picture, 0.0), SMOOTH_MM) / share
    smooth[~known] = np.nan
    out = np.full(picture.shape, -np.inf)
    for flank in FLANK_MM:
        here = smooth[flank:-flank] - np.maximum(smooth[2 * flank :], smooth[: -2 * flank])
        out[flank:-flank] = np.fmax(out[flank:-flank], here)
    return np.where(np.isfinite(out), out, np.nan)


def _chain(excess: Float) -> tuple[NDArray[np.int64], NDArray[np.int64], float] | None:
    """Rows, columns and sum of the chain that collects most; it moves by one row per column.

    Chains shorter than LEAST_MM (lattice planes) do not count.
    """
    gain = np.where(np.isfinite(excess), np.minimum(excess, CEILING_HU) - FLOOR_HU, GAP_PENALTY_HU)
    rows, columns = gain.shape
    score, length = np.zeros(rows), np.zeros(rows, np.int64)
    came = np.zeros((columns, rows), np.int64)
    scores = np.zeros((columns, rows))
    edge = np.array([-np.inf])
    for k in range(columns):
        moves = np.stack(
            [np.concatenate([edge, score[:-1]]), score, np.concatenate([score[1:], edge])]
        )
        choice = moves.argmax(axis=0)
        before = moves[choice, np.arange(rows)]
        came[k] = np.where(before > 0, np.arange(rows) + choice - 1, -1)
        length = np.where(before > 0, length[np.maximum(came[k], 0)], 0) + 1
        score = np.maximum(before, 0.0) + gain[:, k]
        scores[k] = np.where(length >= LEAST_MM, score, -1.0)
    k, row = divmod(int(scores.argmax()), rows)
    best = float(scores[k, row])
    if best <= 0:
        return None
    path = []
    while row >= 0 and k >= 0:
        path.append((int(row), int(k)))
        row, k = int(came[k, row]), k - 1
    places = np.array(path)
    return places[:, 0], places[:, 1], best


def _finding(view: View, side: Side, band: Band) -> Finding:
    measures = {
        "excess_hu_mm": band.excess_hu_mm,
        "length_mm": band.length_mm,
        "lateral_mm": float(band.lateral.mean()),
        "top_z_sacrum_mm": float(band.z.max()),
        "bottom_z_sacrum_mm": float(band.z.min()),
    }
    near = []
    for name, distance in _to_foramina(view, side, band).items():
        measures[f"{name}_mm"] = distance
        if distance <= WALL_MM:
            near.append(name.replace("foramen_", "").replace("_", " ").upper().split()[0])
    text = (
        f"sign of a fracture in the {side} ala: a vertical band denser than the bone beside it, "
        f"{band.lateral.mean():.0f} mm from the midplane, over {band.length_mm:.0f} mm of height."
    )
    if near:
        text += (
            f" It comes within {WALL_MM:.0f} mm of the {' and '.join(near)} foramen; check there "
            "whether the wall is broken, through which cement would leak."
        )
    return Finding("alar_fracture", text, measures=measures)


def _to_foramina(view: View, side: Side, band: Band) -> dict[str, float]:
    """Least distance (mm) of the band's sheet from each foramen of its side."""
    y = view.axes[1].ravel()
    lateral = band.lateral[:, None] + np.tan(np.deg2rad(band.sight_deg)) * (y - band.middle_y)
    sheet = np.stack(
        [
            side_sign(side) * lateral,
            np.broadcast_to(y, lateral.shape),
            np.broadcast_to(band.z[:, None], lateral.shape),
        ],
        axis=-1,
    )
    points = view.anatomy.frame.to_patient(sheet)
    inside = view.fields.solid.at(points) < 0
    out = {}
    for item in view.anatomy.foramina:
        if item.side == side and inside.any():
            values = view.fields.label_fields[item.name].at(points[inside])
            out[item.name] = max(float(values.min()), 0.0)
    return out
