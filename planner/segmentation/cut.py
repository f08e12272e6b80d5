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
from scipy import ndimage

Array = NDArray[Any]


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


@numba.njit(cache=True, nogil=True, parallel=True)  # type: ignore[untyped-decorator]
def _flow_step(flow: Array, prices: Array, ahead: Array, near: Array, step: float) -> None:
    """Push the flow over every face towards its voxels' difference, within the face's prices."""
    ni, nj, nk = ahead.shape
    for i in numba.prange(ni):
        for j in range(nj):
            for k in range(nk):
                if not near[i, j, k]:
                    continue
                here = ahead[i, j, k]
                if i + 1 < ni:
                    f = flow[0, i, j, k] + step * (here - ahead[i + 1, j, k])
                    flow[0, i, j, k] = _bounded(f, -prices[1, i, j, k], prices[0, i, j, k])
                if j + 1 < nj:
                    f = flow[1, i, j, k] + step * (here - ahead[i, j + 1, k])
                    flow[1, i, j, k] = _bounded(f, -prices[3, i, j, k], prices[2, i, j, k])
                if k + 1 < nk:
                    f = flow[2, i, j, k] + step * (here - ahead[i, j, k + 1])
                    flow[2, i, j, k] = _bounded(f, -prices[5, i, j, k], prices[4, i, j, k])


@numba.njit(cache=True, nogil=True, parallel=True)  # type: ignore[untyped-decorator]
def _membership_step(
    u: Array, ahead: Array, flow: Array, unary: Array, free: Array, step: float
) -> None:
    """Move every free voxel's membership down its own cost and net outflow, within 0 and 1."""
    ni, nj, nk = u.shape
    for i in numba.prange(ni):
        for j in range(nj):
            for k in range(nk):
                if not free[i, j, k]:
                    continue
                total = unary[i, j, k] + flow[0, i, j, k] + flow[1, i, j, k] + flow[2, i, j, k]
                total -= flow[0, i - 1, j, k] if i > 0 else 0.0
                total -= flow[1, i, j - 1, k] if j > 0 else 0.0
                total -= flow[2, i, j, k - 1] if k > 0 else 0.0
                old = u[i, j, k]
                new = _bounded(old - step * total, 0.0, 1.0)
                u[i, j, k] = new
                ahead[i, j, k] = 2 * new - old


def minimal_cut(unary: Array, prices: Array, u: Array, free: Array, iterations: int) -> None:
    """Lower the price of a membership in place.

    unary: (I, J, K) price of being inside. prices: (6, I, J, K); [2a] is paid between voxels n and
    n + 1 of axis a where the first is inside and the second is not, [2a + 1] the other way round.
    u: (I, J, K) membership, 0 to 1, the start and the result. free: where it may change. float32.
    """
    near = ndimage.binary_dilation(free)  # only faces of free voxels matter
    flow = np.zeros((3, *u.shape), np.float32)
    ahead = u.copy()
    for _ in range(iterations):
        _flow_step(flow, prices, ahead, near, PRIMAL_DUAL_STEP)
        _membership_step(u, ahead, flow, unary, free, PRIMAL_DUAL_STEP)


def _prices(image: Array, settings: CutSettings) -> Array:
    """Price both directions of every face, float32 (6, I, J, K).

    [2a] is paid where the voxel is bone and the next along axis a is not, [2a + 1] the reverse.
    """
    out = np.empty((6, *image.shape), np.float32)
    for axis in range(3):
        here = image
        beyond = np.roll(image, -1, axis)
        before = np.roll(image, 1, axis)
        after = np.roll(image, -2, axis)
        for n, (near, nearer, far, farther) in enumerate(
            ((here, before, beyond, after), (beyond, after, here, before))
        ):
            bright = np.maximum(near, 0.5 * (near + nearer))
            dark = np.minimum(far, 0.5 * (far + farther))
            price = np.exp(-np.clip(bright - dark, 0, None) / settings.drop_hu)
            dim = np.clip((settings.dim_hu - np.maximum(near, nearer)) / settings.dim_hu, 0, 1)
            out[2 * axis + n] = settings.floor + price + settings.dim_price * dim
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
    smooth = ndimage.gaussian_filter(clipped, 0.35 / spacing_mm)
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
    minimal_cut(unary, _prices(smooth, settings), u, free, settings.iterations)
    return u
