"""Compressed pixels, sound and damaged: the right values, or an error, and the process lives."""

from __future__ import annotations

import subprocess
import sys

import gdcm
import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, JPEGExtended12Bit

from planner.reading import read_ct
from planner.reading.headers import read_headers
from planner.reading.pixels import decode

from .dicom_series import Series, save, set_pixels, transcode, write

BY_GDCM = {
    "RLE": gdcm.TransferSyntax.RLELossless,
    "JPEG 2000 lossless": gdcm.TransferSyntax.JPEG2000Lossless,
    "JPEG-LS lossless": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "JPEG lossless, first order": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
}
OTHERS = {
    "HTJ2K lossless": (HTJ2KLossless, lambda pixels: imagecodecs.htj2k_encode(pixels)),
    "JPEG extended, 12 bit": (
        JPEGExtended12Bit,
        lambda pixels: imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12),
    ),
}
LOSSY = ("JPEG extended, 12 bit",)
ALL = [*BY_GDCM, *OTHERS]
DAMAGES = 600

# Reads one slice again and again, damaged in another way each time, in a process of its own.
ATTACK = """
import sys
from pathlib import Path
import numpy as np
import planner.reading
from planner.errors import UnsuitableCtError
from planner.reading.headers import read_headers
from planner.reading.pixels import decode

path, count = Path(sys.argv[1]), int(sys.argv[2])
data = path.read_bytes()
start = data.rfind(b"\\xe0\\x7f\\x10\\x00O") + 28
header, = read_headers(path)
refused = 0
for seed in range(count):
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    end = len(data) - 8 if seed % 3 else min(len(data) - 8, start + 200)
    if seed % 4 == 3:
        at = int(rng.integers(start, end - 4))
        length = int(rng.integers(4, min(400, len(data) - at)))
        damaged[at : at + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    else:
        for at in rng.integers(start, end, (1, 4, 30)[seed % 4]):
            damaged[at] = int(rng.integers(256))
    path.write_bytes(damaged)
    try:
        next(decode([header]))
    except UnsuitableCtError:
        refused += 1
print(refused)
"""


def compress(path, name):
    if name in BY_GDCM:
        transcode(path, BY_GDCM[name])
        return
    syntax, encode = OTHERS[name]
    ds = dcmread(path)
    ds.PixelData = encapsulate([encode(ds.pixel_array)])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    save(ds, path)


@pytest.mark.parametrize("name", ALL)
def test_compression_changes_nothing(tmp_path, name):
    series = Series()
    for path in write(tmp_path, series).iterdir():
        compress(path, name)
    apart = np.abs(read_ct(tmp_path).values - series.hu())
    assert apart.max() <= (8 if name in LOSSY else 0)


@pytest.mark.parametrize("name", ["JPEG 2000 lossless", "JPEG-LS lossless", "JPEG lossless"])
@pytest.mark.parametrize("bits", [12, 16])
def test_compressed_signed_pixels(tmp_path, name, bits):
    series = Series()
    hu = series.hu()

    def sign(ds, k):
        ds.RescaleIntercept = 0
        set_pixels(ds, hu[:, :, k].T, bits=bits, signed=True)

    for path in write(tmp_path, series, sign).iterdir():
        compress(path, name)
    np.testing.assert_array_equal(read_ct(tmp_path).values, hu)


@pytest.mark.parametrize("name", ALL)
def test_a_damaged_slice_never_ends_the_process(tmp_path, name):
    """GDCM ends it within these for JPEG lossless, JPEG-LS and JPEG 2000."""
    folder = write(tmp_path / "ct", Series(columns=120, rows=110, slices=2))
    path = sorted(folder.iterdir())[0]
    compress(path, name)
    (header,) = read_headers(path)
    assert next(decode([header])).shape == (110, 120)
    done = subprocess.run(
        [sys.executable, "-c", ATTACK, str(path), str(DAMAGES)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > DAMAGES / 10
