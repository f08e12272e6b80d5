"""A CT's planes as they were acquired: places and HU of each, whatever the volume makes of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from planner.errors import ConfigurationError
from planner.geometry.grid import Grid
from planner.reading import iterate_hu, read_ct, read_datasets, read_planes

from .dicom_series import Series, enhanced, save, write

TILT = (0.0, 0.7, 2.5)  # each plane lies 0.7 mm further back than the one below it


def series_of(kind: str) -> Series:
    return Series(travel=TILT) if kind == "tilted" else Series()


def written(kind: str, folder: Path) -> tuple[Series, Path]:
    series = series_of(kind)
    if kind == "enhanced":
        folder.mkdir()
        order = list(reversed(range(series.slices)))
        save(enhanced(series, order), folder / "all.dcm")
        return series, folder / "all.dcm"
    # Names run against the planes, so that no order of files gives the order of k.
    write(folder, series, name=lambda k: f"IM{99 - k:04d}")
    if kind != "zipped":
        return series, folder
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for each in folder.iterdir():
            archive.write(each, each.name)
    return series, folder.with_suffix(".zip")


@pytest.mark.parametrize("kind", ["plain", "tilted", "zipped", "enhanced"])
def test_each_plane_comes_in_order_with_its_own_place_and_hu(kind: str, tmp_path: Path) -> None:
    series, path = written(kind, tmp_path / "ct")
    volume = read_ct(path)
    grid = volume.grid
    assert (grid.shape[1] > series.rows) == (kind == "tilted")
    planes = read_planes(path, series.uid, grid)
    pixels = list(iterate_hu(path, series.uid, grid))
    assert [plane.position for plane, _ in pixels] == [plane.position for plane in planes]
    assert len(planes) == series.slices
    hu = series.hu()
    for k, (plane, values) in enumerate(pixels):
        assert plane.position == pytest.approx(tuple(series.slice_origin(k)))
        assert (plane.columns, plane.rows) == (series.columns, series.rows)
        # Even planes of the enhanced file are stored in steps of 2 HU.
        assert np.abs(values.T - hu[:, :, k]).max() <= (1 if kind == "enhanced" else 0)
    files = read_datasets(path, series.uid, grid)
    assert len(files) == (1 if kind == "enhanced" else series.slices)
    named = {plane.sop_uid for plane in planes}
    assert named == {str(header.SOPInstanceUID) for header in files}


@pytest.mark.parametrize("what", ["series", "grid"])
def test_another_series_or_grid_is_refused(what: str, tmp_path: Path) -> None:
    series, path = written("plain", tmp_path / "ct")
    grid, uid = read_ct(path).grid, series.uid
    if what == "series":
        uid = "1.2.3"
    else:
        affine = grid.patient_from_ijk.copy()
        affine[0, 3] += 1.0
        grid = Grid(grid.shape, affine, grid.frame_of_reference_uid)
    for read in (read_planes, read_datasets, lambda *of: list(iterate_hu(*of))):
        with pytest.raises(ConfigurationError, match="holds no planes of series"):
            read(path, uid, grid)
