"""CT to label map: localise, fit, cut, name.

Method, without trained weights: the parametric pelvis is found by correlation, posed, bent to the
borders of bone in the image, and its surface refined by a directed cut; canal and foramina are the
empty spaces inside the sacrum's envelope, named by the channels of the fitted template.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.anatomy.orientation import check_lie
from planner.errors import UnsuitableCtError
from planner.geometry.distance import deeper, signed_distance, within
from planner.geometry.grid import Grid
from planner.geometry.order import common_order, in_common_order
from planner.geometry.sampling import resample
from planner.geometry.voxelise import voxelise
from planner.model.anatomy import CHANNELS, LABELS, SIDES
from planner.model.volume import Volume
from planner.segmentation.channels import channel_fields, envelope, split_channels
from planner.segmentation.confidence import confidences, support_of
from planner.segmentation.cut import CutSettings, directed_cut
from planner.segmentation.deform import AIR_HU
from planner.segmentation.fit import IMAGE_MM, Fitted, fit
from planner.segmentation.hips import complete_hips
from planner.segmentation.localise import Localisation, localise
from planner.segmentation.lumbar import find_lumbar
from planner.segmentation.subvoxel import settle_border
from planner.segmentation.tail import REACH_MM as TAIL_MM
from planner.segmentation.tail import grow_tail
from planner.segmentation.template import Template, build_template

CONTRAST_FLOOR = 0.155
"""Measured: 0.27 and more on pelves with slices up to 3 mm, 0.18 with voxels of 3 mm on all axes,
0.14 and less on other parts of the body. What slips through meets the floor of confidence."""
FINEST_NEEDED_MM = 1.5
"""Labels are kept on a grid at least this fine; thicker slices are subdivided."""
ROUNDING = 1e-6
"""A spacing is a length of rounded numbers, and turning a grid rounds them again."""
BORDER_BIAS = 0.18
"""How far outside the true border the cut lies, as a share of the coarsest voxel spacing. Under
blur the steepest flank of a thin cortex lies outside it; measured as 0.21 to 0.27 mm at 1.25 mm
slices and 0.49 mm at 3 mm on simulated CTs of real sacra. Left in, it overstates clearances."""
BORDER_SMOOTHING_MM = 0.5
CHANNEL_SHARE = 0.25
"""A voxel with this much of a channel belongs to it: channels err on the large side."""
HIP_GAP_MM = -0.5
"""The sacrum may reach this far into a fitted hip, whose border has an error of its own."""
SHEET_MM = 1.5
"""Radius below which a sheet of bone may fall between the voxels of the cut when its two borders
are settled; it keeps what the cut gave it."""
KEPT_MEMBERSHIP = 0.6
HARDLY_VISIBLE = 0.3
"""Confidence below which a structure is named in the warnings; above it, 1 in 3 of S4 were wrong
at most, and none of S1 to S3 (`scripts/evaluate_confidence.py`)."""
JOINT_SLACK_MM = 1.0
"""The cut may pass a joint's sheet by this much: a column's step, and the sheet's smoothing."""
JOINT_BAND_MM = 8.0

SURROUNDINGS_MM = np.array([45.0, 45.0, 30.0])
"""Room around the sacrum, in LPS, in which hips are completed: the posterior iliac spines."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A label map with what is known of its trustworthiness.

    labels: (I, J, K) uint8 on grid, values of LABELS. confidences: 0 to 1 per structure. evidence:
    what was measured of the image, of a built-in segmentation. start: where it began.
    """

    labels: NDArray[np.uint8]
    grid: Grid
    confidences: dict[str, float]
    warnings: tuple[str, ...] = ()
    source: str = "builtin"
    evidence: dict[str, float] = field(default_factory=dict)
    start: Localisation | None = None


