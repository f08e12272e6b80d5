"""Decoders of compressed pixels that raise on damaged streams, and none that ends the program.

GDCM, which pydicom asks first where it is installed, ends the whole process by an abort or an
access violation on about one damaged stream in 200 of JPEG lossless, JPEG-LS and JPEG 2000; a
lost process names no file. JPEG and JPEG-LS are decoded by libjpeg-turbo and CharLS instead
(imagecodecs, here), JPEG 2000 by OpenJPEG (pydicom's own plugins).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
from pydicom import uid
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner

NAME, NEVER = "imagecodecs", "gdcm"
_READERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(uid.JPEGTransferSyntaxes, imagecodecs.jpeg8_decode),
    **dict.fromkeys(uid.JPEGLSTransferSyntaxes, imagecodecs.jpegls_decode),
}
# What pydicom asks of a module of decoders; nothing is missing where it can be imported.
DECODER_DEPENDENCIES = dict.fromkeys(_READERS, ("imagecodecs",))


def is_available(syntax: str) -> bool:
    """Tell whether frames of a transfer syntax, a UID, are decoded here."""
    return syntax in _READERS


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame to its samples, little endian, in whole bytes (pydicom's interface)."""
    samples = _READERS[runner.transfer_syntax](frame)
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    return bytes(samples.astype(samples.dtype.newbyteorder("<")).tobytes())


def use_these() -> None:
    """Enter these decoders into pydicom for this process, and take GDCM out of it."""
    for syntax in (*_READERS, uid.JPEG2000Lossless, uid.JPEG2000):
        decoder = get_decoder(uid.UID(syntax))
        if NEVER in decoder.available_plugins:
            decoder.remove_plugin(NEVER)
        if syntax in _READERS and NAME not in decoder.available_plugins:
            decoder.add_plugin(NAME, (__name__, decode_frame.__name__))
