"""What can be wrong with the planes of one stack: their content, their geometry, their spacing.

Every function returns whole sentences that start after the words "the series": problems forbid
planning, notes go into the warnings of the volume. Positions are patient LPS, mm; places are (K, 3)
along the axes i, j and the normal of a stack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from planner.geometry.grid import Float
from planner.reading import limits
from planner.reading.headers import CT_SOP_CLASSES, SliceHeader

# Row and column may miss unit length and a right angle by this much: rounding to three digits.
COSINE_TOLERANCE = 2e-3
# Positions that differ by less are one position: finer than any table feed, coarser than rounding.
SAME_POSITION_MM = 0.01
# Where a plane may lie off the even, straight stack. The positions of a scanner are rounded to 0.01
# mm or better; 0.1 mm is a tenth of the thinnest cortex.
EVEN_TOLERANCE_MM = 0.1
# A step this many times the usual one has room for a missing plane.
GAP_FACTOR = 1.5
# No gantry tilts further than 30 degrees; a steeper shear is a damaged header.
STEEPEST_TILT_DEG = 35.0
# Noted and geometric tilt may differ by the rounding of the note.
TILT_TOLERANCE_DEG = 0.6
# A slice much thinner than the step to the next leaves tissue that no slice shows.
UNSEEN_FRACTION = 0.75
# Padding below this is air whatever it means.
PADDING_IS_AIR_HU = -800.0
# The top of a 12 bit scale, where dense bone and contrast end (-1024 + 4095).
BRIGHTEST_TISSUE_HU = 3071.0
# Times of slices go one way along a scan; of the slices, so many may turn back.
MOST_TURNS = 0.3
LOCALIZER_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
PROJECTION_WORDS = frozenset(
    {"MIP", "MINIP", "MAX_IP", "MIN_IP", "PROJECTION IMAGE", "VOLUME_RENDERED", "RENDERED"}
)
ALLOCATED_BITS = frozenset({8, 16, 32})
# Stored values of 16 bits need an intercept within their own range to become HU.
LARGEST_RESCALE = 1e6
HU_TYPES = frozenset({"", "HU", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS"})
UNSPECIFIED_TYPES = frozenset({"US", "UNSPECIFIED"})


def kind_of(plane: SliceHeader) -> str:
    """Tell a slice from a localizer and from a projection, by the image type."""
    words = {word.upper() for word in plane.image_type}
    if words & LOCALIZER_WORDS:
        return "localizer"
    return "projection" if words & PROJECTION_WORDS else "slice"


def geometry_problems(plane: SliceHeader) -> list[str]:
    """Name what the header of a plane lacks to lie anywhere."""
    if plane.position is None or plane.orientation is None:
        return [
            "its images have no position or orientation (ImagePositionPatient, "
            "ImageOrientationPatient), so left and right are unknown; export the original "
            "series"
        ]
    if plane.spacing_mm is None or min(plane.spacing_mm) <= 0:
        return ["its images have no valid PixelSpacing; export the original series"]
    if min(plane.spacing_mm) < limits.FINEST_VOXEL_MM:
        return [
            f"its PixelSpacing of {min(plane.spacing_mm):.3g} mm is finer than any CT "
            f"({limits.FINEST_VOXEL_MM} mm); export the original series"
        ]
    if min(plane.rows, plane.columns) < 1:
        return [f"its images are {plane.rows} x {plane.columns} pixels; export the original series"]
    row, column = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    off = max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column))
    if off > COSINE_TOLERANCE:
        return [
            f"its ImageOrientationPatient {list(plane.orientation)} is not a pair of "
            "perpendicular unit vectors; export the original series"
        ]
    return []


def position_problems(planes: list[SliceHeader]) -> list[str]:
    """Name what keeps planes of good geometry from lying anywhere near a patient."""
    if any(p.position is None for p in planes):
        return ["some of its images have no ImagePositionPatient"]
    furthest = max(abs(x) for p in planes for x in p.position or ())
    if furthest > limits.FURTHEST_MM:
        return [
            f"its ImagePositionPatient reaches {furthest:.3g} mm from the origin, at most "
            f"{limits.FURTHEST_MM:.0e} mm is expected; export the original series"
        ]
    return []


def stored_problems(planes: list[SliceHeader]) -> list[str]:
    """Name what keeps stored values from being read as the header describes them."""
    for plane in planes:
        allocated, stored, high = plane.bits_allocated, plane.bits_stored, plane.high_bit
        if allocated not in ALLOCATED_BITS or not 1 <= stored <= high + 1 <= allocated:
            return [
                f"its pixels take {allocated} bits, {stored} of them stored up to bit {high}; 8, "
                "16 or 32 bits with the stored ones within are expected; export the original series"
            ]
    largest = max(max(abs(p.slope or 0), abs(p.intercept or 0)) for p in planes)
    if largest > LARGEST_RESCALE:
        return [
            f"its RescaleSlope or RescaleIntercept reaches {largest:.3g}, at most "
            f"{LARGEST_RESCALE:.0e} leads to HU; export the original series"
        ]
    return []


def spacing_problems(places: Float, planes: list[SliceHeader]) -> list[str]:
    """Find gaps and uneven steps; places: (K,) ascending positions along the normal, mm."""
    if len(places) < 3:
        return []
    steps = np.diff(places)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > GAP_FACTOR * usual)
    if len(gaps):
        where = ", ".join(f"{_place(planes[g])} and {_place(planes[g + 1])}" for g in gaps[:3])
        missing = max(int(sum(round(steps[g] / usual) - 1 for g in gaps)), 1)
        return [
            f"about {missing} {'slices are' if missing > 1 else 'slice is'} missing: there is none "
            f"between {where} "
            f"(ImagePositionPatient, mm), where one every {usual:.4g} mm is expected; export the "
            "series again"
        ]
    index = np.arange(len(places))
    off = np.abs(places - np.polyval(np.polyfit(index, places, 1), index))
    if off.max() > EVEN_TOLERANCE_MM:
        worst = int(np.argmax(off))
        return [
            f"its slices are unevenly spaced: steps of {steps.min():.4g} to {steps.max():.4g} mm, "
            f"the slice at {_place(planes[worst])} lies {off[worst]:.2f} mm off the even stack "
            f"(allowed {EVEN_TOLERANCE_MM} mm); give an evenly reconstructed series"
        ]
    return []


def _place(plane: SliceHeader) -> str:
    return "(" + ", ".join(f"{x:.2f}" for x in plane.position or ()) + ")"


def jitter_problem(one: SliceHeader, other: SliceHeader) -> str:
    """Say by how much the orientations of slices that alternate differ."""
    cosines = [np.asarray(plane.orientation or (0.0,) * 6) for plane in (one, other)]
    apart = float(np.abs(cosines[0] - cosines[1]).max())
    return (
        f"its slices alternate between orientations whose cosines differ by {apart:.1e}, more than "
        "rounding makes; the slices of one volume have one orientation: convert the series again"
    )


def time_problems(planes: Sequence[SliceHeader]) -> list[str]:
    """Refuse slices whose times of acquisition go back and forth; planes must be sorted."""
    texts = [dict(plane.marks).get("acquisition time", "") for plane in planes]
    if not all(re.fullmatch(r"\d{6}(\.\d*)?", text) for text in texts):
        return []
    steps = np.sign(np.diff([float(text) for text in texts]))
    turns = int((steps[1:] * steps[:-1] < 0).sum())
    if turns <= len(planes) * MOST_TURNS:
        return []
    return [
        f"its acquisition times go back and forth {turns} times along its {len(planes)} slices, as "
        "where two acquisitions were mixed into one series; give one of them"
    ]


def missing_problems(planes: Sequence[SliceHeader]) -> list[str]:
    """Refuse a multi-frame image of which parts are missing, where its total is stated."""
    parts: dict[str, set[int]] = {}
    totals: dict[str, int] = {}
    for uid, number, total in {plane.concatenation for plane in planes}:
        if uid:
            parts.setdefault(uid, set()).add(number)
            totals[uid] = max(total, totals.get(uid, 0))
    return [
        f"it holds {len(parts[uid])} of the {total} files of one image; give all of them"
        for uid, total in sorted(totals.items())
        if total > len(parts[uid])
    ]


def missing_notes(planes: Sequence[SliceHeader]) -> list[str]:
    """Tell of images of a series that its headers speak of and that are not there."""
    stated = max(plane.numbers[1] for plane in planes)
    out = []
    one = len({plane.acquisition for plane in planes}) == 1
    if one and stated > len(planes):
        out.append(
            f"its headers speak of {stated} images in the acquisition and {len(planes)} are here: "
            "what is missing at its ends is taken for the end of the field of view"
        )
    first = min(plane.numbers[0] for plane in planes)
    if not out and first > 1:
        out.append(
            f"its images are numbered from {first} on: where the first {first - 1} are slices of "
            "this CT, they are missing"
        )
    return out


def clash_problem(clashes: list[SliceHeader]) -> str:
    """Say that planes share a position with others that look different."""
    return (
        f"{len(clashes)} slices share their position with another slice but not its pixels, the "
        f"first at {_place(clashes[0])} (ImagePositionPatient, mm); one slice is "
        "expected at each: separate the acquisitions"
    )


def fault_problem(planes: list[SliceHeader]) -> list[str]:
    """Name the files of a series whose pixels are incomplete."""
    broken = [p for p in planes if p.fault]
    if not broken:
        return []
    files = {p.path for p in broken}
    return [
        f"{len(files)} of its files cannot be used, such as {broken[0].path.name}: "
        f"{broken[0].fault}; copy or export the series again"
    ]


def tilt_of(places: Float, planes: list[SliceHeader]) -> tuple[float, list[str], list[str]]:
    """Measure how planes travel within themselves: angle (degrees; 0 for none), problems, notes.

    places: (K, 3) along i, j and normal, mm, ascending along the normal.
    """
    noted = abs(planes[0].tilt_deg)
    run = places[:, 2] - places[0, 2]
    if len(places) < 3 or run[-1] < SAME_POSITION_MM:
        return 0.0, [], []
    fit = np.polyfit(run, places[:, :2], 1)
    bend = float(np.abs(places[:, :2] - (np.outer(run, fit[0]) + fit[1])).max())
    if bend > EVEN_TOLERANCE_MM:
        return (
            0.0,
            [
                f"its slices do not lie on a straight line: one is {bend:.2f} mm off (allowed "
                f"{EVEN_TOLERANCE_MM} mm), so the table or the reconstruction centre moved "
                "within the series; give a series of one acquisition"
            ],
            [],
        )
    angle = float(np.degrees(np.arctan(np.linalg.norm(fit[0]))))
    if np.linalg.norm(fit[0]) * run[-1] <= EVEN_TOLERANCE_MM:
        return 0.0, *_unseen_tilt(noted, planes[0])
    if angle > STEEPEST_TILT_DEG:
        return (
            angle,
            [
                f"its slices shear by {angle:.1f} degrees, more than any gantry tilts "
                f"({STEEPEST_TILT_DEG:.0f}); the positions in its headers are damaged"
            ],
            [],
        )
    notes = [
        f"gantry tilt of {angle:.1f} degrees: every slice was shifted within its own plane, by "
        "linear interpolation, onto an orthogonal grid; nothing was interpolated between slices"
    ]
    if noted and abs(noted - angle) > TILT_TOLERANCE_DEG:
        notes.append(
            f"the header notes a tilt of {noted:.1f} degrees; the positions of the slices were used"
        )
    return angle, [], notes


def _unseen_tilt(noted: float, plane: SliceHeader) -> tuple[list[str], list[str]]:
    """Judge a noted tilt that the positions do not show."""
    if noted <= TILT_TOLERANCE_DEG:
        return [], []
    if "ORIGINAL" in {word.upper() for word in plane.image_type}:
        return [
            f"the header notes a gantry tilt of {noted:.1f} degrees but the positions of its "
            "slices show none, so one of the two is wrong; export the original series again"
        ], []
    return [], [
        f"the header notes a gantry tilt of {noted:.1f} degrees and the derived slices show none; "
        "it is taken as removed before"
    ]


def content_problems(planes: list[SliceHeader]) -> list[str]:
    """Name why planes are no CT slices in HU, whatever their geometry."""
    head = planes[0]
    problems = []
    if not head.series_uid:
        problems.append("its images name no series, so slices of several cannot be told apart")
    if head.modality != "CT":
        problems.append(f"its modality is {head.modality or 'not given'}, a CT is needed")
    elif head.sop_class not in CT_SOP_CLASSES:
        problems.append("its images are not stored as CT images (they may be screen captures)")
    if kind_of(head) != "slice":
        problems.append(f"it is a {kind_of(head)} ({'/'.join(head.image_type)}), not slices")
    if any(p.samples != 1 for p in planes):
        problems.append("its images are in colour, a CT has one value per pixel")
    if any(p.lookup_table for p in planes):
        problems.append("its values pass through a look-up table instead of slope and intercept")
    if any(p.slope is None or p.intercept is None or p.slope == 0 for p in planes):
        problems.append(
            "some of its images have no valid RescaleSlope and RescaleIntercept, so their values "
            "are not in HU; export the original series"
        )
    problems += stored_problems(planes)
    odd = sorted({p.rescale_type for p in planes} - HU_TYPES - UNSPECIFIED_TYPES)
    if odd:
        problems.append(f"its values are in {', '.join(odd)}, not in HU")
    return problems


def padded_hu(plane: SliceHeader) -> float:
    """The HU that the value declared as padding would be, the highest of a range; -inf without."""
    if plane.padding is None:
        return -np.inf
    stated = (
        [plane.padding] if plane.padding_limit is None else [plane.padding, plane.padding_limit]
    )
    half = 1 << (plane.bits_allocated - 1)
    values = [v - 2 * half if plane.signed and v >= half else v for v in stated]
    return (plane.slope or 1.0) * max(values) + (plane.intercept or 0.0)


def content_notes(planes: list[SliceHeader], step_mm: float) -> list[str]:
    """Say what a reader of the plan should know about the images."""
    notes = []
    if any(p.lossy for p in planes):
        notes.append(
            "the images were compressed with loss (LossyImageCompression 01): thin cortex may be "
            "altered"
        )
    if {p.rescale_type for p in planes} & UNSPECIFIED_TYPES:
        notes.append("the rescale type is unspecified; the values are taken as HU")
    thickness = planes[0].thickness_mm
    if thickness and thickness < UNSEEN_FRACTION * step_mm:
        notes.append(
            f"slices of {thickness:.4g} mm lie {step_mm:.4g} mm apart: what is between them was "
            "not imaged"
        )
    tissue = max(padded_hu(plane) for plane in planes)
    if PADDING_IS_AIR_HU < tissue <= BRIGHTEST_TISSUE_HU:
        notes.append(
            f"the value declared as padding is {tissue:.0f} HU, which tissue has too: only where "
            "it reaches the border of an image was it taken for padding"
        )
    if not planes[0].frame_of_reference_uid:
        notes.append("the images name no frame of reference")
    return notes
