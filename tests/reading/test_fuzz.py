"""Mutated files: whatever is read, nothing but a PlannerError comes out, and it comes soon.

The same few hundred files each time; the slow run makes new ones by a seed that a failure names.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from export.toy import awkward_grids, toy_frame, toy_labels
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.export.plan_json import FILE_NAME, read_plan
from planner.model.anatomy import LABELS
from planner.reading import inspect_ct, read_ct, read_identity
from planner.reading.labels import read_labels
from tests.support.plan_folder import write_toy_plan

from .dicom_series import SECRET, Series, write
from .labels.files import as_nifti, header_for
from .labels.seg_files import Segment, save, segmentation

NEW_FILES = "PLANNER_FUZZ_EXAMPLES"
"""Environment: how many new files each test makes, by --hypothesis-seed; absent: the same few."""
NEW_EXAMPLES = 1500
FUZZ = settings(
    derandomize=NEW_FILES not in os.environ,
    database=None,
    deadline=20_000,  # ms: a hang fails
    max_examples=int(os.environ.get(NEW_FILES, "40")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Few slices keep an example fast; every one passes all readers and ends at the check of the size.
SERIES = Series(uid="1.2.3.4", slices=3, marker=(17, 5, 1))
HEADER_BYTES = 1400
SPLICE = st.tuples(st.integers(0, 100_000), st.integers(0, 9), st.binary(max_size=9))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=9),
    st.just("../../x"),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(tmp_path_factory.mktemp("fuzz") / "ct", SERIES))


@pytest.fixture(scope="module")
def plan_text(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder, _ = write_toy_plan(tmp_path_factory.mktemp("fuzz"))
    return (folder / FILE_NAME).read_bytes()


def attempt(read: Callable[..., object], path: Path) -> bool:
    """Read a file; returns whether it was refused."""
    try:
        read(path)
    except PlannerError as error:
        assert SECRET not in str(error)
        assert len(str(error)) < 5000
        return True
    return False


def spliced(data: bytes, splices: list[tuple[int, int, bytes]]) -> bytes:
    for at, drop, put in splices:
        place = at % max(len(data), 1)
        data = data[:place] + put + data[place + drop :]
    return data


@settings(FUZZ)
@given(splices=st.lists(SPLICE, min_size=1, max_size=6))
def test_mutated_bytes_of_a_slice(series: Path, splices: list[tuple[int, int, bytes]]) -> None:
    path = sorted(series.iterdir())[1]
    whole = path.read_bytes()
    try:
        path.write_bytes(spliced(whole[:HEADER_BYTES], splices) + whole[HEADER_BYTES:])
        attempt(read_ct, series)
        attempt(inspect_ct, series)
        attempt(lambda folder: read_identity(folder, SERIES.uid), series)
    finally:
        path.write_bytes(whole)


VOLUME_HEADER_BYTES = 400
VOLUMES = ("nrrd", "mha", "nii", "nii.gz")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small volume in each format."""
    folder = tmp_path_factory.mktemp("volumes")
    values = np.random.default_rng(0).integers(-1000, 1500, (30, 20, 20)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((3.0, 3.0, 3.0))
    for kind in VOLUMES:
        sitk.WriteImage(image, str(folder / f"x.{kind}"))
    return {kind: (folder / f"x.{kind}").read_bytes() for kind in VOLUMES}


@settings(FUZZ)
@given(kind=st.sampled_from(VOLUMES), splices=st.lists(SPLICE, min_size=1, max_size=6))
@example("nii.gz", [(150, 1, b"\xff"), (260, 1, b"\x00"), (390, 1, b"\x55")])
def test_mutated_bytes_of_a_volume(
    volumes: dict[str, bytes], tmp_path: Path, kind: str, splices: list[tuple[int, int, bytes]]
) -> None:
    whole, path = volumes[kind], tmp_path / f"x.{kind}"
    path.write_bytes(spliced(whole[:VOLUME_HEADER_BYTES], splices) + whole[VOLUME_HEADER_BYTES:])
    attempt(read_ct, path)


def test_a_packed_volume_that_cannot_be_unpacked(volumes: dict[str, bytes], tmp_path: Path) -> None:
    data = volumes["nii.gz"]
    refused = 0
    for place in range(12, 200, 4):
        broken = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        (tmp_path / "x.nii.gz").write_bytes(broken)
        refused += attempt(read_ct, tmp_path / "x.nii.gz")
    assert refused == len(range(12, 200, 4))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value of JSON can be replaced: every path to something within it."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


@settings(FUZZ)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), JUNK), min_size=1, max_size=3))
def test_mutated_values_of_a_plan(
    plan_text: bytes, tmp_path: Path, changes: list[tuple[int, Any]]
) -> None:
    values = json.loads(plan_text)
    for number, junk in changes:
        known = list(places(values))
        *above, last = known[number % len(known)]
        holder = values
        for key in above:
            holder = holder[key]
        holder[last] = junk
    (tmp_path / FILE_NAME).write_text(json.dumps(values), encoding="utf-8")
    attempt(read_plan, tmp_path)


@settings(FUZZ)
@given(splices=st.lists(SPLICE, min_size=1, max_size=6))
def test_mutated_bytes_of_a_plan(
    plan_text: bytes, tmp_path: Path, splices: list[tuple[int, int, bytes]]
) -> None:
    (tmp_path / FILE_NAME).write_bytes(spliced(plan_text, splices))
    attempt(read_plan, tmp_path)


def test_the_unchanged_files_are_read_and_a_cut_one_is_refused(
    plan_text: bytes, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_bytes(plan_text)
    assert not attempt(read_plan, tmp_path)
    (tmp_path / FILE_NAME).write_bytes(plan_text[:-40])
    assert attempt(read_plan, tmp_path)


@pytest.fixture(scope="module")
def label_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small label map in each format; bytes would fill the report of a failure."""
    folder = tmp_path_factory.mktemp("labels")
    grid = awkward_grids()["oblique"]
    labels = toy_labels(grid, toy_frame())
    names = {name: value for name, value in LABELS.items() if (labels == value).any()}
    nrrd.write(str(folder / "a.seg.nrrd"), labels, header_for(grid, names))
    as_nifti(labels, grid, folder / "a.nii")
    masks = [Segment(name, labels == value) for name, value in names.items()]
    save(segmentation(grid, masks), folder / "a.dcm")
    return folder


@settings(FUZZ)
@example("a.dcm", [(133, 0, b"\0\0\0")])
@example("a.dcm", [(421, 0, b"\0")])
@given(
    name=st.sampled_from(["a.seg.nrrd", "a.nii", "a.dcm"]),
    splices=st.lists(SPLICE, min_size=1, max_size=6),
)
def test_mutated_bytes_of_a_label_map(
    label_files: Path, tmp_path: Path, name: str, splices: list[tuple[int, int, bytes]]
) -> None:
    (tmp_path / name).write_bytes(spliced((label_files / name).read_bytes(), splices))
    attempt(read_labels, tmp_path / name)


@pytest.mark.slow
def test_new_files_of_every_kind() -> None:
    seed = secrets.randbelow(2**32)
    words = ["-m", "pytest", __file__, "-q", "-k", "mutated", f"--hypothesis-seed={seed}"]
    words += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, NEW_FILES: str(NEW_EXAMPLES)},
        capture_output=True,
        text=True,
        check=False,
    )
    again = f"{NEW_FILES}={NEW_EXAMPLES} python {' '.join(words)}"
    assert done.returncode == 0, (
        f"repeat it with: {again}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
    )
    assert " passed" in done.stdout
