"""Virtual cohorts: phantoms over the published spread of sacra, planned like patients.

Every phantom is drawn from the cohort's seed and its own number, written as DICOM and read back, so
that the whole way is tested, and then held against its truth. The phantoms are made of the same
formulas as the template of the segmentation: they flatter it, and say nothing of real texture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from planner.cohort.cases import Case
from planner.cohort.content import program
from planner.cohort.root import check_root, locked
from planner.cohort.running import Progress, RunReport, compute
from planner.cohort.task import Task
from planner.model.configuration import Configuration
from planner.phantom import PhantomParameters

# What pelvic CTs come with; the shares are assumed.
SLICES_MM = (1.0, 1.25, 2.0, 3.0)
SLICE_SHARES = (0.3, 0.4, 0.2, 0.1)
PRONE_SHARE = 0.3  # planning CTs are taken prone, diagnostic ones supine; assumed
NOISE_HU = (8.0, 25.0)
SPACING_MM = (0.7, 0.98)
DRAWS = 256
"""Misplaced needles per path: a share of 1 % is known to 0.6 % (standard error)."""


def simulate(
    number: int,
    output: Path,
    configuration: Configuration | None = None,
    *,
    seed: int = 1,
    draws: int = DRAWS,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> RunReport:
    """Plan on so many phantoms and hold the plans against the truth; arguments as of `run`.

    seed: of the cohort; the first phantoms of a larger cohort are those of a smaller one.
    """
    chosen = configuration or Configuration()
    check_root(output, [])
    with locked(output):
        tasks = [
            Task(
                case_of(parameters, index),
                chosen,
                output.resolve(),
                input_digest(parameters, draws),
                program(),
                phantom=parameters,
                draws=draws,
            )
            for index, parameters in enumerate(population(number, seed), start=1)
        ]
        name = f"{number} phantoms of seed {seed}"
        return compute(output, tasks, scheduler, workers, name, progress)


def population(number: int, seed: int) -> list[PhantomParameters]:
    """Draw phantoms, half of each sex, with the scans they get."""
    return [_one(np.random.default_rng([seed, index]), index) for index in range(number)]


def case_of(parameters: PhantomParameters, index: int) -> Case:
    """Name a phantom, with what is known of it as covariates."""
    fractures = (parameters.left_fracture, parameters.right_fracture)
    covariates: dict[str, str | float] = {
        "sex": "M" if index % 2 == 0 else "F",
        "true_dysmorphism_score": round(parameters.sacrum.dysmorphism_score, 2),
        "true_foramen_pairs": float(parameters.sacrum.foramen_pairs),
        "true_osteoporosis": round(parameters.osteoporosis, 3),
        "true_fractures": float(sum(each is not None for each in fractures)),
        "slice_mm": parameters.slice_spacing_mm,
        "position": parameters.patient_position,
    }
    return Case(f"phantom-{index:05d}", Path("phantom"), covariates=covariates)


def input_digest(parameters: PhantomParameters, draws: int) -> str:
    """Hash what decides a phantom and how it is held against its truth."""
    return hashlib.sha256(f"{parameters.digest} {draws}".encode()).hexdigest()


def _one(rng: np.random.Generator, index: int) -> PhantomParameters:
    slice_mm = float(rng.choice(SLICES_MM, p=SLICE_SHARES))
    scan: dict[str, Any] = {
        "slice_spacing_mm": slice_mm,
        "slice_thickness_mm": slice_mm,
        "patient_position": "prone" if rng.random() < PRONE_SHARE else "supine",
        "noise_hu": float(rng.uniform(*NOISE_HU)),
        "spacing_mm": round(float(rng.uniform(*SPACING_MM)), 3),
    }
    # Cases count from 1, so that the first is female.
    return PhantomParameters.sample(rng, "M" if index % 2 else "F", **scan)
