"""Stored pixels to Hounsfield units, one plane at a time, into one array.

Rules: a stored value that the header declares as padding becomes -1024 HU, one that would be tissue
only where it hangs together with the border of the image, for it stands in the body as well; every
other one is
slope x stored + intercept of its own plane, rounded to the nearest whole HU and clipped to int16
from -1024 up: nothing in a body is below air, and metal keeps its value up to 32767. Bits above
HighBit are no part of a value; where they are set without an overlay being declared there, the
header and the pixels contradict each other and the plane is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels, pixel_array
from scipy import ndimage

from planner.errors import UnsuitableCtError
from planner.reading.checks import PADDING_IS_AIR_HU, padded_hu
from planner.reading.headers import DEFLATED, SliceHeader
from planner.reading.quiet import quiet_pydicom
from planner.reading.stacks import Stack
from planner.reading.tilt import shift_into
from planner.reading.values import first_line

Plane = NDArray[np.int16]
Progress = Callable[[str, float], None]

LOWEST_HU = -1024
HIGHEST_HU = 32767
# Decoding releases the interpreter for reading and decompression only; more threads do not help.
THREADS = 2
# The RLE decoder is written in Rust, whose panics pass by Exception.
NATIVE_PANICS = frozenset({"PanicException"})
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def read_stack(stack: Stack, progress: Progress | None = None) -> NDArray[np.int16]:
    """Read the voxels of a stack onto `stack.grid()`: (I, J, K), HU, column-major.

    Only one array of that size exists at any time. Raises UnsuitableCtError for pixels that cannot
    be decoded.
    """
    shape = stack.grid().shape
    try:
        values = np.empty(shape, np.int16, order="F")
    except MemoryError as error:
        raise UnsuitableCtError(
            f"series {stack.label}: {shape} voxels do not fit into memory; crop it to the pelvis"
        ) from error
    travel = stack.offsets_mm / stack.spacing_mm[:2] + np.array(stack.padding()[0])
    files: dict[Path, list[int]] = {}
    for k, plane in enumerate(stack.planes):
        files.setdefault(plane.path, []).append(k)
    done = 0
    lock = threading.Lock()

    def fill(indices: list[int]) -> None:
        nonlocal done
        planes = [stack.planes[k] for k in indices]
        for k, plane in zip(indices, decode(planes), strict=True):
            target = values[:, :, k].T
            if stack.tilted:
                shift_into(target, plane, float(travel[k, 0]), float(travel[k, 1]), LOWEST_HU)
            else:
                target[...] = plane
            with lock:
                done += 1
                if progress is not None:
                    progress("reading slices", done / shape[2])

    with quiet_pydicom(), ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(fill, files.values()):
            pass
    return values


def same_pixels(a: SliceHeader, b: SliceHeader) -> bool:
    """Tell whether two planes hold the same HU; unreadable ones are never the same."""
    try:
        with quiet_pydicom():
            return np.array_equal(next(decode([a])), next(decode([b])))
    except UnsuitableCtError:
        return False


def decode(planes: Sequence[SliceHeader]) -> Iterator[Plane]:
    """Yield the planes of one file in the given order as (rows, columns) HU."""
    frames = _frames(planes)
    for plane in planes:
        try:
            stored = next(frames)
        except StopIteration:
            raise _undecodable(plane, "it holds fewer frames than it says") from None
        except Exception as error:  # every decoder raises types of its own
            raise _undecodable(plane, first_line(error)) from error
        except BaseException as error:
            if type(error).__name__ not in NATIVE_PANICS:
                raise
            raise _undecodable(plane, first_line(error)) from error
        if stored.shape != (plane.rows, plane.columns):
            raise _undecodable(plane, f"decoded to {stored.shape} pixels")
        yield to_hu(stored, plane)


def _frames(planes: Sequence[SliceHeader]) -> Iterator[NDArray[Any]]:
    """Yield stored values with all their bits: cut to size unseen, bright metal becomes dark."""
    head = planes[0]
    if head.transfer_syntax and head.transfer_syntax != DEFLATED:
        indices = [p.frame for p in planes] if head.frames > 1 else None
        yield from iter_pixels(head.path, indices=indices, raw=True, correct_unused_bits=False)
        return
    dataset = pydicom.dcmread(head.path, force=True)
    if not head.transfer_syntax:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            IMPLICIT_LITTLE_ENDIAN if implicit else EXPLICIT_LITTLE_ENDIAN
        )
    pixels = pixel_array(dataset, raw=True, correct_unused_bits=False)
    for plane in planes:
        yield pixels[plane.frame] if head.frames > 1 else pixels


def to_hu(stored: NDArray[Any], plane: SliceHeader) -> Plane:
    """Turn the stored values of one plane, (rows, columns), into HU."""
    values = _significant_bits(stored, plane)
    slope, intercept = plane.slope or 1.0, plane.intercept or 0.0
    if slope == 1.0 and intercept == int(intercept):
        hu = values.astype(np.int32) + int(intercept)
    else:
        hu = np.rint(values * slope + intercept)
    out = np.clip(hu, LOWEST_HU, HIGHEST_HU).astype(np.int16)
    outside = _padded(stored, plane)
    if outside is not None:
        if padded_hu(plane) > PADDING_IS_AIR_HU:
            outside &= _joined_to_border(outside)
        out[outside] = LOWEST_HU
    return out


def _joined_to_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask that hang together with its image's border."""
    parts, _ = ndimage.label(mask)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, edge[edge > 0])


