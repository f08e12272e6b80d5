"""Whether a NIfTI, NRRD or MetaImage file can hold the volume it states, before it is opened.

The libraries that read these formats trust the header: they set its size aside, follow it to other
files and unpack streams without an end. Here the header is read up to a limit, data files are
looked for beside it only, and compressed streams are counted piece by piece.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from planner.errors import UnsuitableCtError
from planner.reading.bounded import MOST_INFLATION, bunzipped_size, inflated_size, is_regular
from planner.reading.limits import MOST_VOXELS

# Names of segments and their codes take some kB; extensions of NIfTI up to some hundred.
LONGEST_HEADER_BYTES = 1 << 20
LONGEST_NIFTI_HEADER_BYTES = 16 << 20
# Channels, layers of a segmentation or bytes of a number: more than eight times a voxel is no CT.
MOST_BYTES = 8 * MOST_VOXELS
# What may follow the voxels in a stream: padding, or a skip that the header states.
SLACK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
NIFTI_SIZES = {348: ("h", 40, "f", 108, 72), 540: ("q", 16, "q", 168, None)}
NRRD_BYTES = {"char": 1, "short": 2, "int": 4, "long": 8, "float": 4, "double": 8}
NRRD_SKIPS = ("line skip", "lineskip", "byte skip", "byteskip")
META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 8, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


NRRD_TEXT = ("ascii", "text", "txt")
Counter = Callable[[BinaryIO, int], int | None]
NRRD_PACKED: dict[str, Counter] = {"gzip": inflated_size, "gz": inflated_size}
NRRD_PACKED |= {"bzip2": bunzipped_size, "bz2": bunzipped_size}


class _FaultError(Exception):
    """What is wrong with a file, as the rest of a sentence about it."""


def check_volume_file(path: Path, shown: str) -> None:
    """Refuse a volume file whose header promises what it does not hold (UnsuitableCtError).

    path: .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd. shown: what messages call it. Raises OSError.
    """
    name = path.name.lower()
    try:
        if not is_regular(path):
            raise _FaultError("is no file but a folder, a device, a pipe or a socket")
        if name.endswith((".nii", ".nii.gz")):
            _check_nifti(path)
        elif name.endswith((".mha", ".mhd")):
            _check_meta(path)
        else:
            _check_nrrd(path)
    except _FaultError as fault:
        raise UnsuitableCtError(
            f"{shown} cannot be read: it {fault}; copy it again, or save it as one volume"
        ) from None
    except (
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        gzip.BadGzipFile,
        ArithmeticError,
    ) as error:
        raise UnsuitableCtError(
            f"{shown} cannot be read ({type(error).__name__}: {str(error)[:200]}); copy it again"
        ) from error


def _check_size(shape: list[int], item: int) -> int:
    """Return the bytes of a shape; refuse what no CT takes."""
    if not shape or min(shape) < 1:
        raise _FaultError(f"states the sizes {shape}, all must be positive")
    needed = math.prod(shape) * item
    if needed > MOST_BYTES:
        raise _FaultError(
            f"states {needed / 1024**3:.3g} GiB of voxels, at most "
            f"{MOST_BYTES / 1024**3:.0f} are read"
        )
    return needed


def _check_nifti(path: Path) -> None:
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        if packed and not path.name.lower().endswith(".gz"):
            raise _FaultError("is compressed with gzip; rename it to end in .nii.gz")
        raw.seek(0)
        head = gzip.GzipFile(fileobj=raw).read(540) if packed else raw.read(540)
    little = next((o for o in "<>" if struct.unpack(o + "i", head[:4])[0] in NIFTI_SIZES), "")
    if not little:
        raise _FaultError("cannot be read as NIfTI: its header has another length")
    kind, dims_at, offset_kind, offset_at, bits_at = NIFTI_SIZES[
        struct.unpack(little + "i", head[:4])[0]
    ]
    dims = struct.unpack_from(f"{little}8{kind}", head, dims_at)
    bits = struct.unpack_from(f"{little}h", head, 14 if bits_at is None else bits_at)[0]
    if not 1 <= dims[0] <= 7 or bits < 1:
        raise _FaultError(f"states {dims[0]} dimensions of {bits} bits")
    offset = float(struct.unpack_from(little + offset_kind, head, offset_at)[0])
    if not 0 <= offset <= LONGEST_NIFTI_HEADER_BYTES:
        raise _FaultError(f"puts its voxels at byte {offset:.3g}")
    needed = _check_size([int(n) for n in dims[1 : int(dims[0]) + 1]], 1) * bits // 8 + int(offset)
    held = path.stat().st_size * (MOST_INFLATION if packed else 1)
    if needed > min(held, MOST_BYTES):
        raise _FaultError(f"states {needed} bytes and cannot hold more than {held}")
    if packed:
        _check_sum(path, needed)


def _check_sum(path: Path, needed: int) -> None:
    """Unpack to the end, where the checksum stands: who reads the voxels alone never sees it."""
    left = needed + LONGEST_NIFTI_HEADER_BYTES
    with gzip.open(path) as stream:
        while piece := stream.read(1 << 20):
            left -= len(piece)
            if left < 0:
                raise _FaultError(f"holds more than the {needed} bytes that it states")


def _check_nrrd(path: Path) -> None:
    with path.open("rb") as stream:
        fields = _nrrd_fields(stream)
        detached = fields.get("data file", fields.get("datafile"))
        for name in NRRD_SKIPS:
            if not -1 <= int(fields.get(name, 0)) <= LONGEST_HEADER_BYTES:
                raise _FaultError(f"states a {name} of {fields[name]}")
        word = fields.get("type", "").removesuffix("_t").split()
        item = _nrrd_item(word[-1] if word else "")
        needed = _check_size([int(n) for n in fields.get("sizes", "").split()], item)
        encoding = fields.get("encoding", "").lower()
        count, text = NRRD_PACKED.get(encoding), encoding in NRRD_TEXT
        if text and needed > path.stat().st_size * item:
            raise _FaultError("holds fewer numbers than its header states")
        if detached is not None:
            with _beside(path, detached).open("rb") as data:
                _check_stream(data, needed, count, text)
        else:
            _check_stream(stream, needed, count, text)


def _nrrd_fields(stream: BinaryIO) -> dict[str, str]:
    if stream.read(4) != b"NRRD":
        raise _FaultError("cannot be read as NRRD: it does not begin as one")
    fields: dict[str, str] = {}
    left = LONGEST_HEADER_BYTES
    while True:
        line = stream.readline(left)
        left -= len(line)
        if left <= 0:
            raise _FaultError(f"has a header of more than {LONGEST_HEADER_BYTES >> 20} MiB")
        text = line.decode("ascii", "replace").strip()
        if not text:
            return fields
        key, colon, value = text.partition(":")
        if colon and not value.startswith("=") and not text.startswith("#"):
            fields[key.strip()] = value.strip()


def _nrrd_item(word: str) -> int:
    """Bytes of one value of an NRRD type, by the last word of its name."""
    digits = "".join(c for c in word if c.isdigit())
    if digits:
        return max(int(digits) // 8, 1)
    plain = "long" if word == "longlong" else word.removeprefix("u")
    if plain not in NRRD_BYTES:
        raise _FaultError(f"holds values of type {word!r}, whole or real numbers are expected")
    return 4 if plain == "int" else NRRD_BYTES[plain]


def _check_meta(path: Path) -> None:
    with path.open("rb") as stream:
        fields: dict[str, str] = {}
        while "ElementDataFile" not in fields:
            line = stream.readline(LONGEST_HEADER_BYTES)
            if not line or stream.tell() > LONGEST_HEADER_BYTES:
                raise _FaultError("names no ElementDataFile in its header")
            key, _, value = line.decode("ascii", "replace").partition("=")
            fields[key.strip()] = value.strip()
        dims = int(fields.get("NDims", 3))
        if not 1 <= dims <= 4:
            raise _FaultError(f"has {dims} dimensions, 3 are expected")
        item = META_BYTES.get(fields.get("ElementType", "").removeprefix("MET_").removeprefix("U"))
        if item is None:
            raise _FaultError(f"holds values of type {fields.get('ElementType', '')[:40]!r}")
        channels = int(fields.get("ElementNumberOfChannels", 1))
        sizes = [int(n) for n in fields.get("DimSize", "").split()]
        needed = _check_size([*sizes, channels], item)
        packed = fields.get("CompressedData", "False").lower() in ("true", "1")
        if fields["ElementDataFile"].upper() == "LOCAL":
            _check_stream(stream, needed, inflated_size if packed else None)
            return
    with _beside(path, fields["ElementDataFile"]).open("rb") as data:
        _check_stream(data, needed, inflated_size if packed else None)


def _beside(path: Path, name: str) -> Path:
    """Return the data file that a header names; only a plain file in the same folder is read."""
    name = name.removeprefix("./")
    data = path.parent / name
    plain = name not in ("", ".", "..") and not set(name) & set("/\\:%\0")
    if not plain or name.upper() == "LIST" or not data.exists():
        raise _FaultError(
            f"keeps its voxels in {name[:80]!r}; one file that lies beside it, named without a "
            "folder, is expected"
        )
    if not is_regular(data) or data.resolve().parent != path.resolve().parent:
        raise _FaultError(f"keeps its voxels in {name[:80]!r}, which is no file beside it")
    return data


def _check_stream(stream: BinaryIO, needed: int, count: Counter | None, text: bool = False) -> None:
    """Compare what the rest of a stream holds with what is needed.

    count: how to unpack; None for plain voxels. text: numbers in letters, whose length says little.
    """
    if count is None:
        start = stream.tell()
        held: int | None = stream.seek(0, 2) - start
    else:
        try:
            held = count(stream, needed + SLACK_BYTES)
        except (zlib.error, OSError) as error:
            raise ValueError(f"its compressed voxels are damaged, {error}") from error
    if held is None or (not text and held > needed + SLACK_BYTES):
        raise _FaultError(f"holds more than the {needed} bytes of voxels that its header states")
    if held < needed and not text:
        raise _FaultError(f"breaks off: it holds {held} of {needed} bytes of voxels")