def segment(
    volume: Volume, progress: Progress | None = None, start: Localisation | None = None
) -> Segmentation:
    """Segment sacrum, canal, foramina, hips, L5 and its facet joints with S1.

    start: where to begin instead of where the pelvis is found, to try what a wrong start does.
    Raises UnsuitableCtError where no sacrum is found, where it is cut off above S3, and where the
    anatomy contradicts the geometry of the image.
    """

    def tell(stage: str, share: float) -> None:
        if progress is not None:
            progress(stage, share)

    tell("localise", 0.0)
    template = build_template()
    stored = ordered_volume(volume)
    found = localise(stored, template) if start is None else start
    check_found(found)
    check_lie(found.turn)  # what it warns of is told of the anatomy
    # From here on coordinates run along the body's own axes: the affine turns, no voxel moves.
    straight = replace(stored, grid=stored.grid.turned(found.turn.T))
    check_covered(straight, template, found)
    tell("fit", 0.2)
    fitted, image, grid = fit(
        straight, template, found, lambda share: tell("fit", 0.2 + 0.5 * share)
    )
    tell("cut", 0.7)
    membership, cut_grid, channels, open_shares = refine(straight, image, grid, fitted)
    tell("hips", 0.85)
    box, around = surroundings(grid, fitted)
    seen = np.maximum(image[box], AIR_HU)
    bone = resample((membership > 0.5).astype(np.float32), cut_grid, around, 0.0) > 0.5
    inside = np.zeros(around.shape, bool)
    for mask in channels.values():
        inside |= resample(mask.astype(np.float32), cut_grid, around, 0.0) > 0.5
    hips = complete_hips(seen, around, fitted, bone | inside)
    lumbar = find_lumbar(image[box], around, fitted, bone, inside | hips["left"] | hips["right"])
    tell("label", 0.9)
    coarsest_mm = float(volume.grid.spacing_mm.max())
    shares, walls = support_of(image, grid, fitted)
    parts = confidences(shares, walls, open_shares, coarsest_mm)
    target = label_grid(straight.grid)
    labels = paint(fitted, membership, channels, cut_grid, target)
    beside = {f"hip_{side}": mask for side, mask in hips.items()}
    beside |= {"l5": lumbar.l5, **{f"facet_{side}": lumbar.facets[side] for side in SIDES}}
    add_neighbours(labels, target, beside, around)
    tell("label", 1.0)
    return Segmentation(
        np.asfortranarray(common_order(volume.grid).undo(labels)),
        label_grid(volume.grid),
        parts,
        warnings_of(parts),
        evidence={
            "contrast": found.contrast,
            "runner_up": found.runner_up,
            **{f"support_{name}": share for name, share in shares.items()},
            **{f"wall_{name}": contrast for name, contrast in walls.items()},
            **{f"open_{name}": share for name, share in open_shares.items()},
            "moved_mean_mm": float(fitted.moved_mm.mean()),
        },
        start=found,
    )


def ordered_volume(volume: Volume) -> Volume:
    """The same volume, its voxels in an order that does not depend on how they were stored."""
    values, grid = in_common_order(volume.values, volume.grid)
    return replace(volume, values=values, grid=grid)


def check_found(found: Localisation) -> None:
    """Refuse a CT in which no pelvis is found."""
    if found.contrast_seen < CONTRAST_FLOOR:
        raise UnsuitableCtError(
            "No sacrum was found in the field of view: the best match with a pelvis has a bone "
            f"contrast of {found.contrast_seen:.2f}, at least {CONTRAST_FLOOR:.2f} was expected. "
            "Load a CT that shows the whole sacrum and the hips beside it."
        )


def check_covered(straight: Volume, template: Template, found: Localisation) -> None:
    """Refuse a CT that cuts the sacrum off; straight: in coordinates along the body's axes."""
    s3 = np.stack(
        [
            found.pose.apply(found.bend.apply(template.landmarks[f"foramen_s3_{s}"][1]))
            for s in ("left", "right")
        ]
    )
    top = found.pose.apply(np.zeros((1, 3)))
    if not straight.grid.contains(np.concatenate([s3, top])).all():
        raise UnsuitableCtError(
            "The sacrum is cut off: the S1 endplate and the S3 foramina must lie inside the field "
            "of view. Load a CT that covers the sacrum from L5 to S4."
        )


