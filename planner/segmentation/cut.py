"""The bone's border as the cheapest closed surface near a deformed template: a directed cut.

Every face between two voxels has two prices, one for each side being the bone. The price is low
where the image drops from bright (inside) to dark (outside), so the cut lies on the outer flank of
the cortex and never on its inner one. The convex relaxation is solved by a primal-dual iteration
(Chambolle and Pock, J Math Imaging Vis 40:120, 2011); for cuts its optimum is the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.smoothing import gaussian
from planner.geometry.threads import in_parts

Array = NDArray[Any]
Band = tuple[Array, Array, Array, Array]
"""The voxels a cut works on, as a list: prices (N, 6) of the faces towards the next voxels, cost
(N,) of being inside, NaN where it is fixed, and (N, 3) numbers of the next and previous voxels."""


@dataclass(frozen=True)
class CutSettings:
    """band_mm: how far the border may lie from the template.

    pull: price per mm and voxel of leaving the template. drop_hu: drop that makes a face cheap by
    1/e. floor: price of the cheapest face. dim_hu: below it, the inside voxel of a face is no
    cortex, and the face costs `dim_price` more.
    """

    band_mm: float = 3.0
    pull: float = 0.1
    drop_hu: float = 40.0
    floor: float = 0.02
    dim_hu: float = 90.0
    dim_price: float = 0.35
    iterations: int = 80


PRIMAL_DUAL_STEP = np.float32(0.288)
"""1 / sqrt(12), the inverse norm of the 6-neighbour gradient: the largest step that converges."""


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _bounded(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _flow_step(band: Band, ahead: Array, flow: Array, step: float, start: int, stop: int) -> None:
    """Push the flow over every face towards its voxels' difference, within the face's prices."""
    prices, _, ahead_of, _ = band
    for n in range(start, stop):
        here = ahead[n]
        for a in range(3):
            other = ahead_of[n, a]
            if other >= 0:
                f = flow[n, a] + step * (here - ahead[other])
                flow[n, a] = _bounded(f, -prices[n, 2 * a + 1], prices[n, 2 * a])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _membership_step(
    band: Band, u: Array, ahead: Array, flow: Array, step: float, start: int, stop: int
) -> None:
    """Move every free voxel's membership down its own cost and net outflow, within 0 and 1."""
    _, unary, _, behind = band
    for n in range(start, stop):
        if np.isnan(unary[n]):
            continue
        total = unary[n] + flow[n, 0] + flow[n, 1] + flow[n, 2]
        for a in range(3):
            other = behind[n, a]
            if other >= 0:
                total -= flow[other, a]
        old = u[n]
        new = _bounded(old - step * total, 0.0, 1.0)
        u[n] = new
        ahead[n] = new + (new - old)


