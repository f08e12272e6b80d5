"""A first look at a CT that has no plan: its middle, from the front and from the side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from planner.geometry.grid import Float
from planner.model.volume import Volume

HEIGHT = 260
LOW_HU, HIGH_HU = -200.0, 900.0


def write_glimpse(volume: Volume, path: Path) -> None:
    """Draw brightest values along y and along x side by side, head up, to a JPEG file."""
    views = [_bright(volume, along) for along in (1, 0)]
    Image.fromarray(np.concatenate(views, axis=1)).save(path, "JPEG", quality=80)


def _bright(volume: Volume, along: int) -> Float:
    """Brightest values along a patient axis; rows run from head to feet."""
    turn = volume.grid.patient_from_ijk[:3, :3] / volume.grid.spacing_mm
    axes = [int(np.abs(turn[axis]).argmax()) for axis in range(3)]
    ordered = np.transpose(volume.values, axes)
    flips = [slice(None, None, -1) if turn[a, axes[a]] < 0 else slice(None) for a in range(3)]
    flat = ordered[tuple(flips)].max(axis=along)
    spacing = np.asarray(volume.grid.spacing_mm)[axes]
    across = float(spacing[1 - along])
    zoom = HEIGHT / (flat.shape[1] * float(spacing[2]))
    scaled = ndimage.zoom(flat.astype(np.float32), (across * zoom, spacing[2] * zoom), order=1)
    grey = np.clip((scaled - LOW_HU) / (HIGH_HU - LOW_HU), 0.0, 1.0) * 255.0
    return np.ascontiguousarray(grey.T[::-1].astype(np.uint8))
