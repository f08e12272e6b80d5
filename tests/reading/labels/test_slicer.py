from pathlib import Path

import nrrd
import numpy as np
import pytest
from export.toy import awkward_grids, toy_frame, toy_labels

from planner.errors import UnsuitableCtError
from planner.export.segmentation_nrrd import write_segmentation
from planner.model.anatomy import LABELS
from planner.reading.labels import read_labels
from reading.labels.files import header_for

GRIDS = awkward_grids()


def test_names_decide_not_the_order_of_values(tmp_path: Path) -> None:
    grid = GRIDS["left_handed"]
    labels = toy_labels(grid, toy_frame())
    names = {name: 250 - value for name, value in LABELS.items() if (labels == value).any()}
    values = np.zeros(labels.shape, np.uint8)
    for name, value in names.items():
        values[labels == LABELS[name]] = value
    names = dict(sorted(names.items(), key=lambda item: -item[1])) | {"Screw": 7}
    values[0, 0, 0] = 7
    path = tmp_path / "own.seg.nrrd"
    nrrd.write(str(path), values, header_for(grid, names))
    found = read_labels(path)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.source == "provided"


def test_ras_and_layers_are_understood(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    layers = np.zeros((2, *grid.shape), np.uint8)
    layers[0][labels == LABELS["sacrum"]] = 1
    layers[1][labels == LABELS["sacral_canal"]] = 1
    flip = np.diag([-1.0, -1.0, 1.0])
    header = header_for(grid, {"sacrum": 1, "sacral_canal": 1}, "right-anterior-superior")
    header["space directions"] = np.vstack(
        [np.full(3, np.nan), (flip @ grid.patient_from_ijk[:3, :3]).T]
    )
    header["space origin"] = flip @ grid.origin
    header["kinds"] = ["list", "domain", "domain", "domain"]
    header["Segment1_Layer"] = "1"
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, header)
    found = read_labels(tmp_path / "a.seg.nrrd")
    np.testing.assert_allclose(found.grid.patient_from_ijk, grid.patient_from_ijk, atol=1e-9)
    np.testing.assert_array_equal(found.labels == 2, labels == LABELS["sacral_canal"])


TERMS = (
    "Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type - 3D Slicer "
    "General Anatomy list~SCT^123037004^Anatomical Structure~{kind}~{side}~Anatomic codes - DICOM "
    "master list~^^~^^|"
)
HIP, SACRUM, S1 = "SCT^29836001^Hip", "SCT^54735007^Sacrum", "SCT^65985001^S1 vertebra"
LEFT, NONE = "SCT^7771000^Left", "^^"


def test_names_that_people_write_are_understood(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    names = {
        "Left hip bone": "hip_left",
        "hip (right)": "hip_right",
        "Sacrum bone": "sacrum",
        "S1 vertebra": "sacrum",
        "Sacral canal": "sacral_canal",
        "left S2 foramen": "foramen_s2_left",
        "Implant": None,
        "hip muscle left": None,
        "S1 nerve root": None,
        "Left hip joint": None,
    }
    values = np.zeros(labels.shape, np.uint8)
    for value, known in enumerate(names.values(), start=1):
        if known is not None:
            values[labels == LABELS[known]] = value
    whole = np.argwhere(values == 4)
    values[tuple(whole[: len(whole) // 2].T)] = 3
    header = header_for(grid, {name: n for n, name in enumerate(names, start=1)})
    nrrd.write(str(tmp_path / "a.seg.nrrd"), values, header)
    found = read_labels(tmp_path / "a.seg.nrrd")
    for known in set(names.values()) - {None}:
        np.testing.assert_array_equal(found.labels == LABELS[known], labels == LABELS[known])
    assert any(
        text.endswith(
            "planned with: 'Implant', 'hip muscle left', 'S1 nerve root', 'Left hip joint'."
        )
        for text in found.warnings
    )


def one_segment(tmp_path: Path, keys: dict[str, str], extra: dict[str, str] | None = None) -> Path:
    """A file of a sacrum and one more segment; keys: of that one, without its number."""
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    values = np.where(labels == 1, 1, np.where(labels == LABELS["hip_left"], 2, 0))
    header = header_for(grid, {"sacrum": 1, "x": 2}) | (extra or {})
    for name in ("Name", "ID", "Tags"):
        header.pop(f"Segment1_{name}", None)
    header |= {f"Segment1_{name}": text for name, text in keys.items()}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), values.astype(np.uint8), header)
    return tmp_path / "a.seg.nrrd"


@pytest.mark.parametrize(
    "keys",
    [
        {"Name": "Segment_2", "ID": "hip_left"},
        {"Name": "Huefte", "ID": "Segment_2", "Tags": TERMS.format(kind=HIP, side=LEFT)},
        {"ID": "left hip", "Tags": TERMS.format(kind=HIP, side=NONE)},
    ],
)
def test_identifier_and_terminology_tell_what_a_name_does_not(tmp_path: Path, keys: dict) -> None:
    assert read_labels(one_segment(tmp_path, keys)).names == {"sacrum", "hip_left"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"Name": "hip_left", "Tags": TERMS.format(kind=SACRUM, side=NONE)}, "contradict"),
        ({"Name": "Huefte", "Tags": TERMS.format(kind=HIP, side=NONE)}, "'Huefte' speaks of S1"),
        ({"Name": "both hips"}, "'both hips' speaks of S1 or of a hip"),
        ({"Name": "S1 vertebral body"}, "'S1 vertebral body' speaks of S1"),
    ],
)
def test_what_speaks_of_s1_or_a_hip_is_not_passed_over(
    tmp_path: Path, keys: dict, words: str
) -> None:
    with pytest.raises(UnsuitableCtError, match=words):
        read_labels(one_segment(tmp_path, keys))


