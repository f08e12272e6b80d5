"""Stored values become HU the same way whatever their encoding."""

from __future__ import annotations

import gdcm
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from planner.errors import UnsuitableCtError
from planner.reading import read_ct
from planner.reading.headers import read_headers
from planner.reading.pixels import to_hu

from .dicom_series import Series, enhanced, save, set_pixels, transcode, write


def test_compressed_multi_frame(tmp_path):
    series = Series()
    path = tmp_path / "enhanced"
    save(enhanced(series), path)
    plain = read_ct(path)
    packed = dcmread(path)
    packed.compress(RLELossless)
    save(packed, path)
    volume = read_ct(path)
    assert volume.source.sha256 == plain.source.sha256
    data = path.read_bytes()
    path.write_bytes(data[:-400])
    with pytest.raises(UnsuitableCtError, match="breaks off in its compressed pixels"):
        read_ct(path)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_native_transfer_syntaxes(tmp_path, syntax):
    series = Series()
    hu = series.hu()
    for k in range(series.slices):
        ds = series.dataset(k, hu)
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        save(ds, tmp_path / str(k))
    np.testing.assert_array_equal(read_ct(tmp_path).values, hu)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble(tmp_path, implicit):
    series = Series()
    hu = series.hu()
    for k in range(series.slices):
        ds = series.dataset(k, hu)
        del ds.file_meta
        ds.save_as(tmp_path / str(k), implicit_vr=implicit, little_endian=True)
    np.testing.assert_array_equal(read_ct(tmp_path).values, hu)


def test_lossy_compression_is_said(tmp_path):
    volume = read_ct(
        write(tmp_path, Series(), lambda ds, k: setattr(ds, "LossyImageCompression", "01"))
    )
    assert any("compressed with loss" in w for w in volume.warnings)


def test_every_slice_has_its_own_rescale(tmp_path):
    series = Series()
    hu = series.hu()

    def rescale(ds, k):
        slope, intercept = 0.5 + 0.01 * k, -1500.0 - k
        ds.RescaleSlope, ds.RescaleIntercept = f"{slope:.6g}", f"{intercept:.6g}"
        set_pixels(ds, np.rint((hu[:, :, k].T - intercept) / slope), bits=16)

    volume = read_ct(write(tmp_path, series, rescale))
    assert volume.values.dtype == np.int16
    assert np.abs(volume.values - hu).max() <= 1


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_pixels(tmp_path, bits):
    series = Series()
    hu = series.hu()

    def sign(ds, k):
        ds.RescaleIntercept = 0
        set_pixels(ds, hu[:, :, k].T, bits=bits, signed=True)

    np.testing.assert_array_equal(read_ct(write(tmp_path, series, sign)).values, hu)


def test_twelve_signed_bits_without_sign_extension(tmp_path):
    series = Series()
    hu = series.hu()

    def sign(ds, k):
        ds.RescaleIntercept = 0
        set_pixels(ds, hu[:, :, k].T & 0x0FFF, bits=12, signed=True)

    np.testing.assert_array_equal(read_ct(write(tmp_path, series, sign)).values, hu)


def test_overlay_in_the_high_bits_is_cut_off(tmp_path):
    series = Series()

    def overlay(ds, k):
        ds.add_new(0x60000100, "US", 16)
        ds.add_new(0x60000102, "US", 12)
        set_pixels(ds, ds.pixel_array | (np.arange(24) % 2 << 12))

    np.testing.assert_array_equal(read_ct(write(tmp_path, series, overlay)).values, series.hu())


def test_values_beyond_the_stated_bits_are_refused(tmp_path):
    def exceed(ds, k):
        set_pixels(ds, ds.pixel_array + 3000 * (k == 7))

    with pytest.raises(UnsuitableCtError, match="more than the 12 bits its header states"):
        read_ct(write(tmp_path, Series(), exceed))


