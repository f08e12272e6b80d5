"""NIfTI, NRRD and MetaImage: read where they state their geometry, refused where they do not."""

from __future__ import annotations

import gzip
import struct

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from planner.errors import UnsuitableCtError
from planner.reading import inspect_ct, read_ct

SHAPE = (24, 20, 26)
SPACING = np.array([0.9, 1.1, 2.5])
ORIGIN = np.array([-31.0, -142.5, 87.25])
MARKER = (17, 5, 21)
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TURN = np.array([[0.9, -0.3, 0.1], [0.3, 0.95, 0.0], [-0.1, 0.0, 1.0]])
DIRECTIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "LAS": np.diag([1.0, -1.0, 1.0]),
    "RPI": np.diag([-1.0, 1.0, -1.0]),
    "permuted": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "oblique": np.linalg.qr(TURN)[0],
}


def hu() -> np.ndarray:
    values = np.random.default_rng(5).integers(-60, 90, SHAPE).astype(np.int16)
    values[:2] = -1000
    values[8:12, 8:12] = 400
    values[MARKER] = 1500
    return values


def affine_of(name: str) -> np.ndarray:
    """Patient LPS from index; the permuted volume is tall enough along its second axis."""
    spacing = np.array([3.0, 3.4, 2.4]) if name == "permuted" else SPACING
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[name] * spacing
    affine[:3, 3] = ORIGIN
    return affine


def point(affine: np.ndarray, ijk=MARKER) -> np.ndarray:
    return affine[:3, :3] @ np.array(ijk) + affine[:3, 3]


def save_nifti(path, affine, sform=1, qform=1, values=None):
    image = nibabel.Nifti1Image(hu() if values is None else values, None)
    image.set_sform(RAS @ affine, sform)
    image.set_qform(RAS @ affine, qform)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def save_nrrd(path, affine, space="left-posterior-superior", **changes):
    to_space = {
        "left-posterior-superior": np.eye(3),
        "right-anterior-superior": np.diag([-1, -1, 1]),
        "left-anterior-superior": np.diag([1, -1, 1]),
    }.get(space, np.eye(3))
    header = {
        "space": space,
        "space directions": (to_space @ affine[:3, :3]).T,
        "space origin": to_space @ affine[:3, 3],
        **changes,
    }
    header = {key: value for key, value in header.items() if value is not None}
    nrrd.write(str(path), hu(), header)
    return path


