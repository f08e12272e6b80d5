"""Which stack is planned on, by rules that can be said in one sentence.

Among the stacks that can be planned on, in this order: slices of an original or primary axial
series before reformats; a field tall enough for the whole sacrum before a shorter one; the thinnest
slices; a soft or standard kernel before a bone kernel before an unknown before a lung kernel; the
smaller pixels; the lower series UID, so that the choice never depends on file names or their order.
A choice between patients, or between times at one place, is left to the user.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.errors import UnsuitableCtError
from planner.reading import limits
from planner.reading.stacks import Stack

RULES = (
    "original or primary axial slices, a field that holds the sacrum, the thinnest slices, a soft "
    "or bone kernel"
)
SOFT, BONE, UNKNOWN, LUNG = 0, 1, 2, 3
KERNEL_WORDS = ("soft", "bone", "unknown", "lung")
# Names that vendors give. Siemens: letters and a sharpness, 10 smooth to 80 sharp; Canon: FC and a
# number; Philips: letters; GE: words.
SHARPNESS = re.compile(r"^[A-Z]{1,2}(\d{2})[A-Z]?\b", re.IGNORECASE)
CANON = re.compile(r"^FC(\d{2})", re.IGNORECASE)
SOFT_NAMES = frozenset({"SOFT", "STANDARD", "DETAIL", "A", "B", "C", "UA", "UB"})
BONE_NAMES = frozenset({"BONE", "BONEPLUS", "D", "E", "YB", "YC"})
LUNG_NAMES = frozenset({"LUNG", "CHEST", "EDGE", "ULTRA", "L", "YD", "YE"})
SOFT_UP_TO, BONE_UP_TO = 49, 70
# A row and its normal within this of the long axis is an axial slice: cos 45 degrees.
AXIAL_COSINE = 0.7
# Thickness is compared in these steps, so that rounding of a header decides nothing.
THICKNESS_STEP_MM = 0.05
MOST_LISTED = 6


def kernel_class(name: str) -> int:
    """Sort a ConvolutionKernel into SOFT, BONE, UNKNOWN or LUNG."""
    word = name.split("/")[0].strip().upper()
    canon = CANON.match(word)
    if canon:
        number = int(canon.group(1))
        return SOFT if number < 30 else BONE if number < 50 else LUNG
    if word in SOFT_NAMES:
        return SOFT
    if word in BONE_NAMES:
        return BONE
    if word in LUNG_NAMES:
        return LUNG
    sharpness = SHARPNESS.match(word)
    if sharpness:
        number = int(sharpness.group(1))
        return SOFT if number <= SOFT_UP_TO else BONE if number <= BONE_UP_TO else LUNG
    return UNKNOWN


def is_axial(stack: Stack) -> bool:
    """Tell an original or primary axial stack from a reformat."""
    words = {word.upper() for word in stack.first.image_type}
    primary = not words or bool(words & {"ORIGINAL", "PRIMARY"})
    return primary and abs(float(stack.direction[2, 2])) >= AXIAL_COSINE


def rank_key(stack: Stack) -> tuple[object, ...]:
    """Order stacks by the rules of this module; the least is the best."""
    covered = min(stack.extent_mm, limits.ADEQUATE_EXTENT_MM)
    thickness = max(float(stack.spacing_mm[2]), stack.first.thickness_mm)
    return (
        not is_axial(stack),
        -round(covered / 10.0),
        round(thickness / THICKNESS_STEP_MM),
        kernel_class(stack.first.kernel),
        round(float(stack.spacing_mm[0]), 3),
        -len(stack.planes),
        stack.label,
    )


def choose(
    stacks: Sequence[Stack], series: str | None = None
) -> tuple[Stack, str, tuple[str, ...]]:
    """Choose the stack to plan on; returns it, why, and warnings about the choice.

    series: a SeriesInstanceUID or the label of one stack; None leaves the choice to the rules.
    Raises UnsuitableCtError when none can be planned on or when the choice would be a guess.
    """
    if not stacks:
        raise UnsuitableCtError("no CT series was found")
    named = _named(stacks, series)
    usable = sorted((s for s in named if not s.problems), key=rank_key)
    if not usable:
        raise UnsuitableCtError(_none_usable(named, series))
    if series is None and len({s.first.patient_key for s in usable} - {""}) > 1:
        raise UnsuitableCtError(
            "the CT holds usable series of more than one patient: "
            f"{_labels(usable)}; give the folder of one patient, or name the series (--series UID)"
        )
    best = usable[0]
    if best.rivals and best.label != series:
        raise UnsuitableCtError(
            f"series {best.first.series_uid} shows the same place more than once (4D or repeated "
            f"acquisitions: {best.split_by}); name the one to plan on: --series "
            f"{' or --series '.join((best.label, *best.rivals))}"
        )
    return best, _why(best, usable, stacks, series), _choice_warnings(best, named, usable)


def _named(stacks: Sequence[Stack], series: str | None) -> list[Stack]:
    if series is None:
        return list(stacks)
    found = [s for s in stacks if series in (s.label, s.first.series_uid)]
    if not found:
        raise UnsuitableCtError(
            f"series {series} is not among those found: {_labels(stacks)}; name one of them"
        )
    return found


def _labels(stacks: Sequence[Stack]) -> str:
    labels = [s.label for s in stacks[:MOST_LISTED]]
    return ", ".join(labels) + (" and more" if len(stacks) > MOST_LISTED else "")


def _none_usable(stacks: Sequence[Stack], series: str | None) -> str:
    # What comes nearest to a CT tells the user most.
    nearest = sorted(
        stacks, key=lambda s: (s.first.modality != "CT", -len(s.planes), len(s.problems), s.label)
    )
    if len(stacks) == 1:
        return f"series {nearest[0].label} cannot be planned on: {_against(nearest[0])}"
    listed = ". ".join(
        f"Series {s.label} ({len(s.planes)} images): {_against(s)}" for s in nearest[:3]
    )
    of = f"series {series}" if series else "the series found"
    more = f". {len(stacks) - 3} more are listed by `planner inspect`" if len(stacks) > 3 else ""
    return f"none of the {len(stacks)} stacks of {of} can be planned on. {listed}{more}"


def _against(stack: Stack) -> str:
    return "; ".join((*stack.problems, *((stack.company,) if stack.company else ())))


def describe(stack: Stack) -> str:
    """Describe a stack in a few words: kind, extent, thickness, kernel."""
    kernel = stack.first.kernel
    return (
        f"{'axial' if is_axial(stack) else 'reformatted'} slices, {stack.extent_mm:.0f} mm tall, "
        f"{stack.spacing_mm[2]:.4g} mm apart, "
        + (
            f"kernel {kernel} ({KERNEL_WORDS[kernel_class(kernel)]})"
            if kernel
            else "no kernel named"
        )
    )


def _why(best: Stack, usable: Sequence[Stack], stacks: Sequence[Stack], series: str | None) -> str:
    what = f"series {best.label} ({describe(best)})"
    if series is not None:
        return f"{what} was named by the user"
    if len(stacks) == 1:
        return f"{what} is the only one"
    if len(usable) == 1:
        return f"{what} is the only one of {len(stacks)} that can be planned on"
    return (
        f"{what} comes first of {len(usable)} usable among {len(stacks)}, by: {RULES}; the next is "
        f"{usable[1].label} ({describe(usable[1])})"
    )


def _choice_warnings(
    best: Stack, named: Sequence[Stack], usable: Sequence[Stack]
) -> tuple[str, ...]:
    warnings = []
    if len({s.first.study_uid for s in usable}) > 1:
        warnings.append(
            "the CT holds usable series of more than one study; check that the chosen one is the "
            "examination to plan on, or name another (--series UID)"
        )
    passed_over = [
        s for s in named if s.problems and s.has_geometry and rank_key(s) < rank_key(best)
    ]
    for stack in passed_over[:MOST_LISTED]:
        if len(stack.planes) >= limits.FEWEST_SLICES:
            warnings.append(
                f"series {stack.label} would have come first but cannot be planned on: "
                f"{stack.problems[0]}"
            )
    return tuple(warnings)
