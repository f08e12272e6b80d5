"""Harmless oddities of files from outside that were refused, or refused in the wrong words."""

from __future__ import annotations

import gzip
import zipfile

import nibabel
import numpy as np
import pytest

from planner.errors import ConfigurationError, UnsuitableCtError
from planner.model.configuration import Configuration
from planner.reading import read_ct
from reading.dicom_series import Series, write


def test_the_attributes_that_macos_packs_are_no_images(tmp_path):
    write(tmp_path / "ct", Series())
    packed = tmp_path / "ct.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((tmp_path / "ct").iterdir()):
            archive.write(path, f"study: one/{path.name}")
            archive.writestr(f"__MACOSX/study/._{path.name}", b"\0\5\x16\7")
            archive.writestr(f"study: one/._{path.name}", b"\0\5\x16\7")
        archive.writestr("__MACOSX/study/._one.nii.gz", b"\0\5\x16\7")
    assert read_ct(packed).values.shape[2] == 26


@pytest.mark.parametrize("name", ["c:/x.dcm", "C:x.dcm", "../x.dcm", "/x.dcm"])
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(UnsuitableCtError, match="outside of it"):
        read_ct(tmp_path / "a.zip")


def test_a_compressed_nifti_is_to_be_renamed(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    path = tmp_path / "a.nii"
    path.write_bytes(gzip.compress(image.to_bytes()))
    with pytest.raises(UnsuitableCtError, match=r"rename it to end in \.nii\.gz"):
        read_ct(path)


@pytest.mark.parametrize("kind", ["HU", "Hounsfield Unit", "HOUNSFIELD"])
def test_hounsfield_units_by_other_names(tmp_path, kind):
    folder = write(tmp_path, Series(), lambda ds, k: setattr(ds, "RescaleType", kind))
    assert read_ct(folder).values.shape[2] == 26


def test_a_configuration_may_begin_with_a_mark_of_its_encoding(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xef\xbb\xbftop = 2\n")
    assert Configuration.from_toml(path).top == 2


@pytest.mark.parametrize("value", [[], {}, 3])
def test_a_preset_that_is_no_name_is_refused(value):
    with pytest.raises(ConfigurationError, match="placement_error_preset"):
        Configuration.from_mapping({"placement_error_preset": value})
