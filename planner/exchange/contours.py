"""Outlines of masks on the planes of a CT, as polygons that any program fills alike.

A contour runs half-way between pixels that are in a segment and pixels that are not (marching
squares at 0.5), so that the pixel centres inside it are exactly those of the mask. It cuts the
corners of pixels: its area is that of the pixels less half a pixel for each piece, plus half a
pixel for each hole. A piece that touches the image's edge is closed half a pixel outside of it.

Holes are joined to their piece by a cut of no width (the keyhole that DICOM describes for
CLOSED_PLANAR). Separate contours would need the reader's consent: some programs take the
difference of nested contours, others their union, which would fill the foramina with bone. The
type CLOSEDPLANAR_XOR, made for this, is younger than most readers. A keyhole is right in all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS
from planner.reading import SliceHeader

Polygon = Float
"""(N, 2) column and row of the vertices, in pixels; not closed, N >= 3."""


def labels_on_plane(
    labels: NDArray[np.uint8], grid: Grid, plane: SliceHeader
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Take the nearest label at every pixel of a plane, within the box that can hold any.

    Returns (rows, columns) of the box and the row and column at which it begins. A pixel off the
    label map is background. Raises ValueError for a plane without a place.
    """
    corners = to_pixels(plane, grid.corners())
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (plane.columns, plane.rows))
    if (high <= low).any():
        return np.zeros((0, 0), np.uint8), (0, 0)
    columns, rows = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    points = to_patient(plane, np.stack([columns, rows], axis=-1))
    nearest = np.rint(grid.to_ijk(points)).astype(int)
    within = ((nearest >= 0) & (nearest < np.array(grid.shape))).all(axis=-1)
    out = np.zeros(columns.shape, np.uint8)
    out[within] = labels[tuple(nearest[within].T)]
    return out, (int(low[1]), int(low[0]))


def outlines(
    labels: NDArray[np.uint8], grid: Grid, plane: SliceHeader
) -> Iterator[tuple[str, Polygon]]:
    """Yield the segments on a plane with the polygons around their pieces, in pixels."""
    found, (row, column) = labels_on_plane(labels, grid, plane)
    present = set(np.unique(found).tolist())
    for name, value in LABELS.items():
        if value in present:
            for polygon in polygons(found == value):
                yield name, polygon + (column, row)


def polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Outline a (rows, columns) mask: one polygon per piece, holes joined by keyholes.

    Pixels that meet at a corner only belong to different pieces.
    """
    field = np.pad(mask, 1).astype(float)
    found = find_contours(field, 0.5, fully_connected="low", positive_orientation="low")
    loops = [_corners(loop[:-1, ::-1] - 1.0) for loop in found]
    # The sense in which a loop runs tells a piece from a hole.
    pieces = [loop for loop in loops if signed_area(loop) > 0]
    holes = [loop for loop in loops if signed_area(loop) < 0]
    belong: list[list[Polygon]] = [[] for _ in pieces]
    for hole in holes:
        inside = [n for n, piece in enumerate(pieces) if contains(piece, hole[0])]
        around = min(inside, key=lambda n: abs(signed_area(pieces[n])))
        belong[around].append(hole)
    return [_joined(piece, own) for piece, own in zip(pieces, belong, strict=True)]


def signed_area(polygon: Polygon) -> float:
    """Area of an (N, 2) polygon, positive where it runs from +x to +y."""
    x, y = polygon.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2.0


def contains(polygon: Polygon, point: Float) -> bool:
    """Tell whether a (2,) point lies inside an (N, 2) polygon, by the parity of crossings."""
    return bool(len(_crossings(polygon, point)) % 2)


def to_patient(plane: SliceHeader, pixels: Float) -> Float:
    """Map (..., 2) column and row of a plane to (..., 3) patient LPS, mm."""
    origin, right, down = _axes(plane)
    pixels = np.asarray(pixels, float)
    return np.asarray(origin + pixels[..., :1] * right + pixels[..., 1:] * down)


def to_pixels(plane: SliceHeader, points: Float) -> Float:
    """Map (..., 3) patient LPS points to (..., 2) column and row, along the plane's normal."""
    origin, right, down = _axes(plane)
    along = np.asarray(points, float) - origin
    return np.asarray(np.stack([along @ right / (right @ right), along @ down / (down @ down)], -1))


def _axes(plane: SliceHeader) -> tuple[Float, Float, Float]:
    """First pixel's centre, and one step along a row and down a column, patient LPS, mm."""
    if plane.position is None or plane.orientation is None or plane.spacing_mm is None:
        raise ValueError("a plane without position, orientation and spacing lies nowhere")
    cosines = np.asarray(plane.orientation, float)
    # DICOM's spacing: between rows first, that is down a column.
    return (
        np.asarray(plane.position),
        cosines[:3] * plane.spacing_mm[1],
        cosines[3:] * (plane.spacing_mm[0]),
    )


def _corners(loop: Polygon) -> Polygon:
    """Leave out vertices at which a loop goes straight on; the outline stays what it is."""
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return np.asarray(loop[turn != 0])


def _crossings(polygon: Polygon, point: Float) -> list[tuple[float, int]]:
    """Where the ray from a point towards -x crosses a polygon: x, and after which vertex."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    spans = np.flatnonzero((start[:, 1] <= point[1]) != (end[:, 1] <= point[1]))
    part = (point[1] - start[spans, 1]) / (end[spans, 1] - start[spans, 1])
    x = start[spans, 0] + part * (end[spans, 0] - start[spans, 0])
    return [(float(a), int(n)) for a, n in zip(x, spans, strict=True) if a < point[0]]


def _joined(piece: Polygon, holes: list[Polygon]) -> Polygon:
    """Join holes to the piece around them, each by a cut from its leftmost vertex to the left.

    Taken from left to right, so that a cut ends on the piece or on a hole that is joined already.
    """
    for hole in sorted(holes, key=lambda each: float(each[:, 0].min())):
        first = int(np.argmin(hole[:, 0]))
        x, after = max(_crossings(piece, hole[first]))
        meets = np.array([[x, hole[first, 1]]])
        way = np.concatenate([meets, np.roll(hole, -first, axis=0), hole[first : first + 1], meets])
        piece = np.concatenate([piece[: after + 1], way, piece[after + 1 :]])
    return piece
