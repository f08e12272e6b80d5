"""Whether a file holds the pixels that its header states, found out without decoding any.

Decoders set memory aside for what a compressed image says of its size, and some end the whole
program where that contradicts the DICOM header. Both sizes are therefore compared first.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pydicom.pixels import get_decoder
from pydicom.uid import UID, RLELossless

from planner.reading.bounded import BoundedStream

# Tag and length, at least, come before the pixels; tag, VR and length before fragments.
PIXEL_ELEMENT_BYTES = 8
ENCAPSULATED_HEADER_BYTES = 12
ITEM, DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
# A JPEG states its size behind a few tables; comments and colour profiles may come first.
CODESTREAM_HEAD_BYTES = 4096
LONGEST_CODESTREAM_HEAD_BYTES = 128 * 1024
JPEG_START, JPEG_2000_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
# ITU T.81, table B.1: start of frame, without DHT, JPG and DAC between them; T.87: JPEG-LS.
FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
SCAN_MARKER = 0xDA
CUT = "the file breaks off in its compressed pixels"


class PixelSize(NamedTuple):
    """What a header states of its pixels; bits: allocated for one sample."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits: int


def pixel_fault(stream: BoundedStream, size: int, syntax: str, stated: PixelSize) -> str:
    """Tell why the pixels cannot be what the header states; empty where they can.

    stream: at the element of the pixels. size: of the file, bytes.
    """
    rest = size - stream.tell() - PIXEL_ELEMENT_BYTES
    if rest <= 0:
        return "the file ends before its pixels"
    if syntax and (fault := _decoder_fault(UID(syntax))):
        return fault
    if syntax and UID(syntax).is_encapsulated:
        return _fragment_fault(stream, size, stated, syntax == RLELossless)
    pixels = stated.rows * stated.columns * stated.samples * stated.frames
    needed = pixels * stated.bits // 8
    if rest < needed:
        return f"the file breaks off in its pixels: {rest} bytes left of {needed}"
    return ""


def _decoder_fault(syntax: UID) -> str:
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    return "" if available else f"no decoder is installed for its compression, {syntax.name}"


def _fragment_fault(stream: BoundedStream, size: int, stated: PixelSize, rle: bool) -> str:
    """Walk the fragments of compressed pixels: decoders may fill the rest of a cut one silently."""
    stream.seek(ENCAPSULATED_HEADER_BYTES, 1)
    fragments = -1  # the first item is the table of offsets
    while True:
        header = stream.read(8)
        if len(header) < 8:
            return CUT
        group, element, length = struct.unpack("<HHL", header)
        if (group, element) == DELIMITER:
            break
        start = stream.tell()
        if (group, element) != ITEM or start + length > size:
            return CUT
        fragments += 1
        if fragments and (fault := _start_fault(stream, length, stated, rle)):
            return fault
        stream.seek(start + length)
    if fragments < stated.frames:
        return f"it states {stated.frames} frames and holds {max(fragments, 0)}"
    return ""


def _start_fault(stream: BoundedStream, length: int, stated: PixelSize, rle: bool) -> str:
    """Compare the size that a fragment states of its image, where one begins in it."""
    head = stream.read(min(length, CODESTREAM_HEAD_BYTES))
    if rle:
        return _rle_fault(head, stated)
    if not head.startswith((JPEG_START, JPEG_2000_START)):
        return ""  # the middle of a frame, or nothing that a decoder takes
    found = codestream_size(head)
    if found is None and length > len(head):
        more = min(length, LONGEST_CODESTREAM_HEAD_BYTES) - len(head)
        found = codestream_size(head + stream.read(more))
    if found is None:
        return "its compressed pixels do not say how large they are"
    if found != (stated.rows, stated.columns):
        return (
            f"its compressed pixels are {found[0]} x {found[1]} and its header states "
            f"{stated.rows} x {stated.columns} (rows x columns)"
        )
    return ""


def _rle_fault(head: bytes, stated: PixelSize) -> str:
    # PS3.5 annex G: one segment for every byte of a pixel, their number at the start.
    segments = int.from_bytes(head[:4], "little")
    expected = stated.samples * stated.bits // 8
    if len(head) < 64 or segments != expected:
        return f"its compressed pixels hold {segments} segments, {expected} are expected"
    return ""


def codestream_size(head: bytes) -> tuple[int, int] | None:
    """Read rows and columns from the start of a JPEG, JPEG-LS or JPEG 2000 stream."""
    if head.startswith(JPEG_2000_START):
        if len(head) < 24:
            return None
        right, bottom, left, top = struct.unpack(">4L", head[8:24])
        return bottom - top, right - left
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in FRAME_MARKERS:
            rows, columns = struct.unpack(">HH", head[at + 5 : at + 9])
            return rows, columns
        if marker == SCAN_MARKER:
            return None
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
