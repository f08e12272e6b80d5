"""The scanner: where it samples, how it blurs, averages and adds noise.

A stack of parallel slices is an affine lattice, but with a tilted gantry a sheared one: the rows
lean, while the table still moves along z. Grids may not be sheared, so a tilted scan yields both
its true stack and, for those who want a volume, the same patient scanned upright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.grid import Float, Grid
from planner.phantom.anatomy import PhantomAnatomy
from planner.phantom.lattice import Floats
from planner.phantom.parameters import MAX_VOXELS, PhantomParameters
from planner.phantom.scene import Scene

# Wider pixels are split, and thicker slices averaged from layers, so that no thin cortex is lost.
SUBVOXEL_MM = 1.5
LAYER_MM = 1.0
# Noise is correlated in the plane like that of a soft-tissue kernel.
NOISE_CORRELATION_MM = 0.6
HU_MIN, HU_MAX = -1024, 3071
# The lateral noise of a pelvis, in relation to that of its middle (assumed).
_NOISE_AT_EDGE = 0.6


@dataclass(frozen=True, eq=False)
class Stack:
    """Where a series of parallel slices samples the patient.

    shape: columns, rows, slices. row, column: unit directions (3,) in patient LPS in which the
    column index and the row index grow. first: (3,) centre of the first pixel of the first slice.
    step: (3,) from one slice to the next. All mm.
    """

    shape: tuple[int, int, int]
    row: Float
    column: Float
    first: Float
    step: Float
    spacing_mm: float
    thickness_mm: float
    tilt_deg: float

    @property
    def normal(self) -> Float:
        """(3,) unit normal of the slices."""
        return np.asarray(np.cross(self.row, self.column))

    @property
    def patient_from_ijk(self) -> Float:
        """(4, 4) index (column, row, slice) to patient LPS, mm; sheared when tilted."""
        affine = np.eye(4)
        affine[:3, 0] = self.row * self.spacing_mm
        affine[:3, 1] = self.column * self.spacing_mm
        affine[:3, 2] = self.step
        affine[:3, 3] = self.first
        return affine

    def position(self, k: int) -> Float:
        """(3,) centre of the first pixel of slice k."""
        return np.asarray(self.first + k * self.step)


def upright_grid(anatomy: PhantomAnatomy, frame_of_reference_uid: str = "") -> Grid:
    """Grid of the scan without gantry tilt: the field of view around the sacrum.

    Supine and prone cover the same voxel centres; prone, rows and columns run the other way.
    Raises ValueError when the field would hold more than MAX_VOXELS.
    """
    p = anatomy.parameters
    low, high = anatomy.box("sacrum")
    bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
    bottom = anatomy.frame.to_patient(low + bits * (high - low))[:, 2].min() - p.margin_below_mm
    centre = anatomy.frame.origin
    top = centre[2] + p.margin_above_mm
    back = centre[1] + anatomy.rearmost_bone_mm + p.back_fat_mm + p.margin_behind_mm
    columns = max(1, round(p.field_width_mm / p.spacing_mm))
    rows = max(1, round(p.field_depth_mm / p.spacing_mm))
    slices = max(1, round((top - bottom) / p.slice_spacing_mm))
    if columns * rows * slices > MAX_VOXELS:
        raise ValueError(
            f"the phantom's field is {columns} x {rows} x {slices} voxels, allowed {MAX_VOXELS} in "
            "all; use a larger spacing or a smaller field"
        )
    low_x = centre[0] - (columns - 1) / 2 * p.spacing_mm
    low_y = back - (rows - 0.5) * p.spacing_mm
    first = np.array([low_x, low_y, bottom + p.slice_spacing_mm / 2])
    flip = 1.0 if p.patient_position == "supine" else -1.0
    if flip < 0:
        first[:2] += np.array([columns - 1, rows - 1]) * p.spacing_mm
    # Written positions keep this many decimals, so the grid may not have more.
    return Grid.from_axes(
        (columns, rows, slices),
        np.round(first, 4),
        (p.spacing_mm, p.spacing_mm, p.slice_spacing_mm),
        np.diag([flip, flip, 1.0]),
        frame_of_reference_uid,
    )


def stack_of(grid: Grid, p: PhantomParameters) -> Stack:
    """Return the slices that the scanner takes of a grid's box, tilted about its middle rows."""
    angle = np.deg2rad(p.gantry_tilt_deg)
    row, column = grid.direction[:, 0], grid.direction[:, 1]
    axis = row * np.sign(row[0])  # the tilt's axis is patient x, however the patient lies
    leaned = column * np.cos(angle) + np.cross(axis, column) * np.sin(angle)
    middle = grid.origin + column * (grid.shape[1] - 1) / 2 * p.spacing_mm
    first = middle - leaned * (grid.shape[1] - 1) / 2 * p.spacing_mm
    return Stack(
        shape=grid.shape,
        row=row,
        column=leaned,
        first=np.round(first, 4),
        step=grid.patient_from_ijk[:3, 2].copy(),
        spacing_mm=p.spacing_mm,
        thickness_mm=p.slice_thickness_mm,
        tilt_deg=p.gantry_tilt_deg,
    )


