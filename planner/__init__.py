"""Sacroplasty needle planning from pelvic CT. Research software, not a medical device.

The names below are the workflow, in its order. They are loaded when they are first used, so that
importing the package costs nothing and changes nothing, except where compiled code has no folder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from planner.scratch import keep_kernels

keep_kernels()  # before the first module with kernels is loaded

if TYPE_CHECKING:
    from planner.anatomy import derive_anatomy
    from planner.candidates import propose
    from planner.errors import PlannerError
    from planner.export.plan_folder import write_plan
    from planner.export.plan_json import read_plan
    from planner.export.segmentation_nrrd import read_segmentation, write_segmentation
    from planner.model.anatomy import Anatomy
    from planner.model.configuration import Configuration
    from planner.model.plan import Plan
    from planner.model.trajectory import Needle, Technique, Trajectory
    from planner.model.volume import Volume
    from planner.pipeline import plan_ct as plan
    from planner.pipeline import score_needle
    from planner.reading import inspect_ct as inspect
    from planner.reading import read_ct as load
    from planner.scoring import measure, rank, score
    from planner.segmentation import segment

_PLACES = {
    "inspect": "planner.reading:inspect_ct",
    "load": "planner.reading:read_ct",
    "segment": "planner.segmentation:segment",
    "derive_anatomy": "planner.anatomy:derive_anatomy",
    "propose": "planner.candidates:propose",
    "score": "planner.scoring:score",
    "rank": "planner.scoring:rank",
    "measure": "planner.scoring:measure",
    "plan": "planner.pipeline:plan_ct",
    "write_plan": "planner.export.plan_folder:write_plan",
    "read_plan": "planner.export.plan_json:read_plan",
    "score_needle": "planner.pipeline:score_needle",
    "write_segmentation": "planner.export.segmentation_nrrd:write_segmentation",
    "read_segmentation": "planner.export.segmentation_nrrd:read_segmentation",
    "Configuration": "planner.model.configuration:Configuration",
    "Volume": "planner.model.volume:Volume",
    "Anatomy": "planner.model.anatomy:Anatomy",
    "Needle": "planner.model.trajectory:Needle",
    "Technique": "planner.model.trajectory:Technique",
    "Trajectory": "planner.model.trajectory:Trajectory",
    "Plan": "planner.model.plan:Plan",
    "PlannerError": "planner.errors:PlannerError",
}

__all__ = [
    "Anatomy",
    "Configuration",
    "Needle",
    "Plan",
    "PlannerError",
    "Technique",
    "Trajectory",
    "Volume",
    "derive_anatomy",
    "inspect",
    "load",
    "measure",
    "plan",
    "propose",
    "rank",
    "read_plan",
    "read_segmentation",
    "score",
    "score_needle",
    "segment",
    "write_plan",
    "write_segmentation",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("planner")
    if name not in _PLACES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
