"""What is missing from a series and leaves no gap: slices at its ends, parts of an image."""

from __future__ import annotations

import gzip

import pytest

from planner.errors import UnsuitableCtError
from planner.reading import inspect_ct, read_ct
from reading.dicom_series import Series, enhanced, write

SPOILT = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "packed": lambda path: (
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())),
        path.unlink(),
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_slices_that_were_lost_at_the_ends_are_named(tmp_path, how):
    folder = write(tmp_path / "ct", Series())
    files = sorted(folder.iterdir())
    (folder / "README").write_text("not a slice")
    files[5].with_name(files[5].name + ".gz").write_bytes(b"a copy of a slice that is there")
    assert read_ct(folder).values.shape[2] == 26
    for path in (files[0], files[-1]):
        SPOILT[how](path)
    with pytest.raises(UnsuitableCtError, match=r"2 of 26 DICOM files .* cannot be read") as caught:
        read_ct(folder)
    assert files[0].name in str(caught.value) and "named like a slice" in str(caught.value)
    assert not inspect_ct(folder)[0].usable


def test_fewer_images_than_the_headers_speak_of_are_told(tmp_path):
    whole = write(tmp_path / "a", Series(), lambda ds, k: setattr(ds, "ImagesInAcquisition", 26))
    assert not any("images in the acquisition" in text for text in read_ct(whole).warnings)
    part = write(tmp_path / "b", Series(), lambda ds, k: setattr(ds, "ImagesInAcquisition", 30))
    assert any("speak of 30 images in the acquisition and 26" in t for t in read_ct(part).warnings)


def test_a_first_image_with_a_later_number_is_told(tmp_path):
    part = write(tmp_path, Series(), lambda ds, k: setattr(ds, "InstanceNumber", k + 4))
    assert any("numbered from 4 on" in text for text in read_ct(part).warnings)


def test_a_stack_identifier_for_every_frame_is_no_stack_of_its_own(tmp_path):
    image = enhanced(Series())
    for number, group in enumerate(image.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].StackID = str(number + 1)
    path = tmp_path / "one.dcm"
    image.save_as(path, enforce_file_format=True)
    assert read_ct(path).values.shape[2] == 26


def test_an_image_of_which_a_part_is_missing_is_refused(tmp_path):
    whole = enhanced(Series())
    whole.ConcatenationUID, whole.InConcatenationNumber = "1.2.3.9", 1
    whole.InConcatenationTotalNumber = 1
    path = tmp_path / "one.dcm"
    whole.save_as(path, enforce_file_format=True)
    assert read_ct(path).values.shape[2] == 26
    whole.InConcatenationTotalNumber = 2
    whole.save_as(path, enforce_file_format=True)
    with pytest.raises(UnsuitableCtError, match="holds 1 of the 2 files of one image"):
        read_ct(path)
