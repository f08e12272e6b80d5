"""From loose planes to stacks: group, sort, and find everything that is wrong with a stack.

A stack is a set of planes of one series that share orientation, frame of reference, matrix, pixel
spacing, kernel, kind of image and temporal position. Its planes are sorted by their position along
the normal (row direction x column direction), so that k grows along the normal and the grid is
right-handed; file names and instance numbers decide nothing. The rules:

- one image that came twice (same SOP instance, position and pixels) is used once, and said;
- planes that still share a position, or that alternate along the normal, are split by acquisition
  number, time, thickness, tube voltage, diameter or contrast agent where one of these separates
  them: two acquisitions are never zipped into one volume;
- planes that share position and pixels are used once, and said; other pixels: a problem;
- a missing plane, uneven spacing, a stack that bends: a problem;
- slices displaced within their plane in proportion to their position (gantry tilt): a note, the
  pixels are shifted back when they are read;
- temporal positions or acquisitions that cover the same place: rivals, the user must name one.

Positions are patient LPS, mm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from planner.geometry.grid import Float, Grid
from planner.reading import checks, limits
from planner.reading.headers import SliceHeader

# Rounding of cosines from slice to slice; 5e-4 turns a 500 mm field by 0.12 mm at its edges.
ORIENTATION_TOLERANCE = 5e-4
PIXEL_SPACING_TOLERANCE_MM = 1e-4
MARK_TOLERANCES = {"slice thickness": 0.05, "tube voltage": 1.0, "diameter": 1.0}
"""What writers round, mm and kV; two acquisitions that differ by less differ in a time as well."""

SamePixels = Callable[[SliceHeader, SliceHeader], bool]


@dataclass(frozen=True)
class Stack:
    """The planes of one volume, in order, and what speaks against it.

    label: the series UID, with "#n" where a series holds several stacks.
    rows_direction, columns_direction, normal: unit vectors along i, j, k.
    offsets_mm: (K, 2) displacement of every plane within its plane along i and j.
    company: what the other stacks of the same series differ in; empty where it is alone.
    rivals: labels of stacks of the same series that show the same place at another time.
    """

    label: str
    planes: tuple[SliceHeader, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    direction: Float = field(default_factory=lambda: np.eye(3))
    spacing_mm: Float = field(default_factory=lambda: np.zeros(3))
    offsets_mm: Float = field(default_factory=lambda: np.zeros((0, 2)))
    tilt_deg: float = 0.0
    split_by: str = ""
    company: str = ""
    rivals: tuple[str, ...] = ()

    @property
    def first(self) -> SliceHeader:
        """The plane at k = 0."""
        return self.planes[0]

    @property
    def has_geometry(self) -> bool:
        """Tell whether the planes lie on known places at all."""
        return bool(self.spacing_mm.min() > 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k as stored, before a tilt is taken out."""
        return (self.first.columns, self.first.rows, len(self.planes))

    @property
    def extent_mm(self) -> float:
        """Cranio-caudal height of the field."""
        return limits.cranio_caudal_extent_mm(self.shape, self.spacing_mm, self.direction)

    @property
    def tilted(self) -> bool:
        """Tell whether the planes must be shifted onto an orthogonal grid."""
        return self.tilt_deg > 0

    def grid(self) -> Grid:
        """Build the orthogonal grid that holds every plane of the stack.

        For a tilted stack it is larger than a plane by the way the planes travel within themselves.
        Raises ValueError for a stack without geometry.
        """
        if not self.has_geometry or self.first.position is None:
            raise ValueError("a stack without geometry has no grid")
        low, high = self.padding()
        columns, rows, slices = self.shape
        start = -np.array([*low, 0.0]) * self.spacing_mm
        return Grid.from_axes(
            (columns + low[0] + high[0], rows + low[1] + high[1], slices),
            np.asarray(self.first.position) + self.direction @ start,
            self.spacing_mm,
            self.direction,
            self.first.frame_of_reference_uid,
        )

    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Count the voxels to add before and after (i, j) so that every shifted plane fits."""
        if not self.tilted:
            return (0, 0), (0, 0)
        # The thousandth keeps rounding noise from adding an empty row.
        travel = self.offsets_mm / self.spacing_mm[:2]
        low = np.ceil(-travel.min(axis=0) - 1e-3).astype(int)
        high = np.ceil(travel.max(axis=0) - 1e-3).astype(int)
        return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def build_stacks(headers: Iterable[SliceHeader], same_pixels: SamePixels) -> tuple[Stack, ...]:
    """Group planes into stacks and check each.

    same_pixels: decodes two planes and compares them; called only for planes at one position.
    """
    series: dict[str, list[SliceHeader]] = {}
    for header in headers:
        series.setdefault(header.series_uid, []).append(header)
    return tuple(
        stack for uid in sorted(series) for stack in _stacks_of(uid, series[uid], same_pixels)
    )


def _stacks_of(uid: str, planes: list[SliceHeader], same_pixels: SamePixels) -> list[Stack]:
    planes, copies = _drop_copies(planes, same_pixels)
    groups: list[tuple[str, list[SliceHeader]]] = []
    for plain in _partition(planes, _same_lattice):
        times = _partition(plain, lambda a, b: a.temporal == b.temporal)
        # Some writers give every frame a stack of its own: that is no time.
        for group in times if len(times) < len(plain) else [plain]:
            groups += _split_acquisitions(group)
    zipped = _orientation_problem(groups)
    by_time = len(groups) > len(_partition(planes, _same_lattice))
    groups.sort(key=lambda g: _group_order(g[1]))
    stacks = []
    for number, (split_by, group) in enumerate(groups, 1):
        label = uid if len(groups) == 1 else f"{uid}#{number}"
        temporal = f"temporal {group[0].temporal}" if by_time and group[0].temporal else ""
        stack = _check(label, group, same_pixels)
        stacks.append(replace(stack, split_by=split_by or temporal))
    # A file that breaks off may have lost the very tags that put it into one stack or another.
    faults = [*checks.fault_problem(planes), *checks.missing_problems(planes), *zipped]
    stacks = [replace(s, problems=(*faults, *s.problems)) for s in stacks]
    notes = []
    if copies:
        notes.append(f"{copies} images of this series came twice, identical; each is used once")
    company = ""
    if len(groups) > 1:
        what = _differences(planes, [name for name, _ in groups])
        company = f"its series holds {len(groups)} stacks that differ in {what}"
        notes.append(company)
    if len(groups) == 1:
        notes += checks.missing_notes(planes)
    stacks = [replace(s, company=company, notes=(*notes, *s.notes)) for s in stacks]
    return [replace(s, rivals=_rivals(s, stacks)) for s in stacks]


def _group_order(planes: list[SliceHeader]) -> tuple[int, str, str, str, tuple[float, ...]]:
    first = min((p.position or (0.0,) * 3) for p in planes)
    head = planes[0]
    return -len(planes), head.temporal, head.acquisition.zfill(12), head.kernel, first


def _partition(
    planes: Sequence[SliceHeader], same: Callable[[SliceHeader, SliceHeader], bool]
) -> list[list[SliceHeader]]:
    groups: list[list[SliceHeader]] = []
    for plane in planes:
        for group in groups:
            if same(group[0], plane):
                group.append(plane)
                break
        else:
            groups.append([plane])
    return groups


def _close(a: Sequence[float] | None, b: Sequence[float] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _same_lattice(a: SliceHeader, b: SliceHeader) -> bool:
    return not _unlike(a, b)


def _unlike(a: SliceHeader, b: SliceHeader) -> list[str]:
    """Name what keeps two planes of a series out of one stack."""
    return [
        word
        for word, same in (
            ("patient", a.patient_key == b.patient_key),
            ("study", a.study_uid == b.study_uid),
            ("kind of image", checks.kind_of(a) == checks.kind_of(b)),
            ("frame of reference", a.frame_of_reference_uid == b.frame_of_reference_uid),
            ("orientation", _close(a.orientation, b.orientation, ORIENTATION_TOLERANCE)),
            ("matrix size", (a.rows, a.columns) == (b.rows, b.columns)),
            ("pixel spacing", _close(a.spacing_mm, b.spacing_mm, PIXEL_SPACING_TOLERANCE_MM)),
            ("kernel", a.kernel == b.kernel),
        )
        if not same
    ]


def _differences(planes: list[SliceHeader], splits: Sequence[str]) -> str:
    words: list[str] = []
    for plane in planes[1:]:
        words += [w for w in _unlike(planes[0], plane) if w not in words]
    if len({p.temporal for p in planes}) > 1:
        words.append("temporal position")
    words += sorted({re.sub(r" \S+( of \d+)?$", "", name) for name in splits if name})
    return ", ".join(words) or "acquisition"


def _position_mm(plane: SliceHeader) -> float | None:
    """Position of a plane along its own normal; None without geometry."""
    if plane.position is None or plane.orientation is None:
        return None
    normal = np.cross(plane.orientation[:3], plane.orientation[3:])
    return float(normal @ np.asarray(plane.position))


def _drop_copies(
    planes: list[SliceHeader], same_pixels: SamePixels
) -> tuple[list[SliceHeader], int]:
    """Keep one of the images that came as several files; what only claims to be a copy stays."""
    seen: dict[tuple[str, int], SliceHeader] = {}
    kept: list[SliceHeader] = []
    for plane in planes:
        key = (plane.sop_uid, plane.frame)
        twin = seen.setdefault(key, plane) if plane.sop_uid else plane
        copied = twin is not plane and twin.position == plane.position
        if not (copied and same_pixels(twin, plane)):
            kept.append(plane)
    return kept, len(planes) - len(kept)


def _split_acquisitions(planes: list[SliceHeader]) -> list[tuple[str, list[SliceHeader]]]:
    """Separate planes that share positions or alternate, by what marks an acquisition."""
    marks = [("acquisition", [plane.acquisition for plane in planes])]
    for number, (name, _) in enumerate(planes[0].marks):
        marks.append((name, [plane.marks[number][1] for plane in planes]))
    doubles = _has_doubles(planes)
    for name, texts in marks:
        values = _same_figures(texts, MARK_TOLERANCES[name]) if name in MARK_TOLERANCES else texts
        parts = [
            [plane for plane, value in zip(planes, values, strict=True) if value == each]
            for each in sorted(set(values))
        ]
        # A number or a time that some slices lack tells nothing; contrast that some lack does.
        told = "" not in texts or name == "contrast agent"
        # An axial scan numbers every rotation: parts that small are no volumes of their own.
        resolved = len(parts) > 1 and all(len(p) > 1 and not _has_doubles(p) for p in parts)
        if resolved and (doubles or (told and _alternate(parts))):
            named = name == "acquisition"
            return [
                (f"{name} {part[0].acquisition if named else f'{n} of {len(parts)}'}", part)
                for n, part in enumerate(parts, start=1)
            ]
    return [("", planes)]


def _same_figures(texts: Sequence[str], tolerance: float) -> list[str]:
    """Give figures that differ by rounding one text: each the least of its run of near ones."""
    try:
        figures = sorted({float(text) for text in texts if text})
    except ValueError:
        return list(texts)
    firsts: dict[float, float] = {}
    for before, figure in pairwise([-np.inf, *figures]):
        firsts[figure] = firsts[before] if figure - before <= tolerance else figure
    return [f"{firsts[float(text)]:g}" if text else "" for text in texts]


def _alternate(parts: Sequence[Sequence[SliceHeader]]) -> bool:
    """Whether the planes of several parts lie between one another along the normal."""
    places = sorted(
        (place, n)
        for n, part in enumerate(parts)
        for plane in part
        if (place := _position_mm(plane)) is not None
    )
    return 1 + sum(a[1] != b[1] for a, b in pairwise(places)) > len(parts)


def _orientation_problem(groups: Sequence[tuple[str, list[SliceHeader]]]) -> list[str]:
    """Planes that alternate and differ in orientation alone belong together, and cannot."""
    for number, (_, one) in enumerate(groups):
        for _, other in groups[number + 1 :]:
            if _unlike(one[0], other[0]) == ["orientation"] and _alternate((one, other)):
                return [checks.jitter_problem(one[0], other[0])]
    return []


def _has_doubles(planes: list[SliceHeader]) -> bool:
    places = sorted(p for p in map(_position_mm, planes) if p is not None)
    return any(b - a < checks.SAME_POSITION_MM for a, b in pairwise(places))


def _rivals(stack: Stack, others: list[Stack]) -> tuple[str, ...]:
    """Name the stacks that differ from this one by time only and cover its place."""
    if not stack.split_by or stack.problems:
        return ()
    low, high = _range(stack)
    found = []
    for other in others:
        if other.label == stack.label or other.problems or _unlike(stack.first, other.first):
            continue
        start, stop = _range(other)
        if min(high, stop) - max(low, start) > 0.5 * min(high - low, stop - start):
            found.append(other.label)
    return tuple(found)


def _range(stack: Stack) -> tuple[float, float]:
    places = [p for p in map(_position_mm, stack.planes) if p is not None]
    return min(places), max(places)


def _check(label: str, planes: list[SliceHeader], same_pixels: SamePixels) -> Stack:
    """Sort one stack and collect its problems and notes."""
    problems = checks.content_problems(planes)
    missing = checks.geometry_problems(planes[0]) or checks.position_problems(planes)
    if missing:
        return Stack(label, tuple(planes), (*problems, *missing))
    direction = _direction(planes[0])
    ordered = sorted(planes, key=lambda p: (_along(p, direction), p.sop_uid, p.frame))
    ordered, doubles, dropped = _resolve_doubles(ordered, direction, same_pixels)
    problems += doubles
    notes = [f"{dropped} slices repeat another one exactly; each is used once"] if dropped else []
    places = np.array([p.position for p in ordered]) @ direction
    row_spacing, column_spacing = ordered[0].spacing_mm or (0.0, 0.0)
    step = _step(places[:, 2], ordered[0])
    spacing = np.array([column_spacing, row_spacing, step])
    problems += checks.time_problems(ordered)
    problems += [] if doubles else checks.spacing_problems(places[:, 2], ordered)
    offsets = places[:, :2] - places[0, :2]
    tilt, tilt_problems, tilt_notes = checks.tilt_of(places, ordered)
    stack = Stack(
        label,
        tuple(ordered),
        direction=direction,
        spacing_mm=spacing,
        offsets_mm=offsets,
        tilt_deg=tilt,
    )
    problems += tilt_problems
    problems += limits.memory_problems(stack.grid().shape)
    problems += limits.size_problems(stack.shape, spacing, direction, 2)
    notes += [*tilt_notes, *checks.content_notes(ordered, step), *limits.size_notes(spacing)]
    return replace(stack, problems=tuple(problems), notes=tuple(notes))


def _direction(plane: SliceHeader) -> Float:
    """Unit vectors of i, j and k as columns; rounding of the header is taken out."""
    orientation = np.asarray(plane.orientation, float)
    row = orientation[:3] / np.linalg.norm(orientation[:3])
    column = orientation[3:] - row * (row @ orientation[3:])
    column /= np.linalg.norm(column)
    return np.column_stack([row, column, np.cross(row, column)])


def _along(plane: SliceHeader, direction: Float) -> float:
    return float(direction[:, 2] @ np.asarray(plane.position))


def _step(places: Float, plane: SliceHeader) -> float:
    if len(places) > 1 and places[-1] - places[0] > checks.SAME_POSITION_MM:
        return float((places[-1] - places[0]) / (len(places) - 1))
    return plane.thickness_mm or 1.0


def _resolve_doubles(
    planes: list[SliceHeader], direction: Float, same_pixels: SamePixels
) -> tuple[list[SliceHeader], list[str], int]:
    """Drop planes that repeat the one before them exactly; planes must be sorted."""
    kept = [planes[0]]
    clashes: list[SliceHeader] = []
    for plane in planes[1:]:
        last = kept[-1]
        if _along(plane, direction) - _along(last, direction) >= checks.SAME_POSITION_MM:
            kept.append(plane)
        elif not (
            _close(plane.position, last.position, checks.SAME_POSITION_MM)
            and same_pixels(last, plane)
        ):
            kept.append(plane)
            clashes.append(plane)
    if not clashes:
        return kept, [], len(planes) - len(kept)
    return kept, [checks.clash_problem(clashes)], len(planes) - len(kept)