def refine(
    volume: Volume, image: NDArray[np.float32], grid: Grid, fitted: Fitted
) -> tuple[NDArray[np.float32], Grid, dict[str, NDArray[np.bool_]], dict[str, float]]:
    """Cut the sacrum near its fitted surface and split its empty spaces.

    image: the 1 mm image on grid that the template was fitted to.
    Returns bone membership (0 to 1) on the cut's grid, that grid, the channels' masks, and the
    share of each fitted channel's core that the cut found empty.
    """
    points = np.concatenate([fitted.hull.vertices, fitted.sacrum.vertices])
    low = np.floor(grid.to_ijk(points.min(axis=0) - (14.0, 14.0, 14.0 + TAIL_MM))).astype(int)
    high = np.ceil(grid.to_ijk(points.max(axis=0) + 14.0)).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, grid.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    near = grid.crop(low, high)
    cropped = np.maximum(np.ascontiguousarray(image[box]), AIR_HU)
    prior = signed_distance(
        voxelise(fitted.sacrum.vertices, fitted.sacrum.faces, near), near.spacing_mm
    )
    hips = np.zeros(near.shape, bool)
    for hip in fitted.hips.values():
        hips |= voxelise(hip.vertices, hip.faces, near)
    forbidden = signed_distance(hips, near.spacing_mm) < HIP_GAP_MM if hips.any() else hips
    forbidden |= beyond_joints(fitted, near, prior)
    membership = directed_cut(cropped, prior, IMAGE_MM, CutSettings(), forbidden)
    fields = channel_fields(fitted, near)
    bone = grow_tail(cropped, near, largest(membership > 0.5), fitted, fields)
    border = settle_border(
        signed_distance(bone, near.spacing_mm, BORDER_SMOOTHING_MM),
        near,
        volume.values,
        volume.grid,
    )
    border += BORDER_BIAS * float(volume.grid.spacing_mm.max())
    membership = np.clip(0.5 - border / (2.0 * IMAGE_MM), 0.0, 1.0).astype(np.float32)
    thin = sheets_of(bone, near)
    membership[thin] = np.maximum(membership[thin], KEPT_MEMBERSHIP)
    bone = largest(membership > 0.5)
    membership[~bone] = np.minimum(membership[~bone], 0.5)  # specks inside a channel are not bone
    hull = envelope(bone, fitted, near)
    channels, shares = split_channels(bone, fields, hull, cropped)
    for mask in channels.values():
        membership[mask & bone] = 0.0  # kept open against the cut
    return membership, near, channels, shares


