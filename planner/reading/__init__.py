"""CT in: any folder, archive or volume file to one checked `Volume`, or a refusal that says why.

The geometry in the files is the only authority about left and right. Whatever is ambiguous is
refused, and whatever was resolved by a rule is said in the warnings of the volume. Arrays are
indexed [i, j, k] on a grid in patient LPS, mm; values are HU in int16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from planner.errors import UnsuitableCtError
from planner.model.volume import Volume
from planner.reading.datasets import iterate_hu, read_datasets, read_planes
from planner.reading.decoders import use_these
from planner.reading.headers import SliceHeader
from planner.reading.identity import read_identity
from planner.reading.images import read_image
from planner.reading.inspect import SeriesReport, inspect_ct
from planner.reading.series import read_series
from planner.reading.source import opened

__all__ = [
    "SeriesReport",
    "SliceHeader",
    "inspect_ct",
    "iterate_hu",
    "read_ct",
    "read_datasets",
    "read_identity",
    "read_planes",
]

use_these()


def read_ct(
    path: Path | str,
    series: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Volume:
    """Read the CT to plan on.

    path: a folder (searched below), a multi-frame DICOM file, a .zip of either, or a .nii.gz, .nii,
        .nrrd or .mha volume.
    series: SeriesInstanceUID, or the label that `inspect_ct` gives to one of several stacks of a
        series; None chooses by the rules of `planner.reading.choose`.
    progress: called with the name of the step and the part done, 0 to 1, from several threads but
        never at once.
    Raises UnsuitableCtError with one paragraph for everything that cannot be planned on.
    """
    with opened(Path(path)) as source:
        if source.image is not None:
            if series is not None:
                raise UnsuitableCtError(
                    f"{source.image_name} is a single volume without series; name none, or give "
                    "the DICOM files"
                )
            volume = read_image(source.image, source.image_name)
        else:
            volume = read_series(source, series, progress)
        return replace(volume, warnings=(*source.notes, *volume.warnings))
