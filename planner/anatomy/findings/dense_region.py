"""Cement or a dense lesion inside the sacrum's cancellous bone.

A dense region is compact, lies deeper below every border than cortex and endplates reach, and
stands out of this patient's own bone: above both DENSE_HU and the patient's cancellous mean by
DEVIATIONS standard deviations. Untreated osteoblastic metastases average about 700 to 900 HU and
bone islands above 900 (Ulano 2016, AJR 207:362), cement 1000 to 2500 HU.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from planner.anatomy.findings.hardware import METAL_HU
from planner.anatomy.findings.view import View, segment_name, side_name, view_of
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy
from planner.model.finding import Finding
from planner.model.volume import Volume

DENSE_HU = 500.0
DEVIATIONS = 5.0
DEPTH_MM = 4.0
"""Cortex measures 1 to 2 mm, the laminae up to 3 mm; blur and label errors add 1 mm."""
BEHIND_MM = 6.0
"""Bone further back than the canal's floor by this is arch: its laminae meet in dense bone."""
SMALLEST_MM3 = 150.0
"""A ball of 6.6 mm; deeper than DEPTH_MM."""
CEMENT_HU = 1000.0


def find_dense_region(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Tell every dense region in cancellous bone, the largest first."""
    view = view_of(anatomy, volume)
    deep = (view.depth > DEPTH_MM) & ~_arch(view)
    values = view.hu[deep]
    if values.size < 1000:
        return ()
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    limit = max(DENSE_HU, median + DEVIATIONS * spread)
    parts, count = ndimage.label(deep & (view.hu > limit))
    if count == 0:
        return ()
    sizes = np.bincount(parts.ravel()) * view.voxel_mm3
    large = [n for n in range(1, count + 1) if sizes[n] >= SMALLEST_MM3]
    found = []
    for number in sorted(large, key=lambda n: -sizes[n]):
        mask = parts == number
        mean = float(view.hu[mask].mean())
        if mean < METAL_HU:
            points = anatomy.frame.to_patient(view.points(mask))
            found.append(_finding(anatomy, points, float(sizes[number]), mean, median))
    return tuple(found)


def _arch(view: View) -> np.ndarray:
    """(I, J, K) whether a point lies behind the canal's centreline at its height."""
    line = view.anatomy.frame.to_sacrum(view.anatomy.canal_axis)
    order = np.argsort(line[:, 2])
    back = np.interp(view.axes[2].ravel(), line[order, 2], line[order, 1])
    return np.asarray(view.axes[1] > back[None, None, :] + BEHIND_MM)


def _finding(
    anatomy: Anatomy, points: Float, volume_mm3: float, mean: float, median: float
) -> Finding:
    likely = "cement of an earlier treatment or a" if mean > CEMENT_HU else "a"
    centre = anatomy.frame.to_sacrum(points.mean(axis=0))
    where = f"{side_name(anatomy, points)}, {segment_name(anatomy, points)}"
    return Finding(
        "dense_region",
        f"dense region inside the sacrum, {where}: {volume_mm3:.0f} mm3 (counted deeper than "
        f"{DEPTH_MM:.0f} mm) of {mean:.0f} HU on average, where this patient's cancellous bone has "
        f"{median:.0f} HU. It may be {likely} dense (osteoblastic) lesion; cement flows "
        "differently there.",
        measures={
            "volume_mm3": volume_mm3,
            "mean_hu": mean,
            "cancellous_median_hu": median,
            "x_sacrum_mm": centre[0],
            "y_sacrum_mm": centre[1],
            "z_sacrum_mm": centre[2],
        },
    )