def test_segments_behind_a_gap_in_their_numbers_are_read(tmp_path: Path) -> None:
    path = one_segment(tmp_path, {}, {"Segment4_Name": "hip_left", "Segment4_LabelValue": "2"})
    assert read_labels(path).names == {"sacrum", "hip_left"}


def test_layers_of_older_files_go_by_the_number_of_the_segment(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    labels = toy_labels(grid, toy_frame())
    layers = np.stack([labels == 1, labels == LABELS["hip_left"]]).astype(np.uint8)
    header = header_for(grid, {"sacrum": 1, "hip_left": 1})
    header["space directions"] = np.vstack([np.full(3, np.nan), header["space directions"]])
    header["kinds"] = ["list", "domain", "domain", "domain"]
    for key in [key for key in header if key.endswith("_Layer")]:
        del header[key]
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, header)
    found = read_labels(tmp_path / "a.seg.nrrd")
    hips = labels == LABELS["hip_left"]
    np.testing.assert_array_equal(found.labels == LABELS["hip_left"], hips)


def test_sheared_grids_are_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    header = header_for(grid, {"sacrum": 1})
    rows = np.array(header["space directions"])
    rows[2] += 0.4 * rows[1]
    header["space directions"] = rows
    nrrd.write(str(tmp_path / "a.seg.nrrd"), np.ones(grid.shape, np.uint8), header)
    with pytest.raises(UnsuitableCtError, match="axes of a grid must be orthogonal"):
        read_labels(tmp_path / "a.seg.nrrd")


def test_files_that_are_not_label_maps_are_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    with pytest.raises(UnsuitableCtError, match="does not exist"):
        read_labels(tmp_path / "absent.seg.nrrd")
    (tmp_path / "a.stl").write_text("solid", encoding="utf-8")
    with pytest.raises(UnsuitableCtError, match="of no known kind"):
        read_labels(tmp_path / "a.stl")
    for name in ("a.seg.nrrd", "a.nii.gz"):
        (tmp_path / name).write_bytes(b"rubbish")
        with pytest.raises(UnsuitableCtError, match="cannot be read as"):
            read_labels(tmp_path / name)
    nrrd.write(str(tmp_path / "b.seg.nrrd"), np.ones((2, 2, 2), np.uint8), {})
    with pytest.raises(UnsuitableCtError, match="does not say where it lies"):
        read_labels(tmp_path / "b.seg.nrrd")
    header = header_for(grid, {"bone": 1})
    nrrd.write(str(tmp_path / "c.seg.nrrd"), np.ones(grid.shape, np.uint8), header)
    with pytest.raises(UnsuitableCtError, match="no voxel of a segment named sacrum"):
        read_labels(tmp_path / "c.seg.nrrd")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    grid = GRIDS["oblique"]
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(toy_labels(grid, toy_frame()), grid, path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnsuitableCtError, match="cannot be read: it breaks off"):
        read_labels(path)
