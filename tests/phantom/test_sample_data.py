from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nrrd
import numpy as np
import pydicom
import pytest

from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.phantom import PhantomTruth
from planner.phantom.anatomy import PhantomAnatomy
from tests.phantom.conftest import read_series, value_at

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data"
SCRIPT = ROOT / "scripts" / "make_sample_data.py"

pytestmark = pytest.mark.skipif(
    not (SAMPLE / "truth.json").is_file(), reason="sample_data/ is not part of this checkout"
)


@pytest.fixture(scope="module")
def items() -> list[pydicom.Dataset]:
    return read_series(SAMPLE / "dicom")


@pytest.fixture(scope="module")
def truth() -> dict[str, object]:
    return json.loads((SAMPLE / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_small_and_says_what_it_is() -> None:
    size = sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file())
    assert size < 12e6
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for part in ("synthetic", "scripts/make_sample_data.py", "Apache-2.0"):
        assert part in text


def test_it_was_made_with_the_parameters_of_the_script(
    truth: dict[str, object], script: ModuleType
) -> None:
    assert truth["parameters"] == json.loads(json.dumps(script.SAMPLE.to_dict()))
    assert (SAMPLE / "README.md").read_text(encoding="utf-8") == script.README


def test_series_and_truth_share_one_geometry(
    items: list[pydicom.Dataset], truth: dict[str, object]
) -> None:
    labels, header = nrrd.read(str(SAMPLE / "truth.nrrd"))
    grid = truth["grid"]
    assert list(labels.shape) == grid["size"]
    assert [items[0].Columns, items[0].Rows, len(items)] == grid["size"]
    affine = np.array(grid["patient_from_ijk"])
    np.testing.assert_allclose(header["space origin"], affine[:3, 3], atol=1e-4)
    for k, item in enumerate(items):
        position = np.array(item.ImagePositionPatient, float)
        np.testing.assert_allclose(position, affine[:3, 3] + k * affine[:3, 2], atol=1e-3)
    assert items[0].FrameOfReferenceUID == truth["frame"]["frame_of_reference_uid"]


def test_foramina_lie_in_their_labels_and_are_dark_in_the_images(
    items: list[pydicom.Dataset], truth: dict[str, object]
) -> None:
    labels, _ = nrrd.read(str(SAMPLE / "truth.nrrd"))
    back = np.linalg.inv(np.array(truth["grid"]["patient_from_ijk"]))
    assert len(truth["foramina"]) == 8
    for item in truth["foramina"]:
        point = np.array(item["centre_mm"])
        index = tuple(np.rint(back[:3, :3] @ point + back[:3, 3]).astype(int))
        assert labels[index] == LABELS[f"foramen_{item['level'].lower()}_{item['side']}"]
        assert -160 < value_at(items, point) < 150


def test_left_and_right_differ_as_the_readme_says(truth: dict[str, object]) -> None:
    frame = truth["sacral_frame"]
    axes, origin = np.array(frame["axes"]), np.array(frame["origin_mm"])
    local = {
        (item["level"], item["side"]): (np.array(item["centre_mm"]) - origin) @ axes
        for item in truth["foramina"]
    }
    for level in ("S1", "S2", "S3", "S4"):
        left, right = local[level, "left"], local[level, "right"]
        assert 3.0 < left[0] + right[0] < 4.5
        assert 2.5 < right[2] - left[2] < 4.5
    assert [line["side"] for line in truth["fractures"]] == ["left"]


def test_the_labels_are_those_of_the_shapes(truth: dict[str, object], script: ModuleType) -> None:
    labels, _ = nrrd.read(str(SAMPLE / "truth.nrrd"))
    grid = Grid(labels.shape, np.array(truth["grid"]["patient_from_ijk"]))
    start, stop = (90, 80, 58), (230, 200, 62)
    part = PhantomTruth.of(PhantomAnatomy(script.SAMPLE), grid.crop(start, stop))
    stored = labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    # The stored affine is rounded to 0.1 um.
    assert (part.labels != stored).mean() < 1e-4


@pytest.mark.slow
def test_the_script_makes_it_again() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_more_than_last_digits_is_a_difference(script: ModuleType) -> None:
    voxels = np.zeros((100, 100, 100), np.int16)
    one, two, many, other = (voxels.copy() for _ in range(4))
    one[3, 4, 5] = 1
    two[3, 4, 5] = 2
    many[0, :2, :51] = 1
    assert script.differences("x", voxels, one) == []
    assert script.differences("x", voxels, two) == ["x: 1 of 1000000 voxels, by 2 at most"]
    assert script.differences("x", voxels, many) == ["x: 102 of 1000000 voxels, by 1 at most"]
    assert script.differences("x", voxels, other[:50]) != []
    assert script.alike({"a": [1.0, "b"]}, {"a": [1.0005, "b"]})
    for changed in ({"a": [1.002, "b"]}, {"a": [1.0, "c"]}, {"a": [1.0]}, {"c": [1.0, "b"]}):
        assert not script.alike({"a": [1.0, "b"]}, changed)
