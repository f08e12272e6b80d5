"""The four pictures of the page: where they lie, what they show, and what is drawn over them.

A pane is a square cut through the patient. The grey picture comes from the CT; lines over it
(needles, crosshair, letters) are SVG in the same pixels, so that they can follow the hand without a
new picture. Everything is computed here from patient LPS; the browser only shows it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from planner.export.overview.views import View
from planner.export.terminology import COLOURS
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import CHANNELS, LABELS, Anatomy
from planner.model.volume import Volume

PIXELS = 480
WINDOWS = {"bone": (-200.0, 800.0), "soft": (-135.0, 215.0)}
AIR_HU = -1024.0
FILL = 0.22
QUALITY = 88
HANDLE_PX = 9.0
NEEDLE, OTHER, CROSS, MEASURE = "#ff8c1a", "#c9b08f", "#4da3ff", "#7CFC9A"

TABLE = np.zeros((256, 3))
"""Label to red, green, blue, 0 to 255."""
CHANNEL = np.zeros(256, bool)
"""Whether a label is a channel, which is filled and not only outlined."""
for _name, _value in LABELS.items():
    TABLE[_value] = [255 * part for part in COLOURS[_name]]
    CHANNEL[_value] = _name in CHANNELS


@dataclass(frozen=True, eq=False)
class Pane:
    """A square picture: a plane of the patient, field_mm wide, PIXELS pixels across."""

    view: View
    field_mm: float

    @property
    def mm_per_pixel(self) -> float:
        """Size of a pixel."""
        return self.field_mm / PIXELS

    def to_patient(self, x: float, y: float) -> Float:
        """(3,) patient point of a pixel; x to the right, y down, from the upper left corner."""
        right = (x - PIXELS / 2) * self.mm_per_pixel
        up = (PIXELS / 2 - y) * self.mm_per_pixel
        return np.asarray(self.view.centre + right * self.view.right + up * self.view.up)

    def to_pixel(self, points: ArrayLike) -> Float:
        """(..., 2) pixels of (..., 3) patient points, dropped square onto the plane."""
        flat = self.view.project(points) / self.mm_per_pixel
        return np.stack([PIXELS / 2 + flat[..., 0], PIXELS / 2 - flat[..., 1]], axis=-1)

    def off_plane_mm(self, points: ArrayLike) -> Float:
        """(...,) distance of (..., 3) points from the plane, with sign."""
        normal = np.cross(self.view.right, self.view.up)
        return np.asarray((np.asarray(points, float) - self.view.centre) @ normal)


@dataclass(frozen=True, eq=False)
class Painter:
    """Draws the grey picture of a pane with the outlines of the label map."""

    volume: Volume
    anatomy: Anatomy

    def picture(self, pane: Pane, window: str, outlines: bool) -> str:
        """The picture as a data address."""
        points = pane.view.points(pane.field_mm, pane.field_mm, PIXELS, PIXELS)[::-1]
        low, high = WINDOWS[window]
        hu = sample(self.volume.values, self.volume.grid, points, AIR_HU)
        grey = (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        image = np.repeat(grey[..., None], 3, axis=-1)
        if outlines:
            _colour(image, self._labels(pane))
        out = io.BytesIO()
        Image.fromarray(image).save(out, format="jpeg", quality=QUALITY, subsampling=0)
        return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")

    def _labels(self, pane: Pane) -> NDArray[np.uint8]:
        """(PIXELS, PIXELS) label of each pixel, the nearest voxel's."""
        grid, labels = self.anatomy.grid, self.anatomy.labels
        corner = grid.to_ijk(pane.to_patient(0.5, 0.5))
        across = grid.to_ijk(pane.to_patient(1.5, 0.5)) - corner
        down = grid.to_ijk(pane.to_patient(0.5, 1.5)) - corner
        steps = np.arange(PIXELS)
        found = np.zeros((PIXELS, PIXELS), np.uint8)
        where, inside = [], np.ones((PIXELS, PIXELS), bool)
        for axis in range(3):
            place = corner[axis] + steps * across[axis] + (steps * down[axis])[:, None]
            index = np.rint(place).astype(np.intp)
            inside &= (index >= 0) & (index < grid.shape[axis])
            where.append(index)
        found[inside] = labels[tuple(index[inside] for index in where)]
        return found


