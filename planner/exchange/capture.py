"""dicom-sc: pictures of the plan as Secondary Capture, one image per file, for any viewer.

Pictures are 8-bit RGB, as the overview and the report have them, and each carries the disclaimer.
They have no place in the patient: planes run along needles, not along slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from planner.exchange.dicom import BODY_PART, PLANNED, burned_in, day_and_time, new_series, save
from planner.exchange.handover import Handover
from planner.export.disclaimer import DISCLAIMER
from planner.export.overview.page import draw_overview
from planner.export.overview.slices import INK, SHADE, cut_masks
from planner.export.overview.table import technique_words
from planner.export.plan_document import TrajectoryObject
from planner.export.plan_reading import scored_of
from planner.export.report.pictures import slice_figure
from planner.export.report.review import planned_ends, review_mark
from planner.model.trajectory import Technique

NAME = "dicom-sc"
AMBER = "#ffb454"
BAND_IN = 0.42

Picture = NDArray[np.uint8]
"""(rows, columns, 3) red, green, blue; row 0 is the highest."""


def pictures(handover: Handover, path: Path) -> None:
    """Make a folder of one series: the overview, then each path by rank.

    Raises ConfigurationError where the CT does not name its study.
    """
    series = new_series(handover, NAME, "OT", "key pictures")
    path.mkdir()
    for number, (name, says, picture) in enumerate(draw(handover), 1):
        made = _image(series, handover, picture)
        made.SOPInstanceUID = handover.uid(NAME, "instance", name)
        made.InstanceNumber = number
        made.ImageComments = f"{says}. {DISCLAIMER}"
        save(made, path / f"{name}.dcm")


def draw(handover: Handover) -> Iterator[tuple[str, str, Picture]]:
    """Yield file names, what is seen, and pictures; paths that a reviewer rejected are in none."""
    plan, document = handover.kept
    ground = handover.opened.ground
    yield "overview", "Overview of the plan", _pixels(draw_overview(plan, ground))
    masks = cut_masks(plan.anatomy.labels, plan.anatomy.grid)
    for item in document.trajectories:
        ends = planned_ends(item)
        slices = slice_figure(scored_of(item), plan.anatomy, ground, masks, ends)
        picture = np.concatenate([_band(item, slices), _pixels(slices)])
        yield f"path-{item.rank:02d}", f"Path {item.rank}, {item.id}", picture


def _image(series: Dataset, handover: Handover, picture: Picture) -> Dataset:
    made = deepcopy(series)
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.ContentDate, made.ContentTime = day_and_time(handover)
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = day_and_time(handover)
    made.DerivationDescription = f"Drawn from a CT and a needle plan on it; {PLANNED}"
    made.PatientOrientation, made.BodyPartExamined = "", BODY_PART
    made.BurnedInAnnotation = burned_in(handover)
    made.LossyImageCompression = handover.headers[0].get("LossyImageCompression") or "00"
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PlanarConfiguration, made.PixelRepresentation = 0, 0
    made.Rows, made.Columns = picture.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    data = np.ascontiguousarray(picture).tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    return made


def _pixels(figure: Figure) -> Picture:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _band(item: TrajectoryObject, below: Figure) -> Picture:
    """Head of a picture: which path it shows, and what it is not."""
    band = Figure(figsize=(below.get_figwidth(), BAND_IN), dpi=below.dpi, facecolor=SHADE)
    words = f"#{item.rank}  {technique_words(Technique(item.technique))}, {item.side}, {item.level}"
    mark = review_mark(item)
    words = f"{words}  ({item.id}{', ' + mark if mark else ''})"
    where: dict[str, Any] = {"va": "center", "parse_math": False}
    band.text(0.008, 0.7, words, color=INK, fontsize=9, weight="bold", **where)
    band.text(0.008, 0.22, DISCLAIMER, color=AMBER, fontsize=8.5, weight="bold", **where)
    return _pixels(band)