def save_mha(path, affine, values=None):
    image = sitk.GetImageFromArray((hu() if values is None else values).T)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(x) for x in spacing])
    image.SetDirection([float(x) for x in (affine[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(x) for x in affine[:3, 3]])
    sitk.WriteImage(image, str(path))
    return path


def refusal(path) -> str:
    with pytest.raises(UnsuitableCtError) as caught:
        read_ct(path)
    assert caught.value.exit_status == 3
    return str(caught.value)


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha", "mhd"])
def test_marker_lies_where_it_was_put(tmp_path, name, ending, assert_marker):
    affine = affine_of(name)
    save = {"nrrd": save_nrrd, "mha": save_mha, "mhd": save_mha}.get(ending, save_nifti)
    volume = read_ct(save(tmp_path / f"ct.{ending}", affine))
    assert_marker(volume, point(affine))
    np.testing.assert_array_equal(volume.values, hu())
    np.testing.assert_allclose(volume.grid.patient_from_ijk, affine, atol=1e-4)
    assert volume.source.kind == {"nrrd": "nrrd", "mha": "mha", "mhd": "mha"}.get(ending, "nifti")


def test_all_formats_give_one_hash(tmp_path):
    affine = affine_of("LPS")
    hashes = {
        read_ct(save_nrrd(tmp_path / "a.nrrd", affine)).source.sha256,
        read_ct(save_mha(tmp_path / "a.mha", affine)).source.sha256,
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("space", ["right-anterior-superior", "left-anterior-superior"])
def test_nrrd_spaces_are_turned_to_lps(tmp_path, space, assert_marker):
    affine = affine_of("oblique")
    assert_marker(read_ct(save_nrrd(tmp_path / "ct.nrrd", affine, space)), point(affine))


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (2, 1)])
def test_one_valid_form_is_enough(tmp_path, sform, qform, assert_marker):
    affine = affine_of("oblique")
    volume = read_ct(save_nifti(tmp_path / "ct.nii.gz", affine, sform, qform))
    assert_marker(volume, point(affine))


def test_nifti_without_a_form_is_refused(tmp_path):
    text = refusal(save_nifti(tmp_path / "ct.nii.gz", affine_of("LPS"), 0, 0))
    assert "neither an sform nor a qform" in text
    assert "left and right are unknown" in text


def test_nifti_with_two_places_is_refused(tmp_path):
    path = save_nifti(tmp_path / "a.nii.gz", affine_of("LPS"))
    image = nibabel.load(path)
    image.set_qform(RAS @ affine_of("RAS"), 1)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    assert "states two places" in refusal(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("sform", [1, 0])
def test_a_quaternion_longer_than_1_is_a_half_turn(tmp_path, sform, assert_marker):
    affine = affine_of("LPS")
    save_nifti(tmp_path / "a.nii", affine, sform)
    data = bytearray((tmp_path / "a.nii").read_bytes())
    assert struct.unpack_from("<f", data, 264) == (1.0,)  # quatern_d
    struct.pack_into("<f", data, 264, 1.0005)  # rounding makes it so
    (tmp_path / "b.nii").write_bytes(data)
    assert_marker(read_ct(tmp_path / "b.nii"), point(affine))
    struct.pack_into("<h", data, 254, 1)  # sform_code
    struct.pack_into("<12f", data, 280, *(RAS @ affine_of("RAS"))[:3].ravel())
    (tmp_path / "c.nii").write_bytes(data)
    assert "states two places" in refusal(tmp_path / "c.nii")


def test_sheared_volumes_are_refused(tmp_path):
    sheared = affine_of("LPS")
    sheared[1, 2] = 0.6
    assert "orthogonal" in refusal(save_nifti(tmp_path / "ct.nii.gz", sheared, qform=0))
    assert "orthogonal" in refusal(save_nrrd(tmp_path / "ct.nrrd", sheared))


def test_scaled_nifti_is_read_in_hu(tmp_path):
    image = nibabel.Nifti1Image(((hu() + 1024) * 2).astype(np.int16), RAS @ affine_of("LPS"))
    image.header.set_slope_inter(0.5, -1024)
    image.header.set_sform(RAS @ affine_of("LPS"), 1)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    assert np.abs(read_ct(tmp_path / "ct.nii.gz").values - hu()).max() <= 1


def test_floats_are_rounded_and_nan_is_air(tmp_path):
    values = hu().astype(np.float32) + 0.4
    values[0, 0, 0] = np.nan
    values[0, 0, 1] = 1e9
    volume = read_ct(save_nifti(tmp_path / "ct.nii", affine_of("LPS"), values=values))
    expected = hu()
    expected[0, 0, :2] = -1024, 32767
    np.testing.assert_array_equal(volume.values, expected)


@pytest.mark.parametrize(
    "values",
    [
        np.clip((hu() + 1000) / 10, 0, 255).astype(np.uint8),
        (hu() / 3000).astype(np.float32),
        (hu() + 1024).astype(np.int16),
        np.clip(hu(), -1000, 90).astype(np.int16),
    ],
    ids=["grey levels", "normalised", "offset by 1024", "without bone"],
)
def test_values_that_are_not_hu_are_refused(tmp_path, values):
    path = save_nifti(tmp_path / "ct.nii.gz", affine_of("LPS"), values=values)
    assert "are not HU" in refusal(path)
    (report,) = inspect_ct(path)
    assert not report.usable
    assert "are not HU" in report.problems[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": None}, "names no space"),
        ({"space": "scanner-xyz"}, "names the space 'scanner-xyz'"),
        ({"space origin": None}, "lacks space directions, a space origin"),
        ({"space units": ["um", "um", "um"]}, "measures in um"),
        ({"Segment0_ID": "Segment_1"}, "is a segmentation"),
    ],
)
def test_nrrd_without_geometry_is_refused(tmp_path, changes, words):
    changes = {"space": "left-posterior-superior", **changes}
    affine = affine_of("LPS")
    path = tmp_path / "ct.nrrd"
    if changes["space"] is None:
        nrrd.write(str(path), hu(), {"spacings": list(SPACING)})
    else:
        save_nrrd(path, affine, **changes)
    assert words in refusal(path)


@pytest.mark.parametrize("key", ["TransformMatrix", "ElementSpacing", "Offset"])
def test_metaimage_without_geometry_is_refused(tmp_path, key):
    path = save_mha(tmp_path / "ct.mha", affine_of("LPS"))
    header, separator, data = path.read_bytes().partition(b"ElementDataFile")
    lines = [line for line in header.splitlines(True) if not line.startswith(key.encode())]
    path.write_bytes(b"".join(lines) + separator + data)
    assert f"lacks {key}" in refusal(path)


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
def test_truncated_volumes_are_refused(tmp_path, ending):
    save = {"nrrd": save_nrrd, "mha": save_mha}.get(ending, save_nifti)
    path = save(tmp_path / f"ct.{ending}", affine_of("LPS"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert "cannot be read" in refusal(path)


def test_junk_behind_the_right_name_is_refused(tmp_path):
    for ending in ("nii.gz", "nii", "nrrd", "mha"):
        path = tmp_path / f"ct.{ending}"
        path.write_bytes(gzip.compress(b"junk" * 200) if ending == "nii.gz" else b"junk" * 200)
        refusal(path)


def test_four_dimensions_are_refused(tmp_path):
    path = tmp_path / "ct.nii.gz"
    save_nifti(path, affine_of("LPS"), values=np.stack([hu(), hu()], axis=-1))
    assert "one volume of three dimensions" in refusal(path)


def test_small_and_coarse_volumes_are_refused(tmp_path):
    affine = affine_of("LPS")
    affine[:3, 2] *= 1.5
    text = refusal(save_nifti(tmp_path / "a.nii.gz", affine))
    assert "at most 3.5 mm" in text
    affine[:3, 2] /= 2.5
    assert "39.0 mm tall" in refusal(save_nifti(tmp_path / "b.nii.gz", affine))


def test_a_volume_has_no_series(tmp_path):
    path = save_nifti(tmp_path / "ct.nii.gz", affine_of("LPS"))
    with pytest.raises(UnsuitableCtError, match="single volume without series"):
        read_ct(path, series="1.2.3")
