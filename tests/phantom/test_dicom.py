from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from planner.phantom import Phantom
from planner.phantom.dicom import write_series
from tests.phantom.conftest import read_series, value_at


def write(phantom: Phantom, folder: Path, compression: str = "jpeg2000") -> list[Path]:
    folder.mkdir()
    return write_series(phantom.pixels, phantom.stack, phantom.parameters, folder, compression)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def series(coarse: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "dicom"
    write(coarse, folder)
    return folder


def test_pixels_lie_where_the_grid_says(coarse: Phantom, series: Path) -> None:
    items = read_series(series)
    assert len(items) == coarse.volume.grid.shape[2]
    rng = np.random.default_rng(3)
    for _ in range(200):
        index = rng.integers(0, coarse.volume.grid.shape)
        point = coarse.volume.grid.to_patient(index)
        assert value_at(items, point) == coarse.volume.values[tuple(index)]


@pytest.mark.parametrize("position", ["supine", "prone"])
def test_the_fractured_left_ala_is_on_the_left_after_reading(
    position: str, coarse: Phantom, prone: Phantom, tmp_path: Path
) -> None:
    phantom = coarse if position == "supine" else prone
    write(phantom, tmp_path / "dicom")
    items = read_series(tmp_path / "dicom")
    assert items[0].PatientPosition == ("HFS" if position == "supine" else "HFP")
    means = {}
    for side, sign in (("left", 1), ("right", -1)):
        local = np.array(
            [[sign * x, y, z] for x in (33, 36, 39) for y in (-4, 2, 8) for z in (-25, -15)]
        )
        points = phantom.truth.frame.to_patient(local)
        means[side] = np.mean([value_at(items, point) for point in points])
        assert (np.sign(points[:, 0] - phantom.truth.endplate_centre[0]) == sign).all()
    assert means["left"] > means["right"] + 100


def test_prone_rows_and_columns_run_the_other_way(prone: Phantom, tmp_path: Path) -> None:
    path = write(prone, tmp_path / "dicom")[0]
    item = pydicom.dcmread(path)
    assert [float(x) for x in item.ImageOrientationPatient] == [-1, 0, 0, 0, -1, 0]


def test_tilted_slices_are_sheared(tilted: Phantom, tmp_path: Path) -> None:
    write(tilted, tmp_path / "dicom", "none")
    items = read_series(tmp_path / "dicom")
    positions = np.array([[float(x) for x in d.ImagePositionPatient] for d in items])
    np.testing.assert_allclose(
        np.diff(positions, axis=0), [[0, 0, 3.0]] * (len(items) - 1), atol=1e-6
    )
    orientation = np.array([float(x) for x in items[0].ImageOrientationPatient])
    angle = np.deg2rad(14.0)
    np.testing.assert_allclose(orientation, [1, 0, 0, 0, np.cos(angle), np.sin(angle)], atol=1e-9)
    assert float(items[0].GantryDetectorTilt) == 14.0
    # The left ala's bone lies where the truth has it, through the attributes alone.
    for foramen in tilted.truth.foramina[:4]:
        normal = np.cross(orientation[:3], orientation[3:])
        on_slice = np.min(np.abs((positions - foramen.centre) @ normal))
        assert on_slice < 1.6
        assert -130 < value_at(items, foramen.centre) < 250


def test_every_compression_keeps_every_pixel(coarse: Phantom, tmp_path: Path) -> None:
    arrays = {}
    for compression in ("none", "rle", "jpeg2000"):
        paths = write(coarse, tmp_path / compression, compression)[20:23]
        arrays[compression] = [pydicom.dcmread(path).pixel_array for path in paths]
    for compression in ("rle", "jpeg2000"):
        np.testing.assert_array_equal(arrays[compression], arrays["none"])
    np.testing.assert_array_equal(
        np.array(arrays["none"][0], int).T - 1024, coarse.pixels[:, :, 20].astype(int)
    )


def test_unknown_compression_and_foreign_pixels_are_refused(
    coarse: Phantom, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="allowed none, rle, jpeg2000"):
        write(coarse, tmp_path / "a", "zip")
    with pytest.raises(ValueError, match="do not fit the stack"):
        write_series(coarse.pixels[1:], coarse.stack, coarse.parameters, tmp_path)


def test_the_same_phantom_gives_the_same_bytes(
    coarse: Phantom, series: Path, tmp_path: Path
) -> None:
    write(coarse, tmp_path / "again")
    first = {path.name: path.read_bytes() for path in series.iterdir()}
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert first == again


def test_names_carry_no_order_and_identifiers_are_unique(series: Path) -> None:
    items = [(path.name, pydicom.dcmread(path)) for path in sorted(series.iterdir())]
    numbers = [int(item.InstanceNumber) for _, item in items]
    assert numbers != sorted(numbers)
    assert len({str(item.SOPInstanceUID) for _, item in items}) == len(items)
    assert len({str(item.SeriesInstanceUID) for _, item in items}) == 1


def test_it_says_that_it_is_no_patient(series: Path) -> None:
    item = pydicom.dcmread(next(series.iterdir()))
    assert str(item.PatientName).startswith("PHANTOM^")
    assert item.QualityControlImage == "YES"
    for text in (item.SeriesDescription, item.StudyDescription, item.ImageComments):
        assert "PHANTOM, not a patient" in text


@pytest.mark.parametrize("kind", ["coarse", "prone", "tilted"])
@pytest.mark.parametrize("compression", ["none", "rle", "jpeg2000"])
def test_the_validator_finds_no_error(
    kind: str, compression: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    phantom = request.getfixturevalue(kind)
    for path in write(phantom, tmp_path / "dicom", compression)[::25]:
        for options in ([], ["-new"]):
            done = subprocess.run(
                [tool, *options, str(path)], capture_output=True, text=True, check=False
            )
            output = done.stdout + done.stderr
            assert "CTImage" in output
            assert [line for line in output.splitlines() if line.startswith("Error")] == []
