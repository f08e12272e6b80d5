"""Independent checks that the anatomy agrees with the patient frame and with itself.

A patient may lie in any way and a grid may be stored in any way; patient LPS stays patient LPS. So
the bones themselves tell whether the coordinates are right: the labels' left must be LPS left, the
canal must lie behind the bodies, the pelvic surface must be hollow towards the belly and the
endplate must be up.

What cannot be told: a volume that is mirrored left to right, by a wrong header or a lost sign,
shows a perfectly possible sacrum. Nothing in the bones gives it away, and nothing here does.
"""

from __future__ import annotations

import numpy as np

from planner.anatomy.endplate import Endplate
from planner.anatomy.material import Material
from planner.anatomy.midplane import Midplane
from planner.errors import UnsuitableCtError, UntrustedAnatomyError
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import SacralFrame

LEAST_LEFT = 0.5
"""Cosine between the sacrum's left and LPS left: 60 degrees of yaw or roll; scans stay
within 30."""
LEAST_BACK_UP = -0.2
"""Cosines of y with LPS posterior and z with LPS superior. The endplate leans 24 to 55 degrees
forward and a pelvis on a cushion may add 30; more than 100 degrees are a wrong axis."""
LEAST_HOLLOW_MM = 2.0
"""Sacra are hollow towards the belly by 10 to 25 mm; flat ones still by some."""
STRIP_MM = 12.0
"""Half width of the middle strip in which front and back are compared."""
PROMONTORY_MM = (-12.0, 8.0)
"""Height of the promontory over the endplate's plane; the rim stands 1 to 3 mm off it."""
CANAL_TOP_MM = (-32.0, 30.0)
"""Height of the canal label's top over the endplate's plane: one level off (about 30 mm)
is wrong."""


def check_left(midplane: Midplane) -> None:
    """Raise UntrustedAnatomyError when the labels' left is not the patient's left."""
    cosine = float(midplane.left[0])
    if cosine < LEAST_LEFT:
        raise UntrustedAnatomyError(
            f"the foramina labelled left lie along {np.round(midplane.left, 2)} (LPS) from those "
            f"labelled right; the patient's left is +x and at least {LEAST_LEFT} of it is expected:"
            " sides are swapped in the label map, or the patient lies askew. Check both."
        )


def check_course(material: Material, midplane: Midplane, canal_axis: Float) -> None:
    """Check up and back before any landmark is looked for; they would be looked for in vain.

    canal_axis: (N, 3) from cranial to caudal, patient LPS, mm.
    Raises UnsuitableCtError when the canal runs upwards, or in front of the bodies.
    """
    up = canal_axis[0] - canal_axis[-1]
    up = up - (up @ midplane.left) * midplane.left
    up /= np.linalg.norm(up)
    faults = []
    if up[2] < LEAST_BACK_UP:
        faults.append(f"the sacrum's upper end points to {np.round(up, 2)}, cranial is +z")
    back = np.cross(up, midplane.left)
    strip = material.vertices[np.abs(midplane.lateral(material.vertices)) < STRIP_MM]
    along = (strip - canal_axis[-1]) @ up
    beside = strip[(along > 0) & (along < (canal_axis[0] - canal_axis[-1]) @ up)]
    # front and back cortex: the canal lies nearer to the back, the bodies are the thicker part
    course = float(np.mean(canal_axis @ back))
    low, high = np.percentile(beside @ back, [5.0, 95.0]) if len(beside) else (-np.inf, course)
    if course - low < high - course:
        faults.append("the canal runs in front of the bodies instead of behind them")
    _refuse(faults)


def check_orientation(frame: SacralFrame, axis: Float, canal_axis: Float) -> None:
    """Check the sacral frame against the coordinate frame and the bones against both.

    axis, canal_axis: (N, 3) from cranial to caudal, patient LPS, mm.
    Raises UnsuitableCtError when they contradict one another, as in a volume that is mirrored
    front to back or upside down. A left-right mirrored volume cannot be told from anatomy.
    """
    faults = []
    x, y, z = frame.axes.T
    if x[0] < LEAST_LEFT:
        faults.append(f"the sacrum's left points to {np.round(x, 2)}, the patient's left is +x")
    if z[2] < LEAST_BACK_UP:
        faults.append(f"the S1 endplate faces {np.round(z, 2)}, cranial is +z")
    if y[1] < LEAST_BACK_UP:
        faults.append(f"the sacrum's back points to {np.round(y, 2)}, the patient's back is +y")
    bodies, canal = frame.to_sacrum(axis), frame.to_sacrum(canal_axis)
    top = float(canal[: max(len(canal) // 3, 1), 1].mean())
    if top <= 0:
        faults.append(f"the canal runs {-top:.0f} mm in front of the S1 body instead of behind it")
    hollow = _hollow(bodies)
    if hollow < LEAST_HOLLOW_MM:
        faults.append(
            f"the sacrum is hollow by {hollow:.0f} mm towards the belly, at least "
            f"{LEAST_HOLLOW_MM:.0f} mm are expected"
        )
    _refuse(faults)


def _refuse(faults: list[str]) -> None:
    if faults:
        raise UnsuitableCtError(
            "the bones contradict the scan's coordinate frame: " + "; ".join(faults) + ". The "
            "volume may be mirrored front to back, upside down or wrongly labelled. Check the "
            "image's orientation against its source; nothing is turned round silently."
        )


def _hollow(bodies: Float) -> float:
    """Greatest depth (mm) of the bodies' curve behind the chord of its ends, sacral frame."""
    start, end = bodies[0, 1:], bodies[-1, 1:]
    chord = (end - start) / np.linalg.norm(end - start)
    behind = np.array([-chord[1], chord[0]])  # down the chord, this is posterior
    depth = (bodies[:, 1:] - start) @ behind
    return float(depth[np.abs(depth).argmax()])


def check_endplate(
    material: Material, frame: SacralFrame, endplate: Endplate, canal_axis: Float
) -> tuple[str, ...]:
    """Compare the endplate with the promontory and the canal's top; returns warnings.

    Raises UntrustedAnatomyError when it lies about one level away from the canal's top.
    """
    top = float((canal_axis[0] - endplate.centre) @ endplate.normal)
    if not CANAL_TOP_MM[0] < top < CANAL_TOP_MM[1]:
        raise UntrustedAnatomyError(
            f"the canal's top lies {top:.0f} mm over the S1 endplate, expected "
            f"{CANAL_TOP_MM[0]:.0f} to {CANAL_TOP_MM[1]:.0f} mm: one of the two is on another "
            "level. Check the segmentation."
        )
    height = promontory(material, frame)[2]
    if not PROMONTORY_MM[0] < height < PROMONTORY_MM[1]:
        return (
            f"the promontory lies {height:.0f} mm over the plane of the S1 endplate, expected "
            f"{PROMONTORY_MM[0]:.0f} to {PROMONTORY_MM[1]:.0f} mm: check the endplate",
        )
    return ()


def promontory(material: Material, frame: SacralFrame) -> Float:
    """(3,) foremost upper corner of the S1 body in the midplane, sacral frame, mm."""
    y, z = np.meshgrid(np.arange(-40.0, 15.0, 0.5), np.arange(-25.0, 20.0, 0.5), indexing="ij")
    flat = np.column_stack([np.zeros(y.size), y.ravel(), z.ravel()])
    solid = sample(material.field, material.grid, frame.to_patient(flat), 1.0) < 0
    if not solid.any():
        return np.zeros(3)
    corner = flat[solid]
    return np.asarray(corner[int((corner[:, 2] - corner[:, 1]).argmax())])
