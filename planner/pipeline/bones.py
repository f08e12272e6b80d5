"""The bones in a CT, from the segmentation or the user's own labels, and whether to trust them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from planner import anatomy as anatomy_stage
from planner import segmentation
from planner.anatomy.judge import judge
from planner.anatomy.plausibility import IMPOSSIBLE
from planner.errors import UnsuitableCtError, UntrustedAnatomyError
from planner.model.anatomy import LABELS, Anatomy
from planner.model.configuration import Configuration
from planner.model.rejection import RejectedAnatomy
from planner.model.volume import Volume
from planner.reading.labels import LabelMap, fit_to_volume, read_labels, read_mask_folder
from planner.segmentation import Segmentation, TotalSegmentator
from planner.segmentation.complete import NEEDED
from planner.segmentation.localise import elsewhere

Progress = Callable[[str, float], None]

NAMED_WEAKEST = 3
MOST_NOTED = 4
SURE = 0.95
"""Confidence from which an answer is taken without looking for others."""
OTHER_STARTS_MM = (-26.0, -13.0, 13.0, 26.0)
"""A level and half a level up and down."""
OTHER_LEVEL_MM, CLEARLY = 8.0, 3.0
"""Answers further apart are on other levels; the better one must have three times the odds."""
PROVIDED_FLOOR = 0.2
"""Two doubts about one structure of the user's own labels leave 0.16."""


def find_bones(
    volume: Volume,
    anatomy_file: Path | None = None,
    progress: Progress | None = None,
    method: TotalSegmentator | None = None,
) -> Segmentation:
    """Find the bones in a CT, or take them from a label map of the user's.

    method: another program for the segmentation, completed by the built-in one; None for that.
    Raises UntrustedAnatomyError where a given sacrum is not where the CT shows one, and
    UnsuitableCtError where no sacrum is found or the label map does not fit the CT.
    """
    if anatomy_file is not None:
        if method is not None:
            raise ValueError("give a label map or a method of segmentation, not both")
        return _completed(fit_to_volume(read_labels(anatomy_file), volume), volume, progress)
    if method is None:
        return segmentation.segment(volume, progress)
    with method.run(volume, progress) as masks:
        labels = fit_to_volume(read_mask_folder(masks, source="totalsegmentator"), volume)
    return _completed(labels, volume, progress)


def _completed(labels: LabelMap, volume: Volume, progress: Progress | None) -> Segmentation:
    """Check that a label map lies on the CT's bone, and find in the CT what it lacks."""
    found = segmentation.complete_labels(labels.labels, labels.grid, volume, progress)
    return replace(found, source=labels.source, warnings=(*labels.warnings, *found.warnings))


def trusted_anatomy(found: Segmentation, volume: Volume, configuration: Configuration) -> Anatomy:
    """Derive the anatomy of a segmentation, and refuse one that cannot be trusted.

    A built-in segmentation that is in doubt is begun again from other levels, and the answer with
    the most evidence is taken; its labels are the anatomy's.
    Raises UntrustedAnatomyError; its `rejected` holds the labels, so that a person can see what was
    wrong with them.
    """
    first = _answer(found, volume)
    answers = [first]
    if found.start is not None and found.source == "builtin" and first.confidence < SURE:
        for shift_mm in OTHER_STARTS_MM:
            start = elsewhere(found.start, shift_mm)
            try:
                again = segmentation.segment(volume, start=start)
            except UnsuitableCtError:
                continue
            answers.append(_answer(again, volume))
    best = _best(answers, configuration.confidence_floor)
    try:
        if best.anatomy is None:
            raise UntrustedAnatomyError(best.fault)
        check_confidence(best.anatomy, volume, configuration, judged=bool(found.evidence))
        check_levels(best, answers)
    except UntrustedAnatomyError as error:
        labels, shown = best.found, best.anatomy
        confidences = dict(shown.confidences) if shown is not None else {}
        error.rejected = RejectedAnatomy(
            volume, labels.labels, labels.grid, confidences, str(error), best.confidence
        )
        raise
    return best.anatomy


@dataclass(frozen=True, eq=False)
class _Answer:
    """One answer to where the bones are: a segmentation, and its anatomy or why there is none."""

    found: Segmentation
    anatomy: Anatomy | None
    fault: str = ""

    @property
    def confidence(self) -> float:
        return self.anatomy.confidence if self.anatomy is not None else 0.0


def _best(answers: Sequence[_Answer], floor: float) -> _Answer:
    """The answer to take: on the likeliest levels, the one whose surface the image bears out best.

    The probability is one of levels; among answers that agree on them it says little.
    """
    best = max(answers, key=lambda answer: answer.confidence)
    if best.anatomy is None:
        return best
    agreed = [
        answer
        for answer in answers
        if answer.anatomy is not None
        and answer.confidence >= min(floor, best.confidence)
        and _apart(answer.anatomy, best.anatomy) <= OTHER_LEVEL_MM
    ]
    return max(agreed, key=lambda answer: answer.found.evidence.get("support_sacrum", 0.0))


def _answer(found: Segmentation, volume: Volume) -> _Answer:
    try:
        return _Answer(found, judge(_derived(found), volume, dict(found.evidence)))
    except UntrustedAnatomyError as error:
        return _Answer(found, None, str(error))