@pytest.mark.parametrize("written", [-2000, 63536])
def test_padding_becomes_air(tmp_path, written):
    series = Series()
    hu = series.hu()

    def pad(ds, k):
        stored = hu[:, :, k].T.copy()
        stored[0, :7] = -2000
        set_pixels(ds, stored, bits=16, signed=True)
        ds.RescaleIntercept = 500
        ds.add_new("PixelPaddingValue", "SS" if written < 0 else "US", written)

    volume = read_ct(write(tmp_path, series, pad))
    assert (volume.values[:7, 0] == -1024).all()
    np.testing.assert_array_equal(volume.values[:, 1:], hu[:, 1:] + 500)


def header(tmp_path, edit=None):
    write(tmp_path, Series(), edit, keep=[0])
    return read_headers(tmp_path / "IM0000")[0]


def test_padding_that_is_tissue_ends_at_the_body(tmp_path):
    series = Series()
    hu = series.hu()
    hu[10:14, 6:9] = 0  # water within the body
    hu[:1] = hu[:, :1] = 0  # and what was not reconstructed, beside it

    def pad(ds, k):
        ds.PixelRepresentation, ds.RescaleSlope, ds.RescaleIntercept = 1, 1, 0
        set_pixels(ds, hu[:, :, k].T, signed=True)
        ds.add_new("PixelPaddingValue", "SS", 0)

    volume = read_ct(write(tmp_path, series, pad))
    assert (volume.values[10:14, 6:9] == 0).all()
    assert (volume.values[:1] == -1024).all() and (volume.values[:, :1] == -1024).all()
    assert any("declared as padding is 0 HU" in text for text in volume.warnings)


def test_padding_range_is_inclusive(tmp_path):
    def pad(ds, k):
        ds.PixelPaddingValue, ds.PixelPaddingRangeLimit = 0, 10

    plane = header(tmp_path, pad)
    hu = to_hu(np.array([[0, 5, 10, 11]], np.uint16), plane)
    assert hu.tolist() == [[-1024, -1024, -1024, -1013]]


def test_hu_are_rounded_and_clipped(tmp_path):
    def scale(ds, k):
        ds.RescaleSlope, ds.RescaleIntercept = "1.5", "-3000"
        ds.BitsStored, ds.HighBit = 16, 15

    hu = to_hu(np.array([[0, 2001, 2004, 65535]], np.uint16), header(tmp_path, scale))
    assert hu.tolist() == [[-1024, 2, 6, 32767]]
    assert hu.dtype == np.int16


@pytest.mark.parametrize("lost", [1, 5, 200, 960])
def test_truncated_pixels_are_refused(tmp_path, lost, assert_private):
    write(tmp_path, Series())
    path = tmp_path / "IM0025"
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(UnsuitableCtError, match="IM0025") as caught:
        read_ct(tmp_path)
    assert_private(str(caught.value))


def test_every_truncation_is_refused(tmp_path):
    """Wherever a file of the series breaks off, no plan rests on the rest in silence."""
    write(tmp_path, Series())
    path = tmp_path / "IM0025"
    data = path.read_bytes()
    for size in range(150, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(UnsuitableCtError):
            read_ct(tmp_path)


def test_unknown_compression_is_refused(tmp_path):
    write(tmp_path, Series())
    for path in tmp_path.iterdir():
        transcode(path, gdcm.TransferSyntax.JPEG2000Lossless)
        data = path.read_bytes().replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.77")
        path.write_bytes(data)
    with pytest.raises(UnsuitableCtError, match="no decoder is installed"):
        read_ct(tmp_path)


def test_progress_runs_from_start_to_end(tmp_path):
    steps: list[tuple[str, float]] = []
    read_ct(write(tmp_path, Series()), progress=lambda what, part: steps.append((what, part)))
    assert {what for what, _ in steps} == {"reading headers", "reading slices"}
    slices = [part for what, part in steps if what == "reading slices"]
    assert slices == sorted(slices)
    assert slices[-1] == 1.0
