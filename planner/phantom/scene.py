"""The patient as Hounsfield units everywhere in space, before any scanner.

Bones are tabulated once as signed distances in the sacral frame and interpolated; what is exact,
the labels, does not come from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float
from planner.phantom import soft, tissue
from planner.phantom.anatomy import PhantomAnatomy
from planner.phantom.lattice import (
    Distance,
    Field,
    Floats,
    Noise,
    deepened,
    sampled_field,
)
from planner.shape import sacrum
from planner.shape.channels import nearest_channel

# Steps of the distance tables: as fine as the voxels within these limits (mm), and coarser by this
# ratio for the large bones.
TABLE_STEP_MM = (0.9, 2.0)
PELVIS_STEP_RATIO = 1.4
HIPS_FAR_STEP_MM = 6.0
# Distances to the hips guide muscles as far as this; beyond, and off the tables, this value.
FAR_MM = 60.0
# Sigmas of the tissue noises, mm: lobules and muscles, bone regions, trabecular clusters.
COARSE_MM, MEDIUM_MM, FINE_MM = 9.0, 3.5, 1.1


@dataclass(frozen=True, eq=False)
class Scene:
    """One patient on the table: `hounsfield` gives the HU on any lattice.

    back_mm: body-frame y of the skin of the back. table_y: patient y of the table's surface.
    fields: signed distances in the sacral frame. Noises live in the body frame.
    """

    anatomy: PhantomAnatomy
    back_mm: float
    table_y: float
    fields: dict[str, Field]
    coarse: Noise
    medium: Noise
    fine: Noise

    @classmethod
    def build(cls, anatomy: PhantomAnatomy, corners: Float) -> Scene:
        """Tabulate the bones and draw the texture of one phantom.

        corners: (N, 3) patient points, mm, whose hull holds everything that the scanner sees.
        """
        seen = anatomy.frame.to_sacrum(corners)
        view = seen.min(axis=0) - 3.0, seen.max(axis=0) + 3.0
        p = anatomy.parameters
        back = anatomy.rearmost_bone_mm + p.back_fat_mm
        supine = p.patient_position == "supine"
        skin = back - soft.CONTACT_MM if supine else back - 2 * p.half_depth_mm + soft.CONTACT_MM
        rng = [np.random.default_rng([p.seed, n]) for n in range(3)]
        return cls(
            anatomy=anatomy,
            back_mm=back,
            table_y=float(anatomy.frame.origin[1] + skin),
            fields=_tables(anatomy, view),
            coarse=Noise.draw(rng[0], COARSE_MM),
            medium=Noise.draw(rng[1], MEDIUM_MM),
            fine=Noise.draw(rng[2], FINE_MM),
        )

    def hounsfield(
        self, patient_from_ijk: Float, shape: tuple[int, int, int], voxel_mm: float
    ) -> Floats:
        """Hounsfield units (I, J, K) on a lattice whose voxels are voxel_mm wide."""
        p = self.anatomy.parameters
        body_from_ijk = np.linalg.inv(self.anatomy.patient_from_body) @ patient_from_ijk
        sacrum_from_ijk = np.linalg.inv(self.anatomy.patient_from_sacrum) @ patient_from_ijk
        coarse = self.coarse.on(body_from_ijk, shape)
        medium = self.medium.on(body_from_ijk, shape)
        fine = self.fine.on(body_from_ijk, shape)
        near = {name: table.on(sacrum_from_ijk, shape) for name, table in self.fields.items()}
        hips = np.where(near["hips"] < FAR_MM, near["hips"], near["hips_far"])
        x, y, z = coordinates(body_from_ijk, shape)
        y_patient = coordinates(patient_from_ijk, shape)[1]
        supine = p.patient_position == "supine"
        table = y_patient - self.table_y if supine else self.table_y - y_patient
        around = soft.BodySurroundings(
            x, y, z, near["hull"], hips, coarse, medium, table.astype(np.float32)
        )
        hu = soft.soft_tissue(around, p, self.back_mm, voxel_mm)
        o = p.osteoporosis
        texture = 0.8 * fine + 0.5 * medium + 0.35 * coarse
        soft.joint_cartilage(hu, near["bone"], hips, medium)
        tissue.plain_bone(hu, near["femora"], tissue.femur_bone(o), texture, voxel_mm)
        tissue.plain_bone(hu, hips, tissue.hip_bone(o), texture, voxel_mm)
        part = _part(np.minimum(np.minimum(near["bone"], near["l5"]), near["foramina"]) < 4.0)
        if part is not None:
            u, v, w = (values[part] for values in coordinates(sacrum_from_ijk, shape))
            soft.lumbosacral_disc(hu[part], (u, v, w), p, medium[part], voxel_mm)
            canal, foramina = near["canal"][part], near["foramina"][part]
            tissue.neural_contents(hu[part], canal, foramina, w, voxel_mm)
            spine = tissue.l5_bone(o)
            tissue.plain_bone(hu[part], near["l5"][part], spine, texture[part], voxel_mm)
            noises = coarse[part], medium[part], fine[part]
            at = tissue.SacralSurroundings(
                u, v, w, near["bone"][part], canal, foramina, hips[part], *noises
            )
            tissue.sacral_bone(hu[part], at, p, voxel_mm)
        return hu


def _part(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Box of a block (I, J, K) in which a mask holds; None where it never does."""
    flat = np.any(mask, axis=0)
    j, k = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    if len(j) == 0:
        return None
    return slice(None), slice(j[0], j[-1] + 1), slice(k[0], k[-1] + 1)


