"""Maps on the mean sacrum: patients that are the mean one, moved about, and counts by numpy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cohort.atlas import (
    LIMITS_MM,
    NEAR_MM,
    X_MM,
    Z_MM,
    Atlas,
    AtlasMap,
    gather_atlas,
    map_onto_mean,
    mean_openings,
)
from planner.model.anatomy import Anatomy, Foramen
from planner.model.entry_map import EntryMap
from tests.export.toy import toy_anatomy

TOY = toy_anatomy()
NODES = np.stack(np.meshgrid(X_MM, Z_MM, indexing="ij"), axis=-1).reshape(-1, 2)
BACK = NODES[(np.abs(NODES[:, 0]) < 45) & (NODES[:, 1] < 1) & (NODES[:, 1] > -90)]
Flat = np.ndarray


def room_at(flat: Flat) -> Flat:
    """Room that differs from side to side and from top to bottom; none in the middle."""
    x, z = flat.T
    room = 6.0 + 0.05 * x + 0.03 * z
    return np.where(np.abs(x) < 9, np.nan, room)


def patient(
    openings: dict[tuple[str, str], Flat], flat: Flat, room: Flat
) -> tuple[EntryMap, Anatomy]:
    """A patient with these openings and with this room at places (x, z) of the sacral frame."""
    frame = TOY.frame

    def place(x: float, z: float, y: float) -> Flat:
        return frame.to_patient((x, y, z))

    foramina = tuple(
        Foramen(level, side, place(x, z, 5.0), place(x, z, -9.0), place(x, z, 25.0), 8.0, 0.9)
        for (level, side), (x, z) in openings.items()
    )
    bent = 28.0 - flat[:, 0] ** 2 / 300.0
    vertices = frame.to_patient(np.column_stack([flat[:, 0], bent, flat[:, 1]]))
    technique = np.where(np.isnan(room), 255, 0).astype(np.uint8)
    entries = EntryMap(vertices, np.zeros((0, 3), np.int64), room, technique)
    return entries, replace(TOY, foramina=foramina)


def mapped(openings: dict[tuple[str, str], Flat], flat: Flat, room: Flat) -> AtlasMap:
    found = map_onto_mean(*patient(openings, flat, room))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def mean_map() -> AtlasMap:
    return mapped(mean_openings(), BACK, room_at(BACK))


def same(one: AtlasMap, other: AtlasMap) -> None:
    assert np.array_equal(one.covered, other.covered)
    assert np.allclose(one.clearance_mm, other.clearance_mm, atol=1e-5, equal_nan=True)


def test_the_mean_sacrum_maps_onto_itself(mean_map: AtlasMap) -> None:
    expected = np.full(len(NODES), np.nan)
    at = {tuple(node): n for n, node in enumerate(NODES.tolist())}
    where = [at[tuple(node)] for node in BACK.tolist()]
    expected[where] = room_at(BACK)
    here = np.zeros(len(NODES), bool)
    here[where] = True
    told = mean_map.clearance_mm.reshape(-1)
    assert np.array_equal(told[here], expected[here].astype(np.float32), equal_nan=True)
    # Beyond the bone there is bone as far as NEAR_MM, and no further.
    gaps = np.linalg.norm(NODES[:, None] - BACK[None], axis=-1).min(axis=1)
    assert np.array_equal(
        mean_map.covered.reshape(-1)[np.abs(gaps - NEAR_MM) > 1e-3],
        (gaps < NEAR_MM)[np.abs(gaps - NEAR_MM) > 1e-3],
    )
    assert np.isnan(mean_map.clearance_mm[~mean_map.covered]).all()


@pytest.mark.parametrize(
    "shape",
    [np.diag([0.8, 1.25]), np.array([[1.1, 0.0], [0.15, 0.9]]), np.array([[0.9, 0.2], [0.1, 1.2]])],
    ids=["stretched", "sheared upwards", "sheared both ways"],
)
def test_a_sheared_sacrum_comes_to_lie_on_the_mean_one(shape: Flat, mean_map: AtlasMap) -> None:
    # A thin-plate spline carries every affine map exactly, so nothing but rounding may differ:
    # places at the very end of the reach of the nearest vertex are left out by moving it inwards.
    openings = {name: shape @ place for name, place in mean_openings().items()}
    found = mapped(openings, BACK @ shape.T, room_at(BACK))
    inner = np.isin(NODES.view("f8,f8"), BACK.copy().view("f8,f8")).reshape(mean_map.covered.shape)
    assert inner.sum() == len(BACK)
    assert found.covered[inner].all()
    assert np.array_equal(found.clearance_mm[inner], mean_map.clearance_mm[inner], equal_nan=True)


def test_a_bent_sacrum_lands_its_openings_on_the_mean_ones() -> None:
    rng = np.random.default_rng(5)
    openings = {name: p * 0.9 + rng.uniform(-3, 3, 2) for name, p in mean_openings().items()}
    around = np.stack(np.meshgrid(*[np.arange(-3, 3.1, 0.5)] * 2), axis=-1).reshape(-1, 2)
    names = list(openings)
    flat = np.concatenate([openings[name] + around for name in names])
    room = np.repeat(np.arange(len(names)) + 1.0, len(around))
    found = mapped(openings, flat, room)
    for number, name in enumerate(names):
        x, z = mean_openings()[name]
        node = int(np.abs(X_MM - x).argmin()), int(np.abs(Z_MM - z).argmin())
        assert found.clearance_mm[node] == number + 1.0, name


def test_a_mirrored_patient_gives_the_mirrored_map() -> None:
    shift = {name: np.array([2.0, -4.0]) if name[1] == "left" else np.zeros(2) for name in MEAN}
    openings = {name: place + shift[name] for name, place in MEAN.items()}
    swap = {"left": "right", "right": "left"}
    mirrored = {(level, swap[side]): p * (-1, 1) for (level, side), p in openings.items()}
    # Off the nodes, so that no two vertices are equally near to one.
    flat = BACK + (0.3, 0.4)
    one = mapped(openings, flat, room_at(flat))
    other = mapped(mirrored, flat * (-1, 1), room_at(flat))
    same(one, AtlasMap(other.covered[::-1], other.clearance_mm[::-1]))
    left, right = X_MM > 20, X_MM < -20
    assert np.nanmean(one.clearance_mm[left]) > np.nanmean(one.clearance_mm[right]) + 1.0
    assert np.nanmean(other.clearance_mm[right]) > np.nanmean(other.clearance_mm[left]) + 1.0


MEAN = mean_openings()


@pytest.mark.parametrize(
    ("kept", "maps"),
    [
        ([("S1", "left"), ("S1", "right"), ("S2", "left"), ("S2", "right")], True),
        ([("S1", "left"), ("S1", "right"), ("S2", "left")], False),
        ([("S2", "left"), ("S2", "right")], False),
        ([(level, "left") for level in ("S1", "S2", "S3", "S4")], False),
        ([(level, "left") for level in ("S1", "S2", "S3", "S4")] + [("S1", "right")], False),
        ([("S1", "left"), ("S2", "left"), ("S2", "right"), ("S3", "right")], True),
        ([], False),
    ],
)
def test_a_warp_needs_two_levels_of_both_sides(kept: list[tuple[str, str]], maps: bool) -> None:
    found = map_onto_mean(*patient({n: MEAN[n] for n in kept}, BACK, room_at(BACK)))
    assert (found is not None) == maps


def test_a_fifth_foramen_is_no_landmark(mean_map: AtlasMap) -> None:
    fifth = MEAN | {("S5", "left"): np.array([50.0, -10.0]), ("S5", "right"): np.zeros(2)}
    same(mapped(fifth, BACK, room_at(BACK)), mean_map)


def test_a_map_without_vertices_is_none() -> None:
    nothing = np.zeros((0, 2))
    assert map_onto_mean(*patient(MEAN, nothing, np.zeros(0))) is None


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 6), st.integers(0, 10_000), st.integers(1, 3))
def test_counts_shares_and_median_are_those_of_the_stacked_maps(
    number: int, seed: int, fewest: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (number, len(X_MM), len(Z_MM))
    covered = rng.random(shape) < 0.7
    # Also what lies on limits and on borders of bins, and beyond the last bin.
    room = rng.choice([np.nan, 0.0, 2.0, 2.125, 3.0, 4.999, 5.0, 7.25, 15.0, 40.0], shape)
    room = np.where(covered, room, np.nan).astype(np.float32)
    atlas = Atlas()
    for one, values in zip(covered, room, strict=True):
        atlas.add(AtlasMap(one, values))
    assert atlas.patients == number
    count = covered.sum(axis=0)
    assert np.array_equal(atlas.covered, count)
    for limit in LIMITS_MM:
        with np.errstate(invalid="ignore"):
            share = (room >= limit).sum(axis=0) / count
        expected = np.where(count >= fewest, share, np.nan)
        assert np.array_equal(atlas.share(limit, fewest), expected, equal_nan=True)
    told = atlas.median(fewest)
    assert np.array_equal(np.isnan(told), count < fewest)
    for x, z in zip(*np.nonzero(count >= fewest), strict=True):
        known = np.sort(np.nan_to_num(room[covered[:, x, z], x, z]))
        middle = float(known[(len(known) - 1) // 2])  # the lower one of an even number
        assert told[x, z] == min(np.floor(middle * 4) / 4, 15.0)


def test_a_saved_map_is_read_as_it_was(tmp_path: Path, mean_map: AtlasMap) -> None:
    mean_map.save(tmp_path / "atlas.npz")
    again = AtlasMap.load(tmp_path / "atlas.npz")
    assert np.array_equal(again.covered, mean_map.covered)
    assert np.array_equal(again.clearance_mm, mean_map.clearance_mm, equal_nan=True)


def damages(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    middle = len(whole) // 3
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"atlas",
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) * 40 + whole[middle + 40 :],
    }


@pytest.mark.parametrize("how", ["empty", "cut", "text", "flipped"])
def test_a_damaged_map_is_counted_as_lost(tmp_path: Path, mean_map: AtlasMap, how: str) -> None:
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    mean_map.save(good)
    bad.write_bytes(damages(good)[how])
    with pytest.raises((ValueError, OSError)):
        AtlasMap.load(bad)
    atlas, lost = gather_atlas([bad, good, tmp_path / "none.npz", good])
    assert (atlas.patients, lost) == (2, 2)
    assert np.array_equal(atlas.covered, 2 * mean_map.covered)


def test_other_arrays_are_counted_as_lost(tmp_path: Path) -> None:
    shape = (len(X_MM), len(Z_MM))
    np.savez(tmp_path / "one.npz", covered=np.zeros(shape, bool))
    np.savez(tmp_path / "grid.npz", covered=np.zeros((3, 4)), clearance_mm=np.zeros((3, 4)))
    with (tmp_path / "plain.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"grid.npz has another grid, \(3, 4\)"):
        AtlasMap.load(tmp_path / "grid.npz")
    with pytest.raises(ValueError, match=r"one.npz is damaged"):
        AtlasMap.load(tmp_path / "one.npz")
    atlas, lost = gather_atlas(sorted(tmp_path.iterdir()))
    assert (atlas.patients, lost) == (0, 3)
