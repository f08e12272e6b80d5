"""A CT's planes as they were sent, for objects that belong to the same study.

Whatever is read here may identify the patient: it goes into DICOM objects of the same study, and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from planner.errors import ConfigurationError
from planner.geometry.grid import Grid
from planner.reading.fingerprint import fingerprint
from planner.reading.headers import SliceHeader
from planner.reading.pixels import decode, read_stack
from planner.reading.quiet import quiet_pydicom
from planner.reading.series import find_stacks, refuse_unreadable
from planner.reading.source import opened
from planner.reading.stacks import Stack


def read_datasets(
    path: Path | str, series: str, grid: Grid, sha256: str = ""
) -> tuple[FileDataset, ...]:
    """Read the headers of the planes that a CT was made of, without their pixels.

    path: what `read_ct` takes. grid, sha256: of the CT as `read_ct` returned it. Returns one
    dataset per plane in the order of the grid's k, or one per file where that holds several. Raises
    ConfigurationError where the path holds no DICOM planes of that series on that grid.
    """
    with _stack(Path(path), series, grid, sha256) as stack:
        files = dict.fromkeys(plane.path for plane in stack.planes)
        with quiet_pydicom():
            # Forced, as the pass before has seen that these are DICOM, with a preamble or without.
            return tuple(
                pydicom.dcmread(each, stop_before_pixels=True, force=True) for each in files
            )


def read_planes(
    path: Path | str, series: str, grid: Grid, sha256: str = ""
) -> tuple[SliceHeader, ...]:
    """Read where each plane of a CT lies, in the order of the grid's k.

    The planes are those that were acquired: where the gantry was tilted they travel sideways, and
    are smaller than the grid's. Takes and raises what `read_datasets` does.
    """
    with _stack(Path(path), series, grid, sha256) as stack:
        return stack.planes


def iterate_hu(
    path: Path | str, series: str, grid: Grid, sha256: str = ""
) -> Iterator[tuple[SliceHeader, NDArray[np.int16]]]:
    """Yield each plane as it was acquired and its (rows, columns) HU, in the order of k.

    One plane is held at a time. Takes and raises what `read_datasets` does, and UnsuitableCtError
    for pixels that cannot be decoded.
    """
    with _stack(Path(path), series, grid, sha256) as stack, quiet_pydicom():
        for _, group in groupby(stack.planes, key=lambda plane: plane.path):
            planes = list(group)
            yield from zip(planes, decode(planes), strict=True)


@contextmanager
def _stack(path: Path, series: str, grid: Grid, sha256: str = "") -> Iterator[Stack]:
    """Find the stack that a CT was read from; its files exist as long as the context lasts."""
    with opened(path) as source:
        if source.image is not None:
            raise ConfigurationError(
                f"{path} is a volume file without DICOM headers; DICOM objects need the study they "
                "belong to. Give the DICOM files, or choose formats that need none."
            )
        findings = find_stacks(source)
        refuse_unreadable(source, findings)
        found = [
            stack
            for stack in findings.stacks
            if stack.first.series_uid == series
            and stack.has_geometry
            and stack.grid().same_as(grid)
        ]
        if len(found) > 1:  # such as two kernels in one series: the voxels tell which it was
            found = [s for s in found if fingerprint(read_stack(s, None), s.grid()) == sha256]
        if found:
            yield found[0]
            return
    raise ConfigurationError(f"{path} holds no planes of series {series}, the one planned on.")
