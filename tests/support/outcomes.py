"""Small things that tests of outcomes share."""

from __future__ import annotations

import numpy as np


def only(rows: tuple, **wanted: object):
    """The one row whose fields are those."""
    found = [r for r in rows if all(getattr(r, k) == v for k, v in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows for {wanted}"
    return found[0]


def cohort(n: int, seed: int) -> dict[str, np.ndarray]:
    """Leak and relief follow the metric `near`, and `noise` has nothing to do with either."""
    rng = np.random.default_rng(seed)
    near, noise = rng.normal(5, 2, n), rng.normal(0, 1, n)
    leak = (rng.random(n) < 1 / (1 + np.exp(1.2 * (near - 4)))).astype(float)
    after = np.clip(np.round(6 - 0.8 * (near - 5) + rng.normal(0, 1, n)), 0, 10)
    names = ("near", "noise", "leak_foramen", "vas_before", "vas_after")
    return dict(zip(names, (near, noise, leak, np.full(n, 10.0), after), strict=True))