def sheets_of(bone: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """(I, J, K) bone too thin to hold a ball of SHEET_MM: laminae, edges, the hiatus' rim."""
    core = deeper(bone, grid.spacing_mm, SHEET_MM)
    return np.asarray(bone & ~within(core, grid.spacing_mm, SHEET_MM))


def beyond_joints(fitted: Fitted, grid: Grid, prior: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(I, J, K) voxels on the iliac side of a joint's sheet, near the sacrum's fitted surface."""
    out = np.zeros(grid.shape, bool)
    where = np.argwhere(np.abs(prior) < JOINT_BAND_MM)
    points = grid.to_patient(where)
    for sheet in fitted.joints:
        height, _ = sheet.above(points)
        beyond = where[(height > JOINT_SLACK_MM) & (height < JOINT_BAND_MM)]
        out[tuple(beyond.T)] = True
    return out


def surroundings(grid: Grid, fitted: Fitted) -> tuple[tuple[slice, ...], Grid]:
    """The part of an image's grid that a needle can reach beside the sacrum, as slices and grid."""
    low = np.floor(grid.to_ijk(fitted.hull.vertices.min(axis=0) - SURROUNDINGS_MM)).astype(int)
    high = np.ceil(grid.to_ijk(fitted.hull.vertices.max(axis=0) + SURROUNDINGS_MM)).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, grid.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return box, grid.crop(low, high)


def add_neighbours(
    labels: NDArray[np.uint8], target: Grid, masks: dict[str, NDArray[np.bool_]], source: Grid
) -> None:
    """Paint masks by their names over the background of a label map, and each other, in place."""
    ijk = target.to_ijk(source.corners())
    low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, target.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = target.crop(low, high)
    view = labels[box]
    free = view == 0
    for name, mask in masks.items():
        here = resample(mask.astype(np.float32), source, part, 0.0) > 0.5
        view[here & free] = LABELS[name]


def largest(mask: NDArray[np.bool_], crumb_share: float = 0.01) -> NDArray[np.bool_]:
    """Keep the largest component and those of at least crumb_share of it (S5, a split crest)."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.isin(parts, np.flatnonzero(sizes >= crumb_share * sizes.max()))


def label_grid(grid: Grid) -> Grid:
    """The CT's own grid, with voxels subdivided where they are thicker than FINEST_NEEDED_MM."""
    parts = [max(1, int(np.ceil(s / FINEST_NEEDED_MM - ROUNDING))) for s in grid.spacing_mm]
    return grid if max(parts) == 1 else grid.subdivide((parts[0], parts[1], parts[2]))


def paint(
    fitted: Fitted,
    membership: NDArray[np.float32],
    channels: dict[str, NDArray[np.bool_]],
    source: Grid,
    target: Grid,
) -> NDArray[np.uint8]:
    """Write all structures into one label map on the target grid; the sacrum wins over hips."""
    labels = np.zeros(target.shape, np.uint8)
    for side, hip in fitted.hips.items():
        labels[voxelise(hip.vertices, hip.faces, target)] = LABELS[f"hip_{side}"]
    ijk = target.to_ijk(source.corners())
    low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, target.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = target.crop(low, high)
    view = labels[box]
    best = resample(membership, source, part, 0.0)
    bone = best > 0.5
    view[bone] = LABELS["sacrum"]
    strongest = np.full(part.shape, CHANNEL_SHARE, np.float32)
    for name, mask in channels.items():
        share = resample(mask.astype(np.float32), source, part, 0.0)
        mine = (share > strongest) & ~(bone & (best >= share))
        strongest[mine] = share[mine]
        view[mine] = LABELS[name]
    fill_enclosed(view)
    return labels


def fill_enclosed(labels: NDArray[np.uint8]) -> None:
    """Name background that sacrum and channels enclose, in place.

    What a channel touches is that channel's: an unnamed hole in it would be room for a needle. What
    only bone surrounds is bone, as the cavities of a fracture are.
    """
    nerves = [LABELS[name] for name in CHANNELS]
    solid = np.isin(labels, [LABELS["sacrum"], *nerves])
    holes = ndimage.binary_fill_holes(solid) & ~solid & (labels == 0)
    parts, count = ndimage.label(holes)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        box = tuple(slice(max(axis.start - 1, 0), axis.stop + 1) for axis in box)
        hole, view = parts[box] == number, labels[box]
        around = view[ndimage.binary_dilation(hole) & ~hole]
        channels = around[np.isin(around, nerves)]
        view[hole] = np.bincount(channels).argmax() if len(channels) else LABELS["sacrum"]


def warnings_of(parts: dict[str, float]) -> tuple[str, ...]:
    """Name in words what the image hardly bears out."""
    out = []
    upper = [parts.get(f"foramen_{v}_{s}", 0.0) for v in ("s1", "s2", "s3") for s in SIDES]
    levels = max(upper) < HARDLY_VISIBLE
    if levels:
        out.append(
            "the S1 endplate and the sacrum's lower end are hardly borne out by the image "
            f"(confidence of the best foramen {max(upper):.2f}): all levels may be off by one."
        )
    for name, value in parts.items():
        if name.startswith("foramen") and value < HARDLY_VISIBLE and not levels:
            out.append(
                f"{name} is hardly visible (confidence {value:.2f}): its place rests on the shape "
                "of the rest of the sacrum. Check it before relying on clearances near it."
            )
        elif name.startswith("hip") and value < HARDLY_VISIBLE:
            out.append(
                f"{name} is hardly visible (confidence {value:.2f}): check the clearance to the "
                "sacroiliac joint on that side."
            )
    return tuple(out)
