"""The whole segmentation on the shipped sample case, whose truth is known exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nrrd
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.geometry.sampling import resample
from planner.model.anatomy import LABELS
from planner.model.volume import Volume
from planner.segmentation import Segmentation, segment
from planner.segmentation.confidence import confidences, support_of
from planner.segmentation.fit import fit
from planner.segmentation.localise import along_axes, localise, pooled_bone
from planner.segmentation.segment import fill_enclosed, label_grid, ordered_volume, refine
from planner.segmentation.template import build_template
from segmentation.conftest import SAMPLE

LEVELS = ("S1", "S2", "S3", "S4")


def test_every_foramen_is_found_at_its_level_and_side(
    sample_segmentation: Segmentation, sample_truth: dict[str, Any]
) -> None:
    grid, labels = sample_segmentation.grid, sample_segmentation.labels
    known = {f"foramen_{f['level'].lower()}_{f['side']}": f for f in sample_truth["foramina"]}
    assert len(known) >= 8
    for name, truth in known.items():
        where = grid.to_patient(np.argwhere(labels == LABELS[name]))
        assert len(where), f"{name} has no voxels"
        centre = np.asarray(truth["centre_mm"])
        assert np.linalg.norm(where - centre, axis=1).min() < 2.0, name
        others = {n: np.asarray(f["centre_mm"]) for n, f in known.items()}
        nearest = min(others, key=lambda n: float(np.linalg.norm(others[n] - where.mean(axis=0))))
        assert nearest == name


def test_left_is_the_patients_left(sample_segmentation: Segmentation) -> None:
    grid, labels = sample_segmentation.grid, sample_segmentation.labels
    for structure in ("hip", *(f"foramen_{level.lower()}" for level in LEVELS)):
        left = grid.to_patient(np.argwhere(labels == LABELS[f"{structure}_left"])).mean(axis=0)
        right = grid.to_patient(np.argwhere(labels == LABELS[f"{structure}_right"])).mean(axis=0)
        assert left[0] > right[0] + 15.0, structure


def test_the_sacrum_agrees_with_the_truth(
    sample_segmentation: Segmentation, sample_volume: Volume
) -> None:
    truth, header = nrrd.read(str(SAMPLE / "truth.nrrd"))
    origin = np.asarray(header["space origin"], float)
    assert header["space"].startswith("left-posterior-superior")
    assert np.allclose(origin, sample_volume.grid.origin, atol=0.01)
    found = resample(
        (sample_segmentation.labels == LABELS["sacrum"]).astype(np.float32),
        sample_segmentation.grid,
        sample_volume.grid,
        0.0,
    )
    sacrum = truth == LABELS["sacrum"]
    dice = 2 * ((found > 0.5) & sacrum).sum() / ((found > 0.5).sum() + sacrum.sum())
    assert dice > 0.9


def test_confidence_is_high_on_a_case_that_went_well(sample_segmentation: Segmentation) -> None:
    parts = sample_segmentation.confidences
    assert set(parts) >= {"sacrum", "sacral_canal", "hip_left", "hip_right", "foramen_s1_left"}
    assert all(0.0 <= value <= 1.0 for value in parts.values())
    assert min(parts[f"foramen_s{n}_{s}"] for n in (1, 2, 3) for s in ("left", "right")) > 0.4


def turned(volume: Volume, axis: int) -> Volume:
    values = np.asfortranarray(np.flip(volume.values, axis))
    return Volume(values, volume.grid, volume.source)


@pytest.mark.parametrize(("axis", "words"), [(1, "front to back"), (2, "upside down")])
def test_an_image_whose_anatomy_contradicts_its_geometry_is_refused(
    sample_volume: Volume, axis: int, words: str
) -> None:
    with pytest.raises(UnsuitableCtError, match=words):
        segment(turned(sample_volume, axis))


def test_an_image_without_a_sacrum_is_refused(sample_volume: Volume) -> None:
    soft = Volume(np.minimum(sample_volume.values, 60), sample_volume.grid, sample_volume.source)
    with pytest.raises(UnsuitableCtError, match="No sacrum was found"):
        segment(soft)


def test_the_bone_map_keeps_thin_cortex_and_place(sample_volume: Volume) -> None:
    values = np.full((40, 40, 40), 30, np.int16)
    values[20, 22, 24] = 900  # one voxel of bone must survive the pooling
    grid = Grid.from_axes((40, 40, 40), (-10, 5, 7), (1.0, 1.0, 1.0))
    boneness, coarse = along_axes(
        *pooled_bone(Volume(values, grid, sample_volume.source)), np.eye(3)
    )
    peak = coarse.to_patient(np.unravel_index(int(boneness.argmax()), boneness.shape))
    assert boneness.max() > 0.5
    assert np.abs(peak - grid.to_patient((20, 22, 24))).max() <= 4.0


def test_thick_slices_get_a_finer_label_grid() -> None:
    thin = Grid.from_axes((10, 10, 10), (0, 0, 0), (0.8, 0.8, 1.25))
    thick = Grid.from_axes((10, 10, 10), (0, 0, 0), (1.0, 1.0, 3.0))
    assert label_grid(thin) is thin
    assert label_grid(thick).shape == (10, 10, 20)
    turn = Rotation.from_euler("xyz", (13.0, 7.0, 33.0), degrees=True).as_matrix()
    assert label_grid(thick.turned(turn)).shape == (10, 10, 20)  # rounding makes no third part


@pytest.mark.slow
def test_the_same_ct_gives_the_same_labels(
    sample_volume: Volume, sample_segmentation: Segmentation
) -> None:
    again = segment(sample_volume)
    assert np.array_equal(again.labels, sample_segmentation.labels)
    assert again.confidences == sample_segmentation.confidences


def test_a_sacrum_one_level_off_has_no_confidence(
    sample_volume: Volume, sample_segmentation: Segmentation
) -> None:
    template = build_template()
    stored = ordered_volume(sample_volume)
    found = localise(stored, template)
    straight = replace(stored, grid=stored.grid.turned(found.turn.T))
    down = found.pose.turn(np.array([[0.0, 0.35, -0.94]]))[0]
    shifted = replace(found.pose, translation=found.pose.translation + 27.0 * down)
    fitted, image, grid = fit(straight, template, replace(found, pose=shifted))
    _, _, _, shares = refine(straight, image, grid, fitted)
    borne_out = support_of(image, grid, fitted)
    wrong = confidences(*borne_out, shares, float(sample_volume.grid.spacing_mm.max()))
    for level in ("s1", "s2", "s3"):
        for side in ("left", "right"):
            name = f"foramen_{level}_{side}"
            assert wrong[name] < 0.2 < sample_segmentation.confidences[name]


def test_no_room_inside_the_sacrum_is_left_unnamed() -> None:
    labels = np.zeros((20, 12, 12), np.uint8)
    labels[1:19, 1:11, 1:11] = LABELS["sacrum"]
    labels[2:8, 4:8, :] = LABELS["sacral_canal"]
    labels[4, 5, 5] = 0  # within the canal
    labels[8, 5, 5] = 0  # between canal and bone
    labels[14, 5, 5] = 0  # within bone
    labels[17:, 5, 5] = 0  # open to the outside
    labels[15:17, 7, 7] = 0, LABELS["hip_left"]  # a crumb of another bone names nothing
    fill_enclosed(labels)
    assert labels[15, 7, 7] == LABELS["sacrum"]
    assert labels[4, 5, 5] == labels[8, 5, 5] == LABELS["sacral_canal"]
    assert labels[14, 5, 5] == LABELS["sacrum"]
    assert not labels[17:, 5, 5].any()
    assert not labels[0].any()
