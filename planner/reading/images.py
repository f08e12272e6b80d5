"""Volumes in one file: NIfTI, NRRD and MetaImage, turned to patient LPS once and here.

These formats are read only where they state their geometry: NIfTI needs a valid sform or qform,
NRRD a named space with directions and origin, MetaImage a TransformMatrix, ElementSpacing and
Offset. None of them says that its values are HU, so that is checked: a CT has air below -500 HU and
bone above 150 HU.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Float, Grid
from planner.model.volume import CtSource, Volume
from planner.reading import limits
from planner.reading.fingerprint import fingerprint
from planner.reading.pixels import HIGHEST_HU, LOWEST_HU
from planner.reading.source import image_kind
from planner.reading.values import first_line
from planner.reading.volume_files import check_volume_file

LPS_FROM_RAS: Float = np.diag([-1.0, -1.0, 1.0])
LPS_FROM_LAS: Float = np.diag([1.0, -1.0, 1.0])
LPS_FROM_SPACE = {
    "left-posterior-superior": np.eye(3),
    "lps": np.eye(3),
    "right-anterior-superior": LPS_FROM_RAS,
    "ras": LPS_FROM_RAS,
    "left-anterior-superior": LPS_FROM_LAS,
    "las": LPS_FROM_LAS,
}
# sform and qform are stored in single precision and the qform as a quaternion: where both are
# given, corners may differ by this part of a voxel and no more.
FORM_TOLERANCE_VOXELS = 0.1
MM_UNITS = frozenset({"mm", "unknown"})
# MetaImage allows three names for each of these.
META_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
META_ORIGIN = ("Offset", "Position", "Origin")
META_HEADER_BYTES = 65536

READ_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    OSError,
    EOFError,
    RuntimeError,
    OverflowError,
    MemoryError,
    IndexError,
    zlib.error,
    nrrd.NRRDError,
    ImageFileError,
    HeaderDataError,
)


class _RefusalError(Exception):
    """What is wrong with a file and what to do, as the rest of a sentence about it."""


@dataclass(frozen=True)
class Image:
    """A volume as its file states it: stored values (I, J, K), grid and notes."""

    stored: NDArray[Any]
    grid: Grid
    slope: float = 1.0
    intercept: float = 0.0
    notes: tuple[str, ...] = ()


def read_image(path: Path, shown: str) -> Volume:
    """Read a NIfTI, NRRD or MetaImage volume.

    shown: what messages call the file. Raises UnsuitableCtError.
    """
    image = load_image(path, shown)
    problems = lattice_problems(image)
    if problems:
        raise UnsuitableCtError(f"{shown} cannot be planned on: {'; '.join(problems)}")
    values = to_hu(image)
    problems = value_problems(values)
    if problems:
        raise UnsuitableCtError(f"{shown} cannot be planned on: {'; '.join(problems)}")
    return Volume(
        values,
        image.grid,
        CtSource(
            kind=image_kind(path),
            sha256=fingerprint(values, image.grid),
            slice_thickness_mm=float(image.grid.spacing_mm.max()),
            choice="the only volume given",
        ),
        (*image.notes, *limits.size_notes(image.grid.spacing_mm)),
    )


def load_image(path: Path, shown: str) -> Image:
    """Open a volume and read its geometry; raises UnsuitableCtError where it states none."""
    loader = {"nifti": _load_nifti, "nrrd": _load_nrrd, "mha": _load_meta}[image_kind(path)]
    check_volume_file(path, shown)
    try:
        image = loader(path)
    except _RefusalError as refusal:
        raise UnsuitableCtError(f"{shown} {refusal}") from refusal.__cause__
    except READ_ERRORS as error:
        raise UnsuitableCtError(
            f"{shown} cannot be read ({first_line(error)}); copy it again"
        ) from (error)
    if too_large := limits.memory_problems(image.grid.shape):
        raise UnsuitableCtError(f"{shown} cannot be planned on: {too_large[0]}")
    return image


def lattice_problems(image: Image) -> list[str]:
    """Name what makes the lattice or the type of a volume unfit."""
    if image.stored.dtype.kind not in "iuf":
        return [f"its values are of type {image.stored.dtype}, HU are whole or real numbers"]
    grid = image.grid
    axis = limits.cranio_caudal_axis(grid.direction)
    return limits.size_problems(grid.shape, grid.spacing_mm, grid.direction, axis)


def value_problems(values: NDArray[np.int16]) -> list[str]:
    """Tell whether values can be HU at all."""
    low, high = int(values.min()), int(values.max())
    if low <= limits.AIR_HU and high >= limits.BONE_HU:
        return []
    return [
        f"its values run from {low} to {high} and are not HU: a CT has air below {limits.AIR_HU} "
        f"and bone above {limits.BONE_HU}; give the volume in HU, not normalised, windowed or a "
        "label map, and with the air around the patient"
    ]


def to_hu(image: Image) -> NDArray[np.int16]:
    """Scale, round and clip plane by plane into one int16 array; NaN becomes air."""
    values = np.empty(image.grid.shape, np.int16, order="F")
    for k in range(values.shape[2]):
        plane = image.stored[:, :, k]
        if image.slope != 1.0 or image.intercept != 0.0 or plane.dtype.kind == "f":
            plane = np.asarray(plane, np.float64) * image.slope + image.intercept
            plane = np.rint(np.nan_to_num(plane, nan=LOWEST_HU))
        values[:, :, k] = np.clip(plane, LOWEST_HU, HIGHEST_HU)
    return values


class _UnitQuaternion:
    """Takes a quaternion that rounding made longer than 1 for a half turn, as NIfTI's library does.

    nibabel refuses it, even where a valid sform stands beside it.
    """

    def get_qform_quaternion(self: Any) -> Float:
        try:
            quaternion: Float = super().get_qform_quaternion()  # type: ignore[misc]
            return quaternion
        except ValueError:
            imaginary = np.array([float(self[f"quatern_{axis}"]) for axis in "bcd"])
            return np.asarray([0.0, *imaginary / np.linalg.norm(imaginary)])


class _Header1(_UnitQuaternion, nibabel.Nifti1Header):  # type: ignore[misc]
    pass


class _Header2(_UnitQuaternion, nibabel.Nifti2Header):  # type: ignore[misc]
    pass


class _Nifti1(nibabel.Nifti1Image):  # type: ignore[misc]
    header_class = _Header1


class _Nifti2(nibabel.Nifti2Image):  # type: ignore[misc]
    header_class = _Header2


def _load_nifti(path: Path) -> Image:
    kinds = [each for each in (_Nifti1, _Nifti2) if each.path_maybe_image(path)[0]]
    if not kinds:
        raise _refused("is no NIfTI file", "give NIfTI-1 or NIfTI-2")
    image = kinds[0].from_filename(path)
    shape = image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise _refused(f"has the shape {shape}", "give one volume of three dimensions")
    unit = image.header.get_xyzt_units()[0]
    if unit not in MM_UNITS:
        raise _refused(f"measures in {unit}", "give it in mm")
    sform, sform_code = image.header.get_sform(coded=True)
    qform, qform_code = image.header.get_qform(coded=True)
    if not sform_code and not qform_code:
        raise _refused(
            "has neither an sform nor a qform (both codes are 0), so left and right are unknown",
            "convert the original DICOM again",
        )
    affine = np.asarray(sform if sform_code else qform, float)
    if sform_code and qform_code:
        _compare_forms(affine, np.asarray(qform, float), shape[:3])
    affine = affine.copy()
    affine[:3] = LPS_FROM_RAS @ affine[:3]
    grid = _grid(shape[:3], affine)
    stored = np.asanyarray(image.dataobj.get_unscaled()).reshape(grid.shape)
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    return Image(stored, grid, float(slope), float(intercept))


def _compare_forms(sform: Float, qform: Float, shape: tuple[int, ...]) -> None:
    top = np.array(shape) - 1
    corners = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)]) * top
    away = (corners @ (sform - qform)[:3, :3].T) + (sform - qform)[:3, 3]
    voxel = float(np.linalg.norm(sform[:3, :3], axis=0).min())
    furthest = float(np.linalg.norm(away, axis=1).max())
    if not furthest <= FORM_TOLERANCE_VOXELS * voxel:
        raise _refused(
            f"states two places that differ by up to {furthest:.1f} mm (sform and qform)",
            "convert the original DICOM again",
        )


def _load_nrrd(path: Path) -> Image:
    header = nrrd.read_header(str(path))
    if any(str(key).startswith("Segment0") for key in header):
        raise _refused("is a segmentation", "give the CT itself")
    space = str(header.get("space", "")).lower()
    if space not in LPS_FROM_SPACE:
        raise _refused(
            f"names the space {space!r}" if space else "names no space",
            "a space of left-posterior-superior, right-anterior-superior or "
            "left-anterior-superior is needed to tell left from right",
        )
    directions, origin = header.get("space directions"), header.get("space origin")
    if directions is None or origin is None or len(header["sizes"]) != 3:
        raise _refused(
            "lacks space directions, a space origin or three dimensions",
            "save it as one volume with its geometry",
        )
    units = {str(u) for u in header.get("space units", [])}
    if units - {"mm", ""}:
        raise _refused(f"measures in {', '.join(sorted(units))}", "give it in mm")
    affine = np.eye(4)
    affine[:3, :3] = LPS_FROM_SPACE[space] @ np.asarray(directions, float).T
    affine[:3, 3] = LPS_FROM_SPACE[space] @ np.asarray(origin, float)
    grid = _grid(tuple(header["sizes"]), affine)
    stored, _ = nrrd.read(str(path), index_order="F")
    return Image(stored, grid)


def _load_meta(path: Path) -> Image:
    with path.open("rb") as stream:
        lines = stream.read(META_HEADER_BYTES).split(b"ElementDataFile")[0]
    keys = {line.split(b"=")[0].strip().decode("ascii", "replace") for line in lines.splitlines()}
    missing = [
        names[0]
        for names in (META_DIRECTION, ("ElementSpacing",), META_ORIGIN)
        if not keys & set(names)
    ]
    if missing:
        raise _refused(
            f"lacks {', '.join(missing)} in its header, so left, right or sizes are unknown",
            "save it with its geometry",
        )
    image = sitk.ReadImage(str(path))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise _refused("is not a volume of one value per voxel", "give the CT itself")
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    grid = _grid(image.GetSize(), affine)
    return Image(sitk.GetArrayFromImage(image).T, grid)


def _grid(shape: tuple[int, ...], affine: Float) -> Grid:
    try:
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    except ValueError as error:
        raise _refused(
            f"has an unusable geometry ({error})", "convert the original DICOM again"
        ) from error


def _refused(what: str, do: str) -> _RefusalError:
    return _RefusalError(f"{what}; {do}")
