"""A small anatomy of boxes, a CT to it, and a plan on both: quick to build."""

from __future__ import annotations

import numpy as np

from planner.geometry.distance import isosurface, signed_distance
from planner.geometry.grid import Grid
from planner.model.anatomy import (
    LABELS,
    REGIONS,
    SIDES,
    Anatomy,
    Foramen,
    Region,
    SacralFrame,
    SacralSurface,
)
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.model.trajectory import (
    Clearance,
    Criterion,
    Needle,
    ScoredTrajectory,
    Structure,
    Technique,
    Trajectory,
)
from planner.model.volume import CtSource, Volume

FRAME_UID = "1.2.826.0.1.3680043.8.498.1"
TILT_DEG = 39.0


def rotation(x_deg: float, z_deg: float = 0.0) -> np.ndarray:
    x, z = np.radians([x_deg, z_deg])
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_x)


def awkward_grids(shape: tuple[int, int, int] = (40, 44, 48)) -> dict[str, Grid]:
    """Grids of which no test may be fooled by identity axes; all cover about the same box."""
    spacing = (3.0, 2.8, 3.2)

    def build(direction: np.ndarray, spaces: tuple[float, float, float] = spacing) -> Grid:
        extent = (np.array(shape) - 1) * np.array(spaces)
        origin = np.array([4.0, -11.0, 700.0]) - direction @ extent / 2.0
        return Grid.from_axes(shape, origin, spaces, direction, FRAME_UID)

    oblique = rotation(12.3, -17.1)
    return {
        "identity": build(np.eye(3)),
        "oblique": build(oblique),
        "left_handed": build(oblique @ np.diag([1.0, 1.0, -1.0])),
        "negative": build(np.diag([-1.0, -1.0, 1.0])),
        "permuted": build(np.eye(3)[:, [2, 0, 1]]),
        "anisotropic": build(rotation(-8.0, 31.0), (2.1, 3.3, 2.9)),
    }


def toy_frame() -> SacralFrame:
    return SacralFrame(np.array([4.0, -30.0, 735.0]), rotation(TILT_DEG))


def toy_labels(grid: Grid, frame: SacralFrame) -> np.ndarray:
    """Label by boxes of the sacral frame."""
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(frame.to_sacrum(grid.to_patient(ijk)), -1, 0)
    labels = np.zeros(grid.shape, np.uint8)
    labels[(np.abs(x) < 42) & (y > -16) & (y < 30) & (z < 0) & (z > -80)] = LABELS["sacrum"]
    labels[(np.abs(x) < 9) & (y > 12) & (y < 24) & (z < 0) & (z > -80)] = LABELS["sacral_canal"]
    for side, sign in zip(SIDES, (1, -1), strict=True):
        for number, level in enumerate(("S1", "S2", "S3", "S4")):
            near = (np.abs(sign * x - 19) < 4) & (np.abs(z + 14 + 18 * number) < 5)
            inside = near & (y > -16) & (y < 30)
            labels[inside] = LABELS[f"foramen_{level.lower()}_{side}"]
        hip = (sign * x > 46) & (sign * x < 54) & (y > -20) & (y < 34) & (z < 6) & (z > -50)
        labels[hip] = LABELS[f"hip_{side}"]
    labels[(np.abs(x) < 24) & (y > -16) & (y < 12) & (z > 6)] = LABELS["l5"]
    return labels


def toy_regions(vertices: np.ndarray, faces: np.ndarray, frame: SacralFrame) -> np.ndarray:
    """Name every triangle by the side of the box that it is nearest to."""
    x, y, z = frame.to_sacrum(vertices[faces].mean(axis=1)).T
    sides = {
        Region.SACROILIAC: 42 - np.abs(x),
        Region.POSTERIOR: 30 - y,
        Region.ANTERIOR: y + 16,
        Region.SUPERIOR: -z,
        Region.INFERIOR: z + 80,
    }
    codes = np.array([REGIONS.index(region) for region in sides], np.uint8)
    return codes[np.argmin(np.abs(np.stack(list(sides.values()))), axis=0)]


