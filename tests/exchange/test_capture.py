"""dicom-sc: pictures that any viewer shows, of the paths that are handed over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.colors import to_rgb
from pydicom.dataset import Dataset

from planner.exchange import Handover
from planner.exchange.capture import AMBER, draw, pictures
from tests.support.dicom_tools import errors


@pytest.fixture(scope="module")
def reviewed_handover(handover: Handover) -> Handover:
    """The plan after its first path was rejected."""
    values = handover.document.model_dump(mode="json")
    values["trajectories"][0]["review"] = {
        "verdict": "rejected",
        "origin": "planned",
        "reason": "too near",
    }
    document = type(handover.document).model_validate(values)
    return replace(handover, opened=replace(handover.opened, document=document))


@pytest.fixture(scope="module")
def written(handover: Handover, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "pictures"
    pictures(handover, path)
    return path


@pytest.fixture(scope="module")
def made(written: Path) -> dict[str, Dataset]:
    return {each.stem: pydicom.dcmread(each) for each in sorted(written.iterdir())}


def test_one_series_of_single_pictures_in_the_study(
    made: dict[str, Dataset], handover: Handover
) -> None:
    assert list(made) == ["overview", "path-01", "path-02"]
    assert len({item.SeriesInstanceUID for item in made.values()}) == 1
    assert len({item.SOPInstanceUID for item in made.values()}) == 3
    for number, item in enumerate(made.values(), 1):
        assert item.StudyInstanceUID == handover.headers[0].StudyInstanceUID
        assert item.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
        assert item.InstanceNumber == number
        assert item.ConversionType == "WSD"
        assert item.BurnedInAnnotation == "YES"
        assert len(item.SeriesDescription) <= 64
        for keyword in ("SeriesDescription", "DerivationDescription"):
            assert "planned, not for clinical use" in item[keyword].value
        assert "FrameOfReferenceUID" not in item  # a picture has no place in the patient
    assert handover.paths[1].id in made["path-02"].ImageComments


def test_the_pixels_are_the_drawn_ones_with_the_disclaimer_in_them(
    made: dict[str, Dataset], handover: Handover
) -> None:
    amber = np.array(to_rgb(AMBER)) * 255
    for name, _, picture in draw(handover):
        shown = made[name].pixel_array
        assert shown.shape == picture.shape
        assert (shown == picture).all()
        head = shown[: shown.shape[0] // 20].astype(float)
        assert (np.abs(head - amber).max(axis=-1) < 3).sum() > 200


def test_rejected_paths_are_in_no_picture(handover: Handover, reviewed_handover: Handover) -> None:
    shown = {name: picture for name, _, picture in draw(reviewed_handover)}
    assert list(shown) == ["overview", "path-02"]
    whole = next(draw(handover))[2]
    assert (shown["overview"] != whole).any()
    plan, document = reviewed_handover.kept
    names = [item.id for item in document.trajectories]
    assert names == [item.id for item in plan.trajectories] == [handover.paths[1].id]
    assert all(set(pair.trajectories) <= set(names) for pair in (*document.pairs, *plan.pairs))


def test_the_same_plan_gives_the_same_bytes(
    handover: Handover, written: Path, tmp_path: Path
) -> None:
    pictures(handover, tmp_path / "again")
    for each in written.iterdir():
        assert (tmp_path / "again" / each.name).read_bytes() == each.read_bytes()


def test_dciodvfy_finds_no_error(written: Path) -> None:
    for each in written.iterdir():
        assert errors(each) == []
