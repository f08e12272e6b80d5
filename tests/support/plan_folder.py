"""A plan folder with a CT beside it, made in seconds: the toy pelvis and two needles of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from planner import scoring
from planner.anatomy import derive_anatomy
from planner.export import segmentation_nrrd
from planner.export.plan_json import FILE_NAME, write_plan_json
from planner.geometry.sampling import to_sitk
from planner.model.configuration import Configuration
from planner.model.plan import Plan
from planner.pipeline.needle import own_needle
from planner.pipeline.plan import provenance
from planner.reading import read_ct
from tests.support import toy
from tests.support.dicom_ct import write_ct

# Behind the bone and in it, in the toy's sacral frame.
NEEDLES = {
    "short_axis-left-1": ((36.0, 60.0, -24.0), (36.0, 12.0, -24.0)),
    "short_axis-right-1": ((-36.0, 60.0, -24.0), (-36.0, 12.0, -24.0)),
}


def write_toy_plan(folder: Path, dicom: bool = False) -> tuple[Path, Path]:
    """Write `plan` and its CT, `ct.nrrd` or a DICOM folder `ct`, into a folder; returns both."""
    frame = toy.patient_frame(yaw_deg=4.0)
    labels, grid, _ = toy.toy_labels("straight", (1.2, 1.2, 1.5), yaw_deg=4.0)
    bone = (labels > 0) & (labels <= 1)
    values = np.where(bone, 300, 40).astype(np.int16)
    values[:, -4:, :] = -1000  # air behind the back
    values[:, :, :2] = -1000
    if dicom:
        ct = write_ct(values, grid, folder / "ct")
    else:
        ct = folder / "ct.nrrd"
        sitk.WriteImage(to_sitk(values, grid), str(ct))
    volume = read_ct(ct)
    anatomy = derive_anatomy(labels, volume.grid, source="provided", confidences={})
    configuration = Configuration()
    items = []
    for rank, (name, ends) in enumerate(NEEDLES.items(), 1):
        points = [np.round(frame.to_patient(end), 3) for end in ends]
        path, _ = own_needle(anatomy, volume, *points, configuration.needle)
        path = replace(path, bone_entry=np.round(path.bone_entry, 3), tip=np.round(path.tip, 3))
        found = scoring.measure(path, anatomy, volume, configuration)
        items.append(replace(found, id=name, rank=rank))
    ranked = tuple(items)
    plan = Plan(
        ct=volume.source,
        ct_grid=volume.grid,
        anatomy=anatomy,
        trajectories=ranked,
        rejections={},
        configuration=configuration,
        pairs=scoring.find_pairs(ranked, anatomy.frame, configuration),
        guidance=scoring.guide(ranked, anatomy, volume.grid, configuration),
        provenance=provenance(),
    )
    target = folder / "plan"
    target.mkdir()
    write_plan_json(plan, target / FILE_NAME)
    segmentation_nrrd.write_anatomy(anatomy, target / segmentation_nrrd.FILE_NAME)
    return target, ct