def toy_anatomy(grid: Grid | None = None, **changes: object) -> Anatomy:
    grid = grid or awkward_grids()["oblique"]
    frame = toy_frame()
    labels = toy_labels(grid, frame)
    vertices, faces = isosurface(signed_distance(labels == LABELS["sacrum"], grid.spacing_mm), grid)
    foramina = tuple(
        Foramen(
            level,
            side,
            frame.to_patient((19.0 * sign, 7.0, -14.0 - 18.0 * number)),
            frame.to_patient((19.0 * sign, -16.0, -14.0 - 18.0 * number)),
            frame.to_patient((19.0 * sign, 30.0, -14.0 - 18.0 * number)),
            8.0,
            0.9,
        )
        for side, sign in zip(SIDES, (1, -1), strict=True)
        for number, level in enumerate(("S1", "S2", "S3", "S4"))
    )
    line = np.array([(0.0, 0.0, -float(z)) for z in range(0, 80, 8)])
    values: dict[str, object] = {
        "grid": grid,
        "labels": labels,
        "frame": frame,
        "endplate_centre": frame.origin,
        "endplate_normal": frame.axes[:, 2],
        "axis": frame.to_patient(line),
        "canal_axis": frame.to_patient(line + (0.0, 18.0, 0.0)),
        "foramina": foramina,
        "surface": SacralSurface(vertices, faces, toy_regions(vertices, faces, frame)),
        "source": "builtin",
        "confidence": 0.8,
        "confidences": {"sacrum": 0.9, "foramen_s4_left": 0.55},
        "warnings": ("Foramen S4 left is faint.",),
        **changes,
    }
    return Anatomy(**values)  # type: ignore[arg-type]


def toy_volume(grid: Grid | None = None) -> Volume:
    grid = grid or awkward_grids()["oblique"]
    labels = toy_labels(grid, toy_frame())
    values = np.where(labels == LABELS["sacrum"], 250, np.where(labels > 0, 60, 20))
    source = CtSource("dicom", "ab" * 32, "1.2.3", "1.2.3.4", "Pelvis", "B60", "HFS", 1.0, "only")
    return Volume(values.astype(np.int16), grid, source, ("The table is in the picture.",))


def toy_trajectory(technique: Technique, side: str) -> Trajectory:
    frame = toy_frame()
    sign = 1 if side == "left" else -1
    ends = {
        Technique.SHORT_AXIS: ((30, 30, -5), (31, 2, -5)),
        Technique.LONG_AXIS: ((29, 30, -60), (33, 4, -8)),
        Technique.S2_ENTRY: ((29, 30, -32), (34, 2, -8)),
        Technique.S2_S3_ENTRY: ((29, 30, -42), (34, 2, -8)),
    }[technique]
    entry, tip = (frame.to_patient(np.array(p) * (sign, 1, 1)) for p in ends)
    along = (tip - entry) / np.linalg.norm(tip - entry)
    level = {"short_axis": "S1", "long_axis": "S3", "s2_entry": "S2"}.get(technique, "S2/S3")
    return Trajectory(technique, side, level, entry - 45.0 * along, entry, tip, Needle())


def toy_scored(technique: Technique, side: str, rank: int, **changes: object) -> ScoredTrajectory:
    path = toy_trajectory(technique, side)
    clearances = {
        structure: Clearance(
            structure,
            3.0 + number,
            path.tip + (1.0, 2.0, 3.0),
            12.0,
            f"foramen_s1_{side}" if structure is Structure.FORAMINA else "",
        )
        for number, structure in enumerate(Structure)
    }
    breach = {structure.value: 0.01 for structure in Structure} | {"any": 0.04}
    values: dict[str, object] = {
        "id": f"{technique.value}-{side}-1",
        "rank": rank,
        "trajectory": path,
        "clearances": clearances,
        "breach_probability": breach,
        "criteria": (Criterion("breach_probability", 0.04, "", 0.9, 4.0),),
        "score": 1.0 - rank / 10.0,
        "measures": {"incidence_deg": 12.5},
        "warnings": (),
        **changes,
    }
    return ScoredTrajectory(**values)  # type: ignore[arg-type]


def toy_ranked() -> tuple[ScoredTrajectory, ...]:
    pairs = [(technique, side) for technique in Technique for side in SIDES]
    return tuple(toy_scored(t, s, rank) for rank, (t, s) in enumerate(pairs, start=1))


def toy_plan(**changes: object) -> Plan:
    volume = toy_volume()
    values: dict[str, object] = {
        "ct": volume.source,
        "ct_grid": volume.grid,
        "anatomy": toy_anatomy(),
        "trajectories": toy_ranked(),
        "rejections": {"foramina": 12, "anterior_cortex": 3},
        "configuration": Configuration(),
        "warnings": ("The table is in the picture.", "Foramen S4 left is faint."),
        "timings_s": {"read": 1.23456},
        "provenance": {"version": "0.1.0", "created": "2026-01-01T00:00:00+00:00"},
        **changes,
    }
    return Plan(**values)  # type: ignore[arg-type]