def _with_neighbours(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(I, J, K) the voxels of a mask and the six next to each."""
    out = mask.copy()
    for axis in range(3):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(out, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return out


def _neighbours(near: NDArray[np.bool_], step: int) -> NDArray[np.int32]:
    """(N, 3) for each voxel in `near` the number of the next one in it along each axis, or -1."""
    number = np.full(near.shape, -1, np.int32)
    number[near] = np.arange(int(near.sum()))
    out = np.empty((int(near.sum()), 3), np.int32)
    for axis in range(3):
        there = np.roll(number, -step, axis)
        np.moveaxis(there, axis, 0)[-1 if step > 0 else 0] = -1  # nothing beyond the border
        out[:, axis] = there[near]
    return out


def minimal_cut(unary: Array, prices: Array, u: Array, free: Array, iterations: int) -> None:
    """Lower the price of a membership in place.

    unary: (I, J, K) price of being inside. prices: (6, I, J, K); [2a] is paid between voxels n and
    n + 1 of axis a where the first is inside and the second is not, [2a + 1] the other way round.
    u: (I, J, K) membership, 0 to 1, the start and the result. free: where it may change. float32.
    Only the band of free voxels and their neighbours is worked on, as a list.
    """
    near = _with_neighbours(free)  # only faces of free voxels matter
    costs = np.where(free, unary, np.float32(np.nan))[near]  # a voxel without a cost stays
    band = (
        np.ascontiguousarray(prices[:, near].T),
        costs,
        _neighbours(near, 1),
        _neighbours(near, -1),
    )
    found = u[near]
    flow = np.zeros((len(found), 3), np.float32)
    ahead = found.copy()
    for _ in range(iterations):
        in_parts(_flow_step, len(found), band, ahead, flow, PRIMAL_DUAL_STEP)
        in_parts(_membership_step, len(found), band, found, ahead, flow, PRIMAL_DUAL_STEP)
    u[near] = found


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill_prices(
    image: Array, near: Array, settings: tuple[float, ...], out: Array, start: int, stop: int
) -> None:
    """Price the faces of the voxels in `near` towards the next ones, in slabs of the first axis."""
    drop_hu, floor, dim_hu, dim_price = settings
    size = image.shape
    line = np.empty(4, np.float32)
    for i in range(start, stop):
        for j in range(size[1]):
            for k in range(size[2]):
                if not near[i, j, k]:
                    continue
                for axis in range(3):
                    for n in range(4):  # before, here, beyond, after
                        ii = (i + (n - 1) * (axis == 0)) % size[0]
                        jj = (j + (n - 1) * (axis == 1)) % size[1]
                        kk = (k + (n - 1) * (axis == 2)) % size[2]
                        line[n] = image[ii, jj, kk]
                    for way in range(2):
                        at, beside = line[1 + way], line[3 * way]
                        far, farther = line[2 - way], line[3 - 3 * way]
                        drop = max(at, 0.5 * (at + beside)) - min(far, 0.5 * (far + farther))
                        dim = _bounded((dim_hu - max(at, beside)) / dim_hu, 0.0, 1.0)
                        price = np.exp(-max(drop, 0.0) / drop_hu)
                        out[2 * axis + way, i, j, k] = floor + price + dim_price * dim


def _prices(image: Array, settings: CutSettings, near: NDArray[np.bool_] | None = None) -> Array:
    """Price both directions of every face, float32 (6, I, J, K).

    [2a] is paid where the voxel is bone and the next along axis a is not, [2a + 1] the reverse.
    near: voxels whose faces are priced, all by default; the rest of the result is undefined.
    """
    out = np.empty((6, *image.shape), np.float32)
    where = np.ones(image.shape, bool) if near is None else near
    figures = (settings.drop_hu, settings.floor, settings.dim_hu, settings.dim_price)
    in_parts(_fill_prices, len(image), image, where, figures, out)
    return out


def directed_cut(
    image: NDArray[np.float32],
    prior: NDArray[np.float32],
    spacing_mm: float,
    settings: CutSettings,
    forbidden: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Cut bone out of an isotropic image near a template.

    image: (I, J, K) HU. prior: (I, J, K) signed distance to the template, mm, negative inside.
    forbidden: voxels that cannot be bone of this structure. Returns (I, J, K) membership, 0 to 1.
    """
    clipped = np.clip(image, -150.0, 700.0).astype(np.float32)
    smooth = gaussian(clipped, 0.35 / spacing_mm)
    inside = prior < -settings.band_mm
    outside = prior > settings.band_mm
    if forbidden is not None:
        inside &= ~forbidden
        outside |= forbidden
    free = ~(inside | outside)
    u = (prior < 0).astype(np.float32)
    u[inside], u[outside] = 1.0, 0.0
    pull = settings.pull * spacing_mm
    unary = (pull * np.clip(prior, -settings.band_mm, settings.band_mm)).astype(np.float32)
    prices = _prices(smooth, settings, _with_neighbours(free))
    minimal_cut(unary, prices, u, free, settings.iterations)
    return u
