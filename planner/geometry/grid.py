"""The lattice of a volume, without its voxels.

Conventions: patient LPS, millimetres, float64. An array on a grid is indexed ``[i, j, k]``: i runs
along a row of the image (DICOM columns), j down its rows, k through the slices. An integer index is
a voxel centre; the grid covers [-0.5, n - 0.5] on every axis. The affine is named
``patient_from_ijk`` so that ``patient_from_ijk @ point_ijk`` cancels. Left-handed and oblique grids
are legal; sheared ones are not, they are resampled when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

IDENTITY: Float = np.eye(3)
IDENTITY.setflags(write=False)

# Columns of a direction matrix may deviate from orthogonality by this cosine: DICOM stores six to
# ten digits of the image orientation, which leaves rounding of 1e-4 at worst.
ORTHOGONALITY_TOLERANCE = 1e-3
# Two grids are the same when no voxel centre differs by more than this fraction of a voxel.
SAME_GRID_TOLERANCE_VOXELS = 0.01


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape, affine and frame of reference of a volume.

    shape: voxels along i, j, k.
    patient_from_ijk: (4, 4), index to patient LPS, mm.
    frame_of_reference_uid: the DICOM frame of reference; empty where the source knows none.
    Raises ValueError for a degenerate or sheared affine.
    """

    shape: tuple[int, int, int]
    patient_from_ijk: Float
    frame_of_reference_uid: str = ""
    ijk_from_patient: Float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        affine = np.array(self.patient_from_ijk, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(f"patient_from_ijk must be a finite (4, 4) matrix, got {affine!r}")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise ValueError(f"patient_from_ijk must end in the row 0 0 0 1, got {affine[3]}")
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape must be three positive sizes, got {self.shape!r}")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() < 1e-6:
            raise ValueError(f"voxel spacing must be positive, got {spacing} mm")
        cosines = (affine[:3, :3] / spacing).T @ (affine[:3, :3] / spacing) - np.eye(3)
        if np.abs(cosines).max() > ORTHOGONALITY_TOLERANCE:
            raise ValueError(
                "the axes of a grid must be orthogonal (a tilted stack is resampled when read); "
                f"the largest cosine between two axes is {np.abs(cosines).max():.4f}"
            )
        affine.setflags(write=False)
        inverse = np.linalg.inv(affine)
        inverse.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "patient_from_ijk", affine)
        object.__setattr__(self, "ijk_from_patient", inverse)

    @classmethod
    def from_axes(
        cls,
        shape: tuple[int, int, int],
        origin: ArrayLike,
        spacing_mm: ArrayLike,
        direction: ArrayLike = IDENTITY,
        frame_of_reference_uid: str = "",
    ) -> Grid:
        """Build a grid from its first voxel centre, spacing (mm) and direction columns (3, 3)."""
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(direction, float) * np.asarray(spacing_mm, float)
        affine[:3, 3] = np.asarray(origin, float)
        return cls(shape, affine, frame_of_reference_uid)

    @property
    def spacing_mm(self) -> Float:
        """(3,) distance between voxel centres along i, j, k."""
        return np.asarray(np.linalg.norm(self.patient_from_ijk[:3, :3], axis=0))

    @property
    def direction(self) -> Float:
        """(3, 3) unit vectors of i, j, k in patient LPS, as columns."""
        return np.asarray(self.patient_from_ijk[:3, :3] / self.spacing_mm)

    @property
    def origin(self) -> Float:
        """(3,) centre of voxel (0, 0, 0), patient LPS, mm."""
        return np.asarray(self.patient_from_ijk[:3, 3])

    def to_patient(self, points_ijk: ArrayLike) -> Float:
        """Map (..., 3) indices to patient LPS, mm."""
        return np.asarray(points_ijk, float) @ self.patient_from_ijk[:3, :3].T + self.origin

    def to_ijk(self, points: ArrayLike) -> Float:
        """Map (..., 3) patient LPS points, mm, to continuous indices."""
        inverse = self.ijk_from_patient
        return np.asarray(points, float) @ inverse[:3, :3].T + inverse[:3, 3]

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Tell for (..., 3) patient points whether they lie inside the voxels."""
        ijk = self.to_ijk(points)
        return np.asarray(((ijk >= -0.5) & (ijk <= np.array(self.shape) - 0.5)).all(axis=-1))

    def corners(self) -> Float:
        """(8, 3) centres of the corner voxels, patient LPS, mm."""
        top = np.array(self.shape) - 1
        bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
        return self.to_patient(bits * top)

    def crop(self, start_ijk: ArrayLike, stop_ijk: ArrayLike) -> Grid:
        """Cut to the half-open index box [start, stop)."""
        start, stop = np.asarray(start_ijk, int), np.asarray(stop_ijk, int)
        if (start < 0).any() or (stop > np.array(self.shape)).any() or (stop <= start).any():
            raise ValueError(f"crop [{start}, {stop}) does not fit into shape {self.shape}")
        affine = self.patient_from_ijk.copy()
        affine[:3, 3] = self.to_patient(start)
        size = stop - start
        return Grid((int(size[0]), int(size[1]), int(size[2])), affine, self.frame_of_reference_uid)

    def subdivide(self, factors: tuple[int, int, int]) -> Grid:
        """Split every voxel into factors parts per axis; the covered box stays the same."""
        parts = np.asarray(factors, int)
        if (parts < 1).any():
            raise ValueError(f"factors must be at least 1, got {factors}")
        affine = self.patient_from_ijk.copy()
        affine[:3, :3] = affine[:3, :3] / parts
        affine[:3, 3] = self.to_patient((1.0 / parts - 1.0) / 2.0)
        size = np.array(self.shape) * parts
        return Grid((int(size[0]), int(size[1]), int(size[2])), affine, self.frame_of_reference_uid)

    def turned(self, rotation: ArrayLike) -> Grid:
        """The lattice in coordinates turned by a (3, 3) rotation; frame of reference left out.

        rotation: takes patient LPS to the new coordinates, about the patient's origin.
        """
        affine = np.eye(4)
        affine[:3] = np.asarray(rotation, float) @ self.patient_from_ijk[:3]
        return Grid(self.shape, affine)

    def same_as(self, other: Grid) -> bool:
        """Compare shape, frame of reference and the place of every corner voxel."""
        if self.shape != other.shape:
            return False
        frames = {self.frame_of_reference_uid, other.frame_of_reference_uid}
        if len(frames) == 2 and "" not in frames:
            return False
        tolerance = SAME_GRID_TOLERANCE_VOXELS * float(self.spacing_mm.min())
        return bool(np.abs(self.corners() - other.corners()).max() <= tolerance)

    @classmethod
    def around(
        cls,
        points: ArrayLike,
        spacing_mm: float,
        margin_mm: float = 0.0,
        direction: ArrayLike = IDENTITY,
        frame_of_reference_uid: str = "",
    ) -> Grid:
        """Build the isotropic grid that covers (N, 3) patient points and a margin."""
        axes = np.asarray(direction, float)
        local = np.asarray(points, float) @ axes
        low, high = local.min(axis=0) - margin_mm, local.max(axis=0) + margin_mm
        size = np.ceil((high - low) / spacing_mm).astype(int) + 1
        return cls.from_axes(
            (int(size[0]), int(size[1]), int(size[2])),
            axes @ low,
            (spacing_mm,) * 3,
            axes,
            frame_of_reference_uid,
        )
