"""Independent checks that the anatomy agrees with the patient frame and with itself.

A patient may lie in any way and a grid may be stored in any way; patient LPS stays patient LPS. So
the bones themselves tell whether the coordinates are right: the labels' left must be LPS left, the
canal must lie behind the bodies, the pelvic surface must be hollow towards the belly and the
endplate must be up.

What cannot be told: a volume that is mirrored left to right, by a wrong header or a lost sign,
shows a perfectly possible sacrum. Nothing in the bones gives it away, and nothing here does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from planner.anatomy.endplate import Endplate
from planner.anatomy.material import Material
from planner.anatomy.midplane import Midplane
from planner.errors import UnsuitableCtError, UntrustedAnatomyError
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import SacralFrame

SLOPE_DEG = 39.0
"""Sacral slope of a body that lies straight: 39, SD 8, in n=709."""
ASKEW_DEG, LARGEST_TURN_DEG = 60.0, 120.0
"""Turn about the long axis from which the scan's letters do not fit the body, and from which left
and right would rest on a header that the body contradicts. Of 19 people scanned on their backs none
was turned by more than 27."""
LARGEST_TILT_DEG = 75.0
"""Angle between the body's long axis and LPS superior: 45 of pitch with 30 of roll are 52, a slope
departs from its mean by 20."""
LEAST_LEFT = float(np.cos(np.deg2rad(LARGEST_TURN_DEG)))
"""Cosine between the labels' left and LPS left from which sides are taken for swapped."""
LEAST_HOLLOW_MM = 2.0
"""Sacra are hollow towards the belly by 10 to 25 mm; flat ones still by some."""
STRIP_MM = 12.0
"""Half width of the middle strip in which front and back are compared."""
PROMONTORY_MM = (-12.0, 8.0)
"""Height of the promontory over the endplate's plane; the rim stands 1 to 3 mm off it."""
CANAL_TOP_MM = (-32.0, 30.0)
"""Height of the canal label's top over the endplate's plane: one level off (about 30 mm)
is wrong."""


@dataclass(frozen=True)
class Lie:
    """How a body lies in patient LPS.

    yaw_deg: turn about the long axis that takes LPS left to the body's left, as far as both lie in
    the axial plane; positive towards the back, -180 to 180. tilt_deg: angle between the body's long
    axis and LPS superior, 0 to 180.
    """

    yaw_deg: float
    tilt_deg: float


def lie_of(turn: Float) -> Lie:
    """Tell how a body lies.

    turn: (3, 3) columns: the body's left, back and up in patient LPS.
    """
    left, _, up = turn.T
    yaw = np.degrees(np.arctan2(left[1], left[0]))
    return Lie(float(yaw), float(np.degrees(np.arccos(np.clip(up[2], -1.0, 1.0)))))


def body_axes(frame: SacralFrame) -> Float:
    """(3, 3) columns: the body's left, back and up in patient LPS, from its sacrum."""
    straight = Rotation.from_euler("x", -SLOPE_DEG, degrees=True).as_matrix()
    return np.asarray(frame.axes @ straight)


def is_possible(turn: Float) -> bool:
    """Tell whether a header may show a body that lies so; turn: as for lie_of."""
    lie = lie_of(turn)
    return lie.tilt_deg <= LARGEST_TILT_DEG and abs(lie.yaw_deg) <= LARGEST_TURN_DEG


def check_lie(turn: Float) -> tuple[str, ...]:
    """Warn where the scan's letters do not fit how the body lies.

    turn: as for lie_of. Raises UnsuitableCtError where the header cannot be right.
    """
    lie = lie_of(turn)
    how_to = (
        "Check how the patient lay and how the image was converted; state the true position in the "
        "scan's header (ImageOrientationPatient and ImagePositionPatient in DICOM, the affine in "
        "NIfTI) by exporting it again from the original, and plan on that. Nothing is turned round "
        "silently: left and right rest on it."
    )
    if lie.tilt_deg > LARGEST_TILT_DEG:
        words = "upside down" if lie.tilt_deg > 180.0 - LARGEST_TILT_DEG else "across"
        raise UnsuitableCtError(
            f"the body lies {words} in the scan's coordinates: its head end points "
            f"{lie.tilt_deg:.0f} degrees away from the superior end that the header states, at "
            f"most {LARGEST_TILT_DEG:.0f} are expected. {how_to}"
        )
    if abs(lie.yaw_deg) > LARGEST_TURN_DEG:
        raise UnsuitableCtError(
            f"the body lies front to back in the scan's coordinates: it is turned by "
            f"{abs(lie.yaw_deg):.0f} degrees about its long axis against what the header states, "
            f"at most {LARGEST_TURN_DEG:.0f} are expected; a turn or a mirroring would look like "
            f"this. {how_to}"
        )
    if abs(lie.yaw_deg) > ASKEW_DEG:
        return (
            f"the body lies on its side: it is turned by {abs(lie.yaw_deg):.0f} degrees about its "
            "long axis against what the scan's header states. The letters L, R, A and P of the "
            "scan do not fit the body; left and right in this plan are the body's own. Check the "
            "side before anything else.",
        )
    return ()


def check_left(midplane: Midplane) -> None:
    """Raise UntrustedAnatomyError when the labels' left is not the patient's left."""
    cosine = float(midplane.left[0])
    if cosine < LEAST_LEFT:
        raise UntrustedAnatomyError(
            f"the foramina labelled left lie along {np.round(midplane.left, 2)} (LPS) from those "
            f"labelled right; the patient's left is +x: sides are swapped in the label map, or the "
            "scan's header does not state how the patient lay. Check both."
        )


def check_course(material: Material, midplane: Midplane, canal_axis: Float) -> None:
    """Check front and back before any landmark is looked for; they would be looked for in vain.

    canal_axis: (N, 3) from cranial to caudal, patient LPS, mm.
    Raises UnsuitableCtError when the canal runs in front of the bodies.
    """
    up = canal_axis[0] - canal_axis[-1]
    up = up - (up @ midplane.left) * midplane.left
    up /= np.linalg.norm(up)
    faults = []
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


def check_orientation(frame: SacralFrame, axis: Float, canal_axis: Float) -> tuple[str, ...]:
    """Check the bones against one another and against the coordinate frame; returns warnings.

    axis, canal_axis: (N, 3) from cranial to caudal, patient LPS, mm.
    Raises UnsuitableCtError when they contradict one another, as in a volume that is mirrored
    front to back or upside down. A left-right mirrored volume cannot be told from anatomy.
    """
    faults = []
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
    return check_lie(body_axes(frame))


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