def _padded(stored: NDArray[Any], plane: SliceHeader) -> NDArray[np.bool_] | None:
    """Find the pixels that are declared not to be image; stored values are compared as bits.

    Writers give the padding of signed pixels as an unsigned number and the other way round.
    """
    if plane.padding is None:
        return None
    size = 1 << plane.bits_allocated
    if plane.padding_limit is None or plane.padding_limit == plane.padding:
        bits = stored.astype(np.int64) % size
        return np.asarray(bits == plane.padding % size)
    low, high = sorted((_wrap(plane.padding, plane), _wrap(plane.padding_limit, plane)))
    return np.asarray((stored >= low) & (stored <= high))


def _wrap(value: int, plane: SliceHeader) -> int:
    size = 1 << plane.bits_allocated
    value %= size
    return value - size if plane.signed and value >= size // 2 else value


def _significant_bits(stored: NDArray[Any], plane: SliceHeader) -> NDArray[Any]:
    """Cut values to their stored bits, with the sign of the highest of them."""
    if plane.bits_stored >= plane.bits_allocated or stored.dtype.itemsize * 8 <= plane.bits_stored:
        return stored
    raw = stored
    if plane.high_bit != plane.bits_stored - 1:
        stored = stored >> (plane.high_bit + 1 - plane.bits_stored)
    half = 1 << (plane.bits_stored - 1)
    low, high = (-half, half - 1) if plane.signed else (0, 2 * half - 1)
    beyond = (stored < low) | (stored > high)
    padded = _padded(raw, plane)
    if padded is not None:
        beyond &= ~padded
    unsigned_fill = plane.signed and not ((stored < 0) | (stored >= 2 * half)).any()
    if beyond.any() and not (plane.overlay_in_pixels or unsigned_fill):
        raise UnsuitableCtError(
            f"the pixels of {plane.path.name} reach from {stored.min()} to {stored.max()}, more "
            f"than the {plane.bits_stored} bits its header states, so their values cannot be "
            "trusted; export the series again"
        )
    bits = stored.astype(np.int64) & (2 * half - 1)
    return np.where(bits >= half, bits - 2 * half, bits) if plane.signed else bits


def _undecodable(plane: SliceHeader, reason: str) -> UnsuitableCtError:
    frame = f", frame {plane.frame + 1}" if plane.frames > 1 else ""
    return UnsuitableCtError(
        f"the pixels of {plane.path.name}{frame} (series {plane.series_uid}) cannot be read: "
        f"{reason}; they may be truncated, encrypted or in a compression without a decoder here; "
        "copy the file again or export it uncompressed"
    )
