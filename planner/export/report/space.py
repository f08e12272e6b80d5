"""The part of the report that turns, its still pictures, and the scripts that go with it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planner.export.overview import scene, views
from planner.export.overview.slices import Masks
from planner.export.overview.table import technique_words
from planner.export.overview.views import View
from planner.export.viewer import Library, build_scene, library, script_policy
from planner.model.anatomy import Anatomy
from planner.model.trajectory import ScoredTrajectory
from planner.model.volume import Volume

STILL_PIXELS = (620, 520)
STILL_MM = 185.0
QUALITY = 85


@dataclass(frozen=True)
class Space:
    """What the page needs of the scene.

    stills: (title, WebP bytes). data: the scene, base64. facts: JSON, safe within a script element.
    """

    stills: tuple[tuple[str, bytes], ...]
    data: str
    facts: str
    library: Library
    policy: str


def build_space(
    items: Sequence[ScoredTrajectory],
    anatomy: Anatomy,
    volume: Volume,
    masks: Masks,
    *,
    stills: bool = True,
    rejected: Collection[str] = (),
) -> Space:
    """Build the scene of a plan's trajectories; stills: draw its still pictures as well.

    rejected: ids of needles that are shown in grey, and left out of the still pictures.
    """
    made = build_scene(items, anatomy, volume, masks, rejected)
    titles = [_title(item) for item in items]
    facts = json.dumps({**made.facts, "titles": titles}, ensure_ascii=True)
    scripts = library()
    return Space(
        stills=_stills([i for i in items if i.id not in rejected], anatomy, masks)
        if stills
        else (),
        data=base64.b64encode(made.data).decode("ascii"),
        facts=facts.replace("<", "\\u003c"),
        library=scripts,
        policy=script_policy(scripts.scripts),
    )


def _title(item: ScoredTrajectory) -> str:
    path = item.trajectory
    return f"{item.rank}. {technique_words(path.technique)}, {path.side}, {path.level}"


def _stills(
    items: Sequence[ScoredTrajectory], anatomy: Anatomy, masks: Masks
) -> tuple[tuple[str, bytes], ...]:
    behind = views.from_behind(anatomy)
    left, posterior, cranial = anatomy.frame.axes.T
    side = View("From the patient's left", behind.centre, posterior, cranial, behind.sides)
    paths = [item.trajectory for item in items]
    return tuple(
        (view.name, _webp(scene.render(view, anatomy, masks, paths, STILL_PIXELS, STILL_MM)))
        for view in (behind, side)
    )


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="webp", quality=QUALITY)
    return out.getvalue()
