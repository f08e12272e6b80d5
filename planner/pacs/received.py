"""Reads DICOM files that come or go; of what a server gave nothing is sure."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException, InvalidDicomError

from planner.errors import ConfigurationError, ServerError
from planner.pacs.archive import Outgoing

FAULTS = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    EOFError,
    NotImplementedError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
    zlib.error,
)
"""What pydicom raises for bytes that are no DICOM."""

UNDEFINED = 0xFFFFFFFF
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_whole(data: bytes) -> FileDataset:
    """Read every element of a DICOM file; raises ServerError for what is none, or cut off."""
    try:
        made = pydicom.dcmread(BytesIO(data))
        cut = _is_cut(made, len(data)) or _lacks_pixels(made)
        made.decode()
    except FAULTS as error:
        raise ServerError("the server sent what is no DICOM file, or a part of one.") from error
    if cut:
        raise ServerError("the server sent a file that is cut off.")
    return made


def read_to_send(each: Outgoing) -> FileDataset:
    """Read a file that is on its way; raises ConfigurationError where it is not what it was."""
    try:
        made = pydicom.dcmread(each.path)
        now = (str(made.SOPInstanceUID), str(made.file_meta.TransferSyntaxUID))
    except (OSError, *FAULTS) as error:
        raise ConfigurationError(
            f"{each.path} cannot be read any more ({type(error).__name__}); was it moved or "
            "changed while it was sent?"
        ) from error
    if now != (each.uid, each.transfer_syntax):
        raise ConfigurationError(f"{each.path} was changed while it was sent; send it again.")
    return made


def _is_cut(made: FileDataset, size: int) -> bool:
    """Tell whether the file ends before its elements do; pydicom takes what there is."""
    if made.file_meta.TransferSyntaxUID.is_deflated:
        return False  # a deflated file that is cut cannot be inflated
    last = None
    for tag in made:
        last = made.get_item(tag.tag)
        if not isinstance(last, RawDataElement) or last.length == UNDEFINED:
            last = None
    return last is not None and last.value_tell + last.length > size


def _lacks_pixels(made: FileDataset) -> bool:
    """Tell whether an image has fewer pixels than it says."""
    if "Rows" not in made:
        return False
    name = next((name for name in PIXELS if name in made), None)
    if name is None:
        return True
    frames = int(made.get("NumberOfFrames") or 1)
    data = made[name].value
    if made.file_meta.TransferSyntaxUID.is_encapsulated:
        return sum(1 for _ in generate_frames(data, number_of_frames=frames)) < frames
    bits = made.Rows * made.Columns * made.get("SamplesPerPixel", 1) * frames
    return len(data) * 8 < int(bits * made.BitsAllocated)