def check_levels(best: _Answer, answers: Sequence[_Answer]) -> None:
    """Refuse (UntrustedAnatomyError) what is not clearly the answer to where the levels are.

    Where another answer, on other levels, is nearly as good; and where the first one, begun where
    the pelvis was found, lies on other levels and the better one is not sure: of several wrong
    places one may look right by chance.
    """
    same = [answer for answer in answers if answer is best or _agree(answer, best)]
    sure = max(answer.confidence for answer in same)
    first = answers[0]
    if not any(answer is first for answer in same) and sure < SURE:
        before = "at first no levels were found"
        if first.anatomy is not None:
            before = f"at first others were found, with {first.confidence:.2f}"
        raise UntrustedAnatomyError(
            f"the levels cannot be settled: begun elsewhere, the search came to levels with a "
            f"confidence of {sure:.2f}, and at least {SURE:.2f} is asked of such an answer; "
            f"{before}. Count the levels from above, and give a corrected label map with "
            "--anatomy."
        )
    for other in answers:
        if best.anatomy is None or other.anatomy is None or any(other is one for one in same):
            continue
        apart = _apart(best.anatomy, other.anatomy)
        odds = [value / max(1.0 - value, 1e-6) for value in (sure, other.confidence)]
        if odds[0] < CLEARLY * odds[1]:
            raise UntrustedAnatomyError(
                f"the levels cannot be settled: two answers whose foramina lie {apart:.0f} mm "
                f"apart have confidences of {sure:.2f} and {other.confidence:.2f}. "
                "Count the levels from above, and give a corrected label map with --anatomy."
            )


def _agree(one: _Answer, other: _Answer) -> bool:
    """Whether both found an anatomy, on the same levels."""
    if one.anatomy is None or other.anatomy is None:
        return False
    return _apart(one.anatomy, other.anatomy) <= OTHER_LEVEL_MM


def _apart(one: Anatomy, other: Anatomy) -> float:
    """Largest distance, mm, between foramina of one name, S1 to S3."""
    known = {item.name: item.centre for item in other.foramina if item.level in ("S1", "S2", "S3")}
    away = [np.linalg.norm(i.centre - known[i.name]) for i in one.foramina if i.name in known]
    return float(max(away, default=0.0))


def _derived(found: Segmentation) -> Anatomy:
    """Derive the anatomy of a segmentation.

    Where the built-in one found how the body lies, and its own labels contradict that, the labels
    are wrong and not the scan.
    """
    try:
        return anatomy_stage.derive_anatomy(
            found.labels,
            found.grid,
            source=found.source,
            confidences=found.confidences,
            warnings=found.warnings,
        )
    except UnsuitableCtError as error:
        if not found.evidence:
            raise
        raise UntrustedAnatomyError(
            f"what was taken for the sacrum cannot be one: {error} The scan itself may be sound."
        ) from error


def check_confidence(
    anatomy: Anatomy, volume: Volume, configuration: Configuration, judged: bool
) -> None:
    """Refuse an anatomy that cannot be trusted (UntrustedAnatomyError).

    judged: whether its confidence is a calibrated probability. Of labels that the user answers for
    only what is grossly wrong is refused, unless the configuration states a floor of its own.
    """
    floor = configuration.confidence_floor
    if not judged and floor == Configuration().confidence_floor:
        floor = PROVIDED_FLOOR
    fatal = [c for c in anatomy.checks if judged and not c.passed and c.factor <= IMPOSSIBLE]
    if anatomy.confidence >= floor and not fatal:
        return
    counted = {n: c for n, c in anatomy.confidences.items() if n in NEEDED}
    weakest = sorted(counted.items(), key=lambda item: (item[1], item[0]))[:NAMED_WEAKEST]
    detail = "; ".join(
        f"{name} {value:.2f}, look at {where_to_look(anatomy, volume, name)}"
        for name, value in weakest
    )
    failed = [c.message for c in (*fatal, *anatomy.checks) if not c.passed]
    noted = "; ".join(dict.fromkeys(failed[:MOST_NOTED])) or " ".join(anatomy.warnings[:1])
    raise UntrustedAnatomyError(
        f"the anatomy found in the CT has a confidence of {anatomy.confidence:.2f}, expected at "
        f"least {floor:.2f}"
        + (", and is impossible in part" if fatal else "")
        + (f". Weakest: {detail}" if detail else "")
        + (f". Noted: {noted}." if noted else "")
        + " Check the CT (`planner inspect`), or give a corrected label map with --anatomy."
    )


def where_to_look(anatomy: Anatomy, volume: Volume, name: str) -> str:
    """Say where a structure was sought: its point in patient LPS, mm, and the CT's slice there."""
    mine = np.argwhere(anatomy.labels == LABELS[name])
    if len(mine):
        point = anatomy.grid.to_patient(mine.mean(axis=0))
    else:
        level = [item.centre for item in anatomy.foramina if item.name[:10] == name[:10]]
        point = np.mean(level, axis=0) if level else anatomy.axis[len(anatomy.axis) // 2]
    number = int(np.clip(np.rint(volume.grid.to_ijk(point)[2]), 0, volume.grid.shape[2] - 1))
    where = ", ".join(f"{value:.0f}" for value in point)
    return f"({where}) mm LPS, slice {number + 1} of {volume.grid.shape[2]}"
