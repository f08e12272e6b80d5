"""Read foreign files without trusting the sizes they state.

Whatever a file says of itself is compared with what it holds before memory is set aside for it. The
limits stand far above any CT of one examination; what exceeds them is damaged or hostile.
"""

from __future__ import annotations

import bz2
import stat
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

# The pixels of one slice are skipped, so that only headers count: an enhanced CT of 20,000 frames
# spends about 2 kB on each, which is 40 MB.
LONGEST_HEADER_BYTES = 128 * 1024**2
# A deflated data set is inflated as a whole by its reader: 2000 slices of 512 x 512 pixels.
LARGEST_INFLATED_BYTES = 1024**3
# zlib's own documentation: no deflate stream unpacks to more than 1032 times its size.
MOST_INFLATION = 1032
CHUNK_BYTES = 1 << 20


class TooLargeError(ValueError):
    """A file holds or states more than is read; the message is the rest of a sentence about it."""


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class BoundedStream:
    """A DICOM file as its parser reads it, up to a limit in all.

    Skipping costs nothing; reading without a size, which the parser does for deflated data sets
    only, is refused where the rest would inflate beyond LARGEST_INFLATED_BYTES.
    """

    def __init__(self, stream: BinaryIO, limit: int = LONGEST_HEADER_BYTES) -> None:
        self._stream = stream
        self._limit = limit
        self._left = limit
        self.name = str(getattr(stream, "name", ""))

    def read(self, size: int = -1) -> bytes:
        """Read up to size bytes; raises TooLargeError."""
        if size is None or size < 0:
            return self._rest()
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise TooLargeError(f"more than {self._limit >> 20} MiB of header")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere in the file."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Say where the next byte comes from."""
        return self._stream.tell()

    def close(self) -> None:
        """Leave the file to whoever opened it."""

    def _rest(self) -> bytes:
        start = self._stream.tell()
        if inflated_size(self._stream, LARGEST_INFLATED_BYTES, -zlib.MAX_WBITS) is None:
            raise TooLargeError(f"more than {LARGEST_INFLATED_BYTES >> 20} MiB when inflated")
        self._stream.seek(start)
        return self._stream.read()


def inflated_size(stream: BinaryIO, limit: int, window: int = zlib.MAX_WBITS | 32) -> int | None:
    """Count what the rest of a zlib, gzip or raw deflate stream unpacks to; None above a limit.

    window: as zlib takes it. Holds one chunk at a time. Raises zlib.error.
    """
    return _unpacked(stream, limit, zlib.decompressobj(window))


def bunzipped_size(stream: BinaryIO, limit: int) -> int | None:
    """Count what the rest of a bzip2 stream unpacks to; None above a limit. Raises OSError."""
    return _unpacked(stream, limit, bz2.BZ2Decompressor())


def _unpacked(stream: BinaryIO, limit: int, inflater: _Inflater) -> int | None:
    total = 0
    while not inflater.eof and (packed := stream.read(CHUNK_BYTES)):
        while True:
            got = len(inflater.decompress(packed, CHUNK_BYTES))
            total += got
            if total > limit:
                return None
            packed = getattr(inflater, "unconsumed_tail", b"")
            if got < CHUNK_BYTES or inflater.eof:
                break
    return total


def is_regular(path: Path) -> bool:
    """Tell a file that ends from a pipe, a socket or a device, through links; raises OSError."""
    return stat.S_ISREG(path.stat().st_mode)