def coordinates(
    space_from_ijk: Float, shape: tuple[int, int, int]
) -> tuple[Floats, Floats, Floats]:
    """Coordinates of every point of a lattice, three arrays (I, J, K)."""
    i, j, k = (np.arange(n) for n in shape)
    rows = []
    for a in range(3):
        row = space_from_ijk[a]
        plane = row[0] * i[:, None] + row[1] * j + row[3]
        rows.append(plane.astype(np.float32)[:, :, None] + (row[2] * k).astype(np.float32))
    return rows[0], rows[1], rows[2]


def _tables(anatomy: PhantomAnatomy, view: tuple[Float, Float]) -> dict[str, Field]:
    """Tabulate every distance that the tissue models look at.

    view: corners (3,) of a box of the sacral frame, mm, that holds everything seen by the scanner.
    """
    p = anatomy.parameters.sacrum
    voxel = min(anatomy.parameters.spacing_mm, anatomy.parameters.slice_spacing_mm)
    step = min(max(voxel, TABLE_STEP_MM[0]), TABLE_STEP_MM[1])
    wide_step = PELVIS_STEP_RATIO * step
    of = anatomy.distance_sacrum
    low, high = anatomy.box("sacrum", 4.0)

    def channels(points: Float) -> Floats:
        hull = sacrum.sacrum_hull_distance(points, p)
        return np.maximum(nearest_channel(points.astype(np.float32), p), hull)

    def table(distance: Distance, box: tuple[Float, Float], step_mm: float) -> Field:
        seen = np.maximum(box[0], view[0]), np.minimum(box[1], view[1])
        if (seen[1] - seen[0] < step_mm).any():
            return Field(np.full((2, 2, 2), FAR_MM, np.float32), np.eye(4), FAR_MM)
        return sampled_field(distance, seen[0], seen[1], step_mm, FAR_MM)

    def both(kind: str) -> Distance:
        left, right = of(f"{kind}_left"), of(f"{kind}_right")

        def nearer(points: Float) -> Floats:
            # The bones are a side's own half of space: only that one is evaluated.
            out = np.empty(len(points), np.float32)
            on_left = points[:, 0] >= 0
            out[on_left], out[~on_left] = left(points[on_left]), right(points[~on_left])
            return out

        return nearer

    def box(kind: str) -> tuple[Float, Float]:
        left, right = anatomy.box(f"{kind}_left", 4.0), anatomy.box(f"{kind}_right", 4.0)
        return np.minimum(left[0], right[0]), np.maximum(left[1], right[1])

    canal_box = np.array([-28.0, low[1], low[2]]), np.array([28.0, high[1], high[2] + 25.0])
    wide = np.array([70.0, 60.0, 30.0])
    return {
        "bone": table(of("sacrum"), (low, high), step),
        "foramina": table(channels, (low, high), step),
        "canal": table(lambda x: sacrum.canal_distance(x, p), canal_box, step),
        "hull": table(of("sacrum_hull"), (low - wide, high + wide), 2 * step),
        "hips": deepened(table(both("hip"), box("hip"), wide_step), wide_step),
        "hips_far": table(both("hip"), view, HIPS_FAR_STEP_MM),
        "femora": table(both("femur"), box("femur"), wide_step),
        "l5": deepened(table(of("l5"), anatomy.box("l5", 4.0), step), step),
    }