def _colour(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Outline every segment and fill the channels faintly, in place."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    # A border belongs to what is not background on either side of it.
    either = labels.copy()
    either[:, :-1] = np.maximum(either[:, :-1], labels[:, 1:])
    either[:-1] = np.maximum(either[:-1], labels[1:])
    inside = CHANNEL[labels]
    tint = TABLE[labels[inside]] * FILL
    image[inside] = (image[inside] * (1 - FILL) + tint).astype(np.uint8)
    edge &= either > 0
    image[edge] = TABLE[either[edge]].astype(np.uint8)


class Overlay:
    """Collects SVG in a pane's pixels."""

    def __init__(self, pane: Pane) -> None:
        self.pane = pane
        self._parts: list[str] = []

    def needle(self, entry: Float, tip: Float, hub: Float, radius_mm: float, chosen: bool) -> None:
        """Draw a needle dropped onto the plane, and its true section where it crosses it."""
        pane = self.pane
        colour = NEEDLE if chosen else OTHER
        ends = pane.to_pixel(np.stack([hub, entry, tip]))
        wide = 2 * radius_mm / pane.mm_per_pixel
        if chosen:
            self._line(ends[0], ends[1], colour, 1.5, "5 4")
            self._line(ends[1], ends[2], colour, wide, opacity=0.35)
            self._line(ends[1], ends[2], colour, 1.2)
        else:
            self._line(ends[1], ends[2], colour, 1.2, opacity=0.6)
        crossing = _crossing(pane, hub, tip)
        if crossing is not None:
            self._circle(crossing, wide / 2, colour, 1.6)
        if chosen:
            self._circle(ends[1], HANDLE_PX - 2, colour, 2.0, mark="handle-entry")
            self._square(ends[2], HANDLE_PX - 3, colour, mark="handle-tip")

    def cross(self, point: Float) -> None:
        """Draw the crosshair at a patient point, open in the middle."""
        x, y = self.pane.to_pixel(point)
        gap = 14
        for start, stop in (
            ((0, y), (x - gap, y)),
            ((x + gap, y), (PIXELS, y)),
            ((x, 0), (x, y - gap)),
            ((x, y + gap), (x, PIXELS)),
        ):
            self._line(start, stop, CROSS, 1.0, opacity=0.75)

    def witnesses(self, pairs: Iterable[tuple[Float, Float, str]]) -> None:
        """Draw lines from the needle to the nearest points; (from, to, colour)."""
        for start, stop, colour in pairs:
            ends = self.pane.to_pixel(np.stack([start, stop]))
            self._line(ends[0], ends[1], colour, 1.4, "2 2")

    def measure(self, points: list[Float]) -> None:
        """Draw a distance between two patient points."""
        places = [self.pane.to_pixel(point) for point in points]
        for place in places:
            self._circle(place, 3, MEASURE, 1.5)
        if len(places) == 2:
            self._line(places[0], places[1], MEASURE, 1.5)
            length = float(np.linalg.norm(points[1] - points[0]))
            self._text((places[0] + places[1]) / 2 + (6, -6), f"{length:.1f} mm", MEASURE)

    def correction(self, centre: Float, radius_mm: float) -> None:
        """Draw where a ball about a patient point is cut by the plane."""
        off = float(self.pane.off_plane_mm(centre))
        if abs(off) < radius_mm:
            cut = float(np.sqrt(radius_mm**2 - off**2)) / self.pane.mm_per_pixel
            self._circle(self.pane.to_pixel(centre), cut, MEASURE, 2.0, mark="correction")

    def frame(self, scale_mm: float = 20.0) -> None:
        """Write the patient's sides at the edges, and a scale bar."""
        middle, far = PIXELS / 2, PIXELS - 14
        places = {"left": (14, middle), "right": (far, middle), "top": (middle, 18)}
        places["bottom"] = (middle, PIXELS - 8)
        for edge, letters in self.pane.view.edges.items():
            self._text(np.array(places[edge]), letters, "#ffffff", "middle")
        wide = scale_mm / self.pane.mm_per_pixel
        self._line((14, PIXELS - 14), (14 + wide, PIXELS - 14), "#ffffff", 2.5)
        self._text(np.array((14, PIXELS - 20)), f"{scale_mm:g} mm", "#ffffff")

    def text(self) -> str:
        """The SVG's inside."""
        return "".join(self._parts)

    def _line(
        self,
        start: ArrayLike,
        stop: ArrayLike,
        colour: str,
        width: float,
        dash: str = "",
        opacity: float = 1.0,
    ) -> None:
        (x1, y1), (x2, y2) = np.asarray(start, float), np.asarray(stop, float)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{colour}" '
            f'stroke-width="{width:.2f}" stroke-opacity="{opacity}"{dashes}/>'
        )

    def _circle(
        self, place: ArrayLike, radius: float, colour: str, width: float, mark: str = ""
    ) -> None:
        x, y = np.asarray(place, float)
        name = f' class="{mark}"' if mark else ""
        self._parts.append(
            f'<circle{name} cx="{x:.2f}" cy="{y:.2f}" r="{radius:.2f}" fill="none" '
            f'stroke="{colour}" stroke-width="{width}"/>'
        )

    def _square(self, place: ArrayLike, half: float, colour: str, mark: str) -> None:
        x, y = np.asarray(place, float)
        self._parts.append(
            f'<rect class="{mark}" x="{x - half:.2f}" y="{y - half:.2f}" width="{2 * half:.2f}" '
            f'height="{2 * half:.2f}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )

    def _text(self, place: ArrayLike, text: str, colour: str, anchor: str = "start") -> None:
        x, y = np.asarray(place, float)
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="14" font-weight="bold" '
            f'font-family="sans-serif" text-anchor="{anchor}" stroke="#000000" '
            f'stroke-width="0.6" paint-order="stroke">{escape(text)}</text>'
        )


def _crossing(pane: Pane, start: Float, stop: Float) -> Float | None:
    """Pixel where a line from start to stop crosses the plane; None where it does not."""
    off = pane.off_plane_mm(np.stack([start, stop]))
    if off[0] * off[1] > 0 or abs(off[0] - off[1]) < 1e-9:
        return None
    part = off[0] / (off[0] - off[1])
    return pane.to_pixel(start + part * (stop - start))
