"""Make a phantom: patient, truth and scan in one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Grid
from planner.model.volume import CtSource, Volume
from planner.phantom.anatomy import PhantomAnatomy
from planner.phantom.ct import Stack, scan, stack_of, upright_grid
from planner.phantom.dicom import NOTICE, frame_of_reference_uid, series_uid, uid
from planner.phantom.parameters import PhantomParameters
from planner.phantom.scene import Scene
from planner.phantom.truth import PhantomTruth


@dataclass(frozen=True, eq=False)
class Phantom:
    """A phantom with its scan.

    volume: HU on an upright grid, int16; truth: on the same grid. stack and pixels: what the
    scanner took, (columns, rows, slices), which is the volume itself unless the gantry was tilted.
    """

    volume: Volume
    truth: PhantomTruth
    parameters: PhantomParameters
    stack: Stack
    pixels: NDArray[np.int16]


def make_phantom(parameters: PhantomParameters) -> Phantom:
    """Build the patient, work out the truth and scan it; the same parameters give the same HU.

    Raises ValueError listing every implausible parameter.
    """
    parameters.validate()
    anatomy = PhantomAnatomy(parameters)
    grid = upright_grid(anatomy, frame_of_reference_uid(parameters))
    stack = stack_of(grid, parameters)
    corners = np.concatenate([grid.corners(), _corners(stack)])
    scene = Scene.build(anatomy, corners)
    pixels = scan(scene, stack)
    pixels.setflags(write=False)
    values = pixels
    if parameters.gantry_tilt_deg != 0:
        values = scan(scene, upright_stack(grid, parameters))
    source = _source(values, grid, parameters, series_uid(parameters, pixels))
    truth = PhantomTruth.of(anatomy, grid)
    return Phantom(Volume(values, grid, source), truth, parameters, stack, pixels)


def upright_stack(grid: Grid, parameters: PhantomParameters) -> Stack:
    """Return the slices of a grid without tilt."""
    return Stack(
        shape=grid.shape,
        row=grid.direction[:, 0],
        column=grid.direction[:, 1],
        first=grid.origin,
        step=grid.patient_from_ijk[:3, 2].copy(),
        spacing_mm=parameters.spacing_mm,
        thickness_mm=parameters.slice_thickness_mm,
        tilt_deg=0.0,
    )


def _corners(stack: Stack) -> NDArray[np.float64]:
    """(8, 3) corner pixel centres of a stack, patient LPS, mm."""
    top = np.array(stack.shape) - 1
    bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
    affine = stack.patient_from_ijk
    return np.asarray((bits * top) @ affine[:3, :3].T + affine[:3, 3])


def _source(
    values: NDArray[np.int16], grid: Grid, parameters: PhantomParameters, series: str
) -> CtSource:
    digest = hashlib.sha256(values.tobytes() + grid.patient_from_ijk.tobytes()).hexdigest()
    return CtSource(
        kind="phantom",
        sha256=digest,
        study_instance_uid=uid(parameters.digest, "study"),
        series_instance_uid=series,
        series_description=NOTICE,
        convolution_kernel=f"PSF{parameters.psf_mm:g}",
        patient_position="HFS" if parameters.patient_position == "supine" else "HFP",
        slice_thickness_mm=parameters.slice_thickness_mm,
        choice="made, not read",
    )