def scan(scene: Scene, stack: Stack) -> NDArray[np.int16]:
    """Scan a patient: HU (columns, rows, slices), rounded and clipped to HU_MIN..HU_MAX."""
    p = scene.anatomy.parameters
    out = np.empty(stack.shape, np.int16, order="F")
    for k in range(stack.shape[2]):
        values = scan_slice(scene, stack, k)
        if p.noise_hu > 0:
            values += _noise(p, stack, k)
        out[:, :, k] = np.clip(np.rint(values), HU_MIN, HU_MAX).astype(np.int16)
    return out


def scan_slice(scene: Scene, stack: Stack, k: int) -> Floats:
    """Mean HU (columns, rows) across the thickness of slice k, with the in-plane point spread."""
    p = scene.anatomy.parameters
    split = max(1, int(np.ceil(stack.spacing_mm / SUBVOXEL_MM - 1e-6)))
    layers = max(1, int(np.ceil(stack.thickness_mm / LAYER_MM - 1e-6)))
    fine_mm, layer_mm = stack.spacing_mm / split, stack.thickness_mm / layers
    affine = np.eye(4)
    affine[:3, 0] = stack.normal * layer_mm
    affine[:3, 1], affine[:3, 2] = stack.row * fine_mm, stack.column * fine_mm
    corner = (stack.row + stack.column) * (stack.spacing_mm - fine_mm) / 2.0
    affine[:3, 3] = stack.position(k) - corner - stack.normal * layer_mm * (layers - 1) / 2.0
    shape = (layers, stack.shape[0] * split, stack.shape[1] * split)
    values = scene.hounsfield(affine, shape, fine_mm).mean(axis=0)
    # Partial volume has already blurred by one box of a fine voxel.
    rest = p.psf_mm**2 - fine_mm**2 / 12.0
    if rest > 0:
        values = ndimage.gaussian_filter(values, np.sqrt(rest) / fine_mm, mode="nearest")
    if split == 1:
        return np.asarray(values, np.float32)
    blocks = values.reshape(stack.shape[0], split, stack.shape[1], split)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _noise(p: PhantomParameters, stack: Stack, k: int) -> Floats:
    """Noise of one slice (columns, rows), HU: correlated, stronger in the middle of the body."""
    rng = np.random.default_rng([p.seed, 100, k])
    sigma = NOISE_CORRELATION_MM / stack.spacing_mm
    white = rng.standard_normal(stack.shape[:2], dtype=np.float32)
    white = ndimage.gaussian_filter(white, sigma, mode="wrap") if sigma > 0.2 else white
    i, j = (np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in stack.shape[:2])
    radius = np.minimum(np.hypot(i[:, None], j[None, :]), 1.0)
    envelope = 1.0 - (1.0 - _NOISE_AT_EDGE) * radius**2
    return np.asarray(p.noise_hu * envelope * white / white.std(), np.float32)
