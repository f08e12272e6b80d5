"""The DICOM segmentation: the same voxels at the same points of the patient, by four readers."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from planner.errors import ConfigurationError
from planner.exchange import FORMATS, Handover, Settings
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from planner.reading.labels.dicom_seg import read_segmentation_dicom
from planner.reading.labels.fit import fit_to_volume
from tests.support.dicom_tools import errors, run, tool

Voxels = dict[str, NDArray[np.float64]]

# Positions are written with 16 characters and the step is found from them.
CLOSE_MM = 1e-3


def with_labels(handover: Handover, labels: NDArray[np.uint8], grid: Grid, **settings) -> Handover:
    """The handover with another label map on another grid."""
    made = replace(handover, settings=Settings(reproducible=True, **settings))
    anatomy = replace(handover.plan.anatomy, labels=labels, grid=grid)
    made.__dict__["plan"] = replace(handover.plan, anatomy=anatomy)
    return made


def uneven(handover: Handover, mirrored: bool = False, **settings) -> Handover:
    """A small label map without any symmetry on an oblique, uneven grid."""
    axes = Rotation.from_euler("zyx", (25, -14, 9), degrees=True).as_matrix()
    if mirrored:
        axes = axes * (1, 1, -1)
    volume = handover.volume
    assert volume is not None
    frame = volume.grid.frame_of_reference_uid
    grid = Grid.from_axes((13, 11, 9), (-31.25, 12.5, 700.125), (0.7, 0.9, 1.3), axes, frame)
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:11, 1:8, 1:8] = LABELS["sacrum"]
    labels[3, 2:4, 2:4] = LABELS["foramen_s1_left"]
    labels[8:10, 5, 5] = LABELS["foramen_s2_right"]
    labels[6, 6, 2:7] = LABELS["sacral_canal"]
    labels[12, 0:5, 0] = LABELS["hip_right"]
    return with_labels(handover, labels, grid, **settings)


def written(handover: Handover, folder: Path) -> Path:
    path = folder / FORMATS["dicom-seg"].file
    FORMATS["dicom-seg"].write(handover, path)
    return path


def expected(handover: Handover) -> Voxels:
    anatomy = handover.plan.anatomy
    points = {
        name: anatomy.grid.to_patient(np.argwhere(anatomy.labels == value))
        for name, value in LABELS.items()
    }
    return {name: each for name, each in points.items() if len(each)}


def same(found: Voxels, wanted: Voxels) -> None:
    """Every voxel is found once, at its place."""
    assert set(found) == set(wanted)
    for name, points in wanted.items():
        assert len(found[name]) == len(points), name
        far, twin = cKDTree(points).query(found[name])
        assert far.max() < CLOSE_MM, name
        assert len(set(twin.tolist())) == len(points), name


def by_frames(path: Path) -> Voxels:
    """Read the file by the letter of the standard, frame by frame, bit by bit."""
    image = pydicom.dcmread(path)
    size = int(image.Rows) * int(image.Columns)
    bits = np.unpackbits(np.frombuffer(image.PixelData, np.uint8), bitorder="little")
    shared = image.SharedFunctionalGroupsSequence[0]
    spacing = [float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing]
    cosines = [float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    names = {int(item.SegmentNumber): item.SegmentLabel for item in image.SegmentSequence}
    points: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names.values()}
    for number, group in enumerate(image.PerFrameFunctionalGroupsSequence):
        plane = bits[number * size : (number + 1) * size].reshape(image.Rows, image.Columns)
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(plane)
        # PS3.3, C.7.6.2.1.1: the first cosines run along a row, over the columns.
        across = columns[:, None] * spacing[1] * np.array(cosines[:3])
        down = rows[:, None] * spacing[0] * np.array(cosines[3:])
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        points[names[int(segment)]].append(place + across + down)
    return {name: np.concatenate(each) for name, each in points.items()}


def by_own_reader(path: Path) -> Voxels:
    read = read_segmentation_dicom(path)
    return {
        name: read.grid.to_patient(np.argwhere(read.labels == LABELS[name])) for name in read.names
    }


def by_highdicom(path: Path) -> Voxels:
    image = highdicom.seg.segread(path)
    volume = image.get_volume(combine_segments=False)
    found = {}
    for number in image.segment_numbers:
        label = image.get_segment_description(number).segment_label
        index = np.argwhere(volume.array[..., number - 1])
        found[label] = volume.map_indices_to_reference(index)
    return found


def by_dcmqi(path: Path) -> Voxels:
    """Read it with dcmqi (C++, on dcmtk and ITK), which shares no code with what wrote it."""
    tool("segimage2itkimage")
    folder = path.parent / "dcmqi"
    folder.mkdir()
    told = run("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd")
    about = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    found = {}
    for group in about["segmentAttributes"]:
        for item in group:
            image = sitk.ReadImage(str(folder / f"{item['labelID']}.nrrd"))
            index = np.argwhere(sitk.GetArrayFromImage(image) != 0)[:, ::-1]
            direction = np.array(image.GetDirection()).reshape(3, 3)
            found[item["SegmentLabel"]] = (index * image.GetSpacing()) @ direction.T + np.array(
                image.GetOrigin()
            )
    assert found, told
    return found


READERS = [by_frames, by_own_reader, by_highdicom, by_dcmqi]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("mirrored", [False, True], ids=["right-handed", "left-handed"])
@pytest.mark.parametrize("multiple", [1, 8])
def test_an_oblique_map_stays_where_it_is(
    handover: Handover, tmp_path: Path, read, mirrored: bool, multiple: int
) -> None:
    made = uneven(handover, mirrored, multiple_of=multiple)
    path = written(made, tmp_path)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    assert (header.Columns, header.Rows) == ((13, 11) if multiple == 1 else (16, 16))
    same(read(path), expected(made))


@pytest.mark.parametrize("read", READERS)
def test_the_plan_s_own_map_stays_where_it_is(handover: Handover, tmp_path: Path, read) -> None:
    same(read(written(handover, tmp_path)), expected(handover))


def test_the_reader_of_label_maps_takes_it_as_that_of_the_ct(
    handover: Handover, tmp_path: Path
) -> None:
    volume = handover.volume
    assert volume is not None
    read = fit_to_volume(read_segmentation_dicom(written(handover, tmp_path)), volume)
    assert read.grid.frame_of_reference_uid == volume.grid.frame_of_reference_uid
    assert read.warnings == ()


@pytest.mark.parametrize("make", [lambda handover: handover, uneven], ids=["plan", "oblique"])
def test_dciodvfy_finds_no_error(handover: Handover, tmp_path: Path, make) -> None:
    assert errors(written(make(handover), tmp_path)) == []


def test_it_belongs_to_the_study_and_says_what_it_is(handover: Handover, tmp_path: Path) -> None:
    made, source = pydicom.dcmread(written(handover, tmp_path)), handover.headers[0]
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "AccessionNumber"):
        assert made[keyword].value == source[keyword].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SegmentationType == "BINARY"
    assert "not for clinical use" in made.SeriesDescription
    assert "not for clinical use" in made.ContentDescription
    assert made.ContentDate + made.ContentTime == handover.moment.strftime("%Y%m%d%H%M%S")
    assert made.ContentDate == made.SeriesDate == made.InstanceCreationDate
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert named == {item.SOPInstanceUID for item in handover.headers}
    group = made.PerFrameFunctionalGroupsSequence[0]
    (image,) = group.DerivationImageSequence[0].SourceImageSequence
    under = next(h for h in handover.headers if h.SOPInstanceUID == image.ReferencedSOPInstanceUID)
    place = group.PlanePositionSequence[0].ImagePositionPatient
    assert [float(x) for x in under.ImagePositionPatient] == [float(x) for x in place]


def test_segments_are_coded_with_their_side_and_coloured(
    handover: Handover, tmp_path: Path
) -> None:
    made = pydicom.dcmread(written(uneven(handover), tmp_path))
    parts = {item.SegmentLabel: item for item in made.SegmentSequence}
    assert [item.SegmentNumber for item in made.SegmentSequence] == [1, 2, 3, 4, 5]
    for name, value, scheme, side in (
        ("sacrum", "54735007", "SCT", ""),
        ("foramen_s1_left", "foramen_s1", "99PLANNER", "Left"),
        ("foramen_s2_right", "foramen_s2", "99PLANNER", "Right"),
        ("hip_right", "29836001", "SCT", "Right"),
    ):
        (kind,) = parts[name].SegmentedPropertyTypeCodeSequence
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (value, scheme)
        sides = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [item.CodeMeaning for item in sides] == ([side] if side else [])
    (region,) = parts["foramen_s1_left"].AnatomicRegionSequence
    assert region.CodeValue == "54735007"
    # Okabe and Ito's green, (0, 158, 115): L* 57.9, a* -43.1, b* 15.1 under D65.
    light = parts["sacrum"].RecommendedDisplayCIELabValue
    assert light[0] / 65535 * 100 == pytest.approx(57.9, abs=1.5)
    assert light[1] / 65535 * 255 - 128 == pytest.approx(-43, abs=4)
    method = parts["sacrum"].SegmentationAlgorithmIdentificationSequence[0]
    assert method.AlgorithmVersion == handover.document.provenance.version


def test_the_same_plan_gives_the_same_bytes(handover: Handover, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = written(handover, tmp_path), written(handover, tmp_path / "again")
    assert first.read_bytes() == again.read_bytes()
    free = replace(handover, settings=Settings())
    free.__dict__["plan"] = handover.plan
    other = written(free, tmp_path / "again")
    uids = [pydicom.dcmread(each).SOPInstanceUID for each in (first, other)]
    assert uids[0] != uids[1]


def test_other_voxels_are_another_instance(handover: Handover, tmp_path: Path) -> None:
    uids = set()
    for multiple in (1, 8):
        path = written(uneven(handover, multiple_of=multiple), tmp_path)
        uids.add(pydicom.dcmread(path).SOPInstanceUID)
    assert len(uids) == 2


def test_what_cannot_be_placed_is_refused(handover: Handover, tmp_path: Path) -> None:
    headers = copy.deepcopy(handover.headers)
    for header in headers:
        del header.FrameOfReferenceUID
    lost = replace(handover, headers=headers)
    with pytest.raises(ConfigurationError, match="with a frame of reference"):
        written(lost, tmp_path)
    anatomy = handover.plan.anatomy
    grid = Grid(anatomy.grid.shape, anatomy.grid.patient_from_ijk, "1.2.3")
    with pytest.raises(ConfigurationError, match=r"1\.2\.3"):
        written(with_labels(handover, anatomy.labels, grid), tmp_path)
    skew = anatomy.grid.patient_from_ijk.copy()
    skew[:3, 2] += 9e-4 * skew[:3, 0] / anatomy.grid.spacing_mm[0] * anatomy.grid.spacing_mm[2]
    with pytest.raises(ConfigurationError, match="right angles"):
        written(with_labels(handover, anatomy.labels, Grid(grid.shape, skew)), tmp_path)


def with_headers(handover: Handover, change) -> Handover:
    """The handover with every header changed."""
    headers = copy.deepcopy(handover.headers)
    for k, header in enumerate(headers):
        change(k, header)
    made = replace(handover, headers=headers)
    made.__dict__["plan"] = handover.plan
    return made


def test_a_tilted_ct_is_referred_to_but_not_taken_for_the_same_lattice(
    handover: Handover, tmp_path: Path
) -> None:
    def tilt(k: int, header: Dataset) -> None:
        x, y, z = map(float, header.ImagePositionPatient)
        header.ImagePositionPatient = [x, y + 0.4 * k, z]

    made = with_headers(handover, tilt)
    path = written(made, tmp_path)
    same(by_frames(path), expected(handover))
    image = pydicom.dcmread(path)
    for group in image.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert source.SpatialLocationsPreserved == "NO"
        under = next(h for h in made.headers if h.SOPInstanceUID == source.ReferencedSOPInstanceUID)
        place = group.PlanePositionSequence[0].ImagePositionPatient
        assert float(under.ImagePositionPatient[2]) == pytest.approx(float(place[2]), abs=1e-3)


def test_odd_values_of_the_patient_are_no_obstacle(handover: Handover, tmp_path: Path) -> None:
    def spoil(k: int, header: Dataset) -> None:
        header.PatientSex, header.PatientBirthDate = "W", "1948"
        header.SpecificCharacterSet = "ISO_IR 100"
        header.PatientName = "M\xfcller^J\xf6rg"
        del header.AccessionNumber

    made = pydicom.dcmread(written(with_headers(handover, spoil), tmp_path))
    assert (made.PatientSex, made.PatientBirthDate) == ("W", "1948")
    assert str(made.PatientName) == "M\xfcller^J\xf6rg"
    assert made["AccessionNumber"].is_empty


def test_a_multi_frame_ct_is_referred_to_by_frame(handover: Handover, tmp_path: Path) -> None:
    header = enhanced(handover)
    made = replace(handover, headers=(header,))
    made.__dict__["plan"] = handover.plan
    path = written(made, tmp_path)
    same(by_frames(path), expected(handover))
    assert errors(path) == []
    image = pydicom.dcmread(path)
    for group in image.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == header.SOPInstanceUID
        frame = header.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert group.PlanePositionSequence[0].ImagePositionPatient == place


def enhanced(handover: Handover) -> Dataset:
    """The header of the CT as one enhanced multi-frame image."""
    made = copy.deepcopy(handover.headers[0])
    made.SOPClassUID = pydicom.uid.EnhancedCTImageStorage
    made.NumberOfFrames = len(handover.headers)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = made.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = made.PixelSpacing, made.SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for header in reversed(handover.headers):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = header.ImagePositionPatient
        group.PlanePositionSequence = [place]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
        del made[keyword]
    del made.SliceThickness
    return made
