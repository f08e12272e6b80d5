"""A scan finds the CTs of a heap, names them by pseudonyms, and keeps who they are apart."""

from __future__ import annotations

import csv
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from planner.cohort.manifest import read_manifest
from planner.cohort.scanning import ScanReport, _years, scan
from planner.errors import ConfigurationError, OutputError, UnsuitableCtError
from planner.geometry.grid import Grid
from planner.reading import read_ct, read_identity
from tests.support.dicom_ct import PATIENT, write_ct

SLICES = 22
SECRETS = (
    "Doe",
    "Jane",
    "Roe",
    "TOY-4711",
    "TOY4711",
    "P-1234",
    "19480229",
    "20260102",
    "20240506",
)


@dataclass
class Heap:
    """A folder of DICOM, with a place for the manifest and one for the key."""

    root: Path
    template: Path

    @property
    def folder(self) -> Path:
        return self.root / "heap"

    @property
    def manifest(self) -> Path:
        return self.root / "study" / "cohort.csv"

    @property
    def key(self) -> Path:
        return self.root / "locked" / "key.csv"

    def add(
        self, place: str, series: str, keep: Iterable[int] = range(SLICES), **tags: str
    ) -> None:
        """Put a series of `keep` slices into a folder; tags: what its headers say."""
        folder = self.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        for k in keep:
            plane = pydicom.dcmread(self.template / f"{k:04d}.dcm")
            plane.SeriesInstanceUID = series
            plane.SOPInstanceUID = plane.file_meta.MediaStorageSOPInstanceUID = f"{series}.{k + 1}"
            for name, value in tags.items():
                setattr(plane, name, value)
            plane.save_as(folder / f"{series}.{k}")

    def scan(self, *, overwrite: bool = True) -> ScanReport:
        return scan(self.folder, self.manifest, self.key, overwrite=overwrite)

    def rows(self) -> list[dict[str, str]]:
        with self.key.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grid = Grid.from_axes((8, 8, SLICES), (-10, -20, 30), (2.0, 2.0, 3.0))
    values = np.random.default_rng(0).integers(-60, 90, grid.shape).astype(np.int16)
    return write_ct(values, grid, tmp_path_factory.mktemp("template") / "ct")


@pytest.fixture
def heap(tmp_path: Path, template: Path) -> Heap:
    return Heap(tmp_path, template)


ROE = {"PatientID": "P-1234", "PatientName": "Roe^Richard", "PatientSex": "M", "PatientAge": "093Y"}


def by_patient(heap: Heap) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for row in heap.rows():
        out.setdefault(row["patient_id"], []).append(f"{row['subject']} {row['session']}".strip())
    return out


def test_patients_mixed_in_one_folder(heap: Heap) -> None:
    heap.add("", "1.2.3", StudyInstanceUID="1.2")
    heap.add("", "1.3.3", StudyInstanceUID="1.3", **ROE)
    (heap.folder / "notes.txt").write_text("Jane Doe")
    report = heap.scan()
    assert report.files == 2 * SLICES
    assert report.cases == read_manifest(heap.manifest)
    assert {case.id for case in report.cases} == {"case-0001", "case-0002"}
    assert {case.ct for case in report.cases} == {heap.folder}
    cases = {case.series: case for case in report.cases}
    assert cases["1.2.3"].covariates == {"sex": "F", "age": 78.0}
    assert cases["1.3.3"].covariates == {"sex": "M", "age": 90.0}  # not 93: few are
    for case in report.cases:
        assert read_ct(case.ct, case.series).source.series_instance_uid == case.series
    assert report.skipped == ()
    assert report.notes == (
        "other files and links were passed over, such as volume files, archives and links to "
        "folders: add what is a CT to the manifest by hand",
    )
    assert by_patient(heap) == {
        "TOY-4711": [cases["1.2.3"].id],
        "P-1234": [cases["1.3.3"].id],
    }


def test_no_identifier_leaves_the_key(heap: Heap, caplog: pytest.LogCaptureFixture) -> None:
    heap.add("a/b", "1.2.3")
    heap.add("a/c", "1.3.3", StudyInstanceUID="1.3", **ROE)
    heap.add("d", "1.4.3", keep=range(5), StudyInstanceUID="1.4", PatientID="P-1235")
    (heap.folder / "Doe.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00junk")
    report = heap.scan()
    told = heap.manifest.read_text() + repr(report) + caplog.text
    assert [secret for secret in SECRETS if secret in told.replace(str(heap.root), "")] == []
    assert set(heap.manifest.read_text().splitlines()[0].replace('"', "").split(",")) == {
        *("subject", "session", "ct", "series", "anatomy", "target", "sex", "age")
    }
    key = heap.key.read_text()
    assert all(secret in key for secret in ("Doe^Jane^Toy", "TOY-4711", "Roe^Richard", "P-1234"))
    assert any("1 DICOM files cannot be read" in note for note in report.notes)
    assert sorted(case.ct.name for case in report.cases) == ["b", "c"]


def test_the_key_is_for_its_owner_alone(heap: Heap) -> None:
    heap.add("", "1.2.3")
    before = os.umask(0)
    try:
        heap.scan()
        assert stat.S_IMODE(heap.key.stat().st_mode) == 0o600
        heap.key.chmod(0o644)
        heap.scan()
        assert stat.S_IMODE(heap.key.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert [path.name for path in heap.key.parent.iterdir()] == ["key.csv"]


@pytest.mark.parametrize(
    "place",
    ["study/key.csv", "study/deep/key.csv", "heap/key.csv", "heap/a/key.csv", "link/key.csv"],
)
def test_a_key_beside_what_is_handed_on_is_refused(heap: Heap, place: str) -> None:
    heap.add("a", "1.2.3")
    heap.manifest.parent.mkdir()
    (heap.root / "link").symlink_to(heap.manifest.parent)
    with pytest.raises(ConfigurationError, match="Keep it apart"):
        scan(heap.folder, heap.manifest, heap.root / place)
    # A name in there that leads elsewhere would be replaced by the key itself.
    if place.startswith("study/key"):
        (heap.root / place).symlink_to(heap.root / "elsewhere.csv")
        with pytest.raises(ConfigurationError, match="Keep it apart"):
            scan(heap.folder, heap.manifest, heap.root / place)
    assert not list(heap.root.glob("**/*.csv")) or (heap.root / place).is_symlink()


def test_scanning_again_changes_nothing(heap: Heap) -> None:
    for k in range(6):
        heap.add(f"p{k}", f"1.{k + 2}.3", StudyInstanceUID=f"1.{k + 2}", PatientID=f"Q{k}")
    first = heap.scan()
    manifest, key = heap.manifest.read_bytes(), heap.key.read_bytes()
    again = heap.scan()
    assert again == first
    assert (heap.manifest.read_bytes(), heap.key.read_bytes()) == (manifest, key)


def test_new_patients_and_studies_are_appended(heap: Heap) -> None:
    for k in range(3):
        heap.add(f"p{k}", f"1.{k + 2}.3", StudyInstanceUID=f"1.{k + 2}", PatientID=f"Q{k}")
    heap.scan()
    before = by_patient(heap)
    shutil.rmtree(heap.folder / "p2")  # gone from the heap, kept in the key
    heap.add("p3", "1.9.3", StudyInstanceUID="1.9", PatientID="Q3")
    heap.add("p0", "1.8.3", StudyInstanceUID="1.8", PatientID="Q0", StudyDate="20200101")
    report = heap.scan()
    after = by_patient(heap)
    assert {name: rows[:1] for name, rows in after.items() if name in before} == before
    assert after["Q3"] == ["case-0004"]
    assert after["Q0"][1] == f"{before['Q0'][0]} ses-2"  # found later, though it was made before
    assert len(report.cases) == 4
    assert before["Q2"][0] not in {case.subject for case in report.cases}


def test_the_order_of_pseudonyms_follows_no_header(heap: Heap) -> None:
    for k in range(5):
        heap.add(
            "",
            f"1.{k + 2}.3",
            StudyInstanceUID=f"1.{k + 2}",
            PatientID=f"Q{k}",
            PatientName=f"A{k}",
        )
    orders = set()
    for k in range(6):
        key = heap.root / "locked" / f"key{k}.csv"
        scan(heap.folder, heap.manifest, key, overwrite=True)
        with key.open(newline="") as stream:
            rows = sorted(csv.DictReader(stream), key=lambda row: row["subject"])
        orders.add(tuple(row["patient_id"] for row in rows))
    assert len(orders) > 1  # one in 120**5 that all six salts give the same


def test_studies_of_a_patient_become_sessions(heap: Heap) -> None:
    heap.add("x", "1.4.3", StudyInstanceUID="1.4", StudyDate="20240506")
    heap.add("y", "1.2.3", StudyInstanceUID="1.2", StudyDate="20260102")
    heap.add("z", "1.3.3", StudyInstanceUID="1.3", StudyDate="20260102")
    report = heap.scan()
    assert [(case.id, case.series) for case in report.cases] == [
        ("case-0001_ses-1", "1.4.3"),
        ("case-0001_ses-2", "1.2.3"),
        ("case-0001_ses-3", "1.3.3"),
    ]


def test_the_series_that_planning_would_choose(heap: Heap) -> None:
    thick = range(0, SLICES, 2)
    heap.add("s/lung", "1.2.1", StudyInstanceUID="1.2", ConvolutionKernel="LUNG")
    heap.add("s/soft", "1.2.2", StudyInstanceUID="1.2")
    heap.add("s/few", "1.2.0", keep=thick, StudyInstanceUID="1.2")
    (case,) = heap.scan().cases
    assert (case.series, case.ct) == ("1.2.2", heap.folder / "s/soft")
    assert read_ct(heap.folder).source.series_instance_uid == "1.2.2"


def test_a_series_spread_over_folders(heap: Heap) -> None:
    heap.add("s/a", "1.2.3", keep=range(11))
    heap.add("s/b/c", "1.2.3", keep=range(11, SLICES))
    (case,) = heap.scan().cases
    assert case.ct == heap.folder / "s"
    assert read_ct(case.ct, case.series).grid.shape[2] == SLICES


def test_one_of_several_stacks_of_a_series(heap: Heap) -> None:
    """Its label must be the one that planning gives to it in the folder of the manifest."""
    heap.add("s/a", "1.2.3", keep=range(11), ConvolutionKernel="LUNG")
    heap.add("s/b", "1.2.3", keep=range(11, SLICES), ConvolutionKernel="LUNG")
    for k in range(SLICES):  # the same series, with another kernel and as other images
        source = heap.folder / ("s/a" if k < 11 else "s/b") / f"1.2.3.{k}"
        plane = pydicom.dcmread(source)
        plane.ConvolutionKernel = "B30s"
        plane.SOPInstanceUID = plane.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 100}"
        (heap.folder / "s/c").mkdir(exist_ok=True)
        plane.save_as(heap.folder / "s/c" / f"soft{k}")
    (case,) = heap.scan().cases
    assert case.ct == heap.folder / "s"
    assert case.series.startswith("1.2.3#")
    assert read_ct(case.ct, case.series).source.convolution_kernel == "B30s"


def test_what_cannot_be_planned_on_is_counted(heap: Heap) -> None:
    heap.add("good", "1.2.3")
    heap.add("short", "1.3.3", keep=range(9), StudyInstanceUID="1.3")
    heap.add("mr", "1.4.3", keep=range(3), StudyInstanceUID="1.4", Modality="MR", **ROE)
    heap.add("mr2", "1.5.3", keep=range(3), StudyInstanceUID="1.5", Modality="MR")
    gap = [k for k in range(SLICES) if k != 5]
    heap.add("gap", "1.6.3", keep=gap, StudyInstanceUID="1.6")
    heap.add("time", "1.7.3", StudyInstanceUID="1.7", TemporalPositionIdentifier="1")
    heap.add("time/2", "1.7.3", StudyInstanceUID="1.7", TemporalPositionIdentifier="2")
    for k, path in enumerate(sorted((heap.folder / "time/2").iterdir())):
        plane = pydicom.dcmread(path)
        plane.SOPInstanceUID = plane.file_meta.MediaStorageSOPInstanceUID = f"1.7.3.{k + 100}"
        plane.save_as(path)
    heap.add("cut", "1.8.3", StudyInstanceUID="1.8")
    cut = heap.folder / "cut/1.8.3.4"
    cut.write_bytes(cut.read_bytes()[:-20])
    report = heap.scan()
    assert [case.series for case in report.cases] == ["1.2.3"]
    assert [case.session for case in report.cases] == [""]  # the others are no sessions
    assert dict(report.skipped) == {
        "no CT images": 2,
        "fewer than 20 slices in every series": 1,
        "no series that can be planned on: `planner inspect` says why": 1,
        "several times or acquisitions of one place: add the series to plan on by hand": 1,
        "damaged or incomplete files": 1,
    }


def test_nothing_usable(heap: Heap) -> None:
    heap.add("", "1.2.3", keep=range(4))
    with pytest.raises(UnsuitableCtError, match="1 x fewer than 20 slices") as caught:
        heap.scan()
    assert not any(secret in str(caught.value) for secret in SECRETS)
    assert not heap.manifest.exists()
    assert not heap.key.exists()


def test_one_number_with_two_holders(heap: Heap) -> None:
    """Two hospitals number patients alike: neither issuer nor birth date may differ."""
    heap.add("a", "1.2.3", StudyInstanceUID="1.2", IssuerOfPatientID="north")
    heap.add("b", "1.3.3", StudyInstanceUID="1.3", IssuerOfPatientID="south")
    heap.add("c", "1.4.3", StudyInstanceUID="1.4", IssuerOfPatientID="south", PatientBirthDate="")
    heap.add("d", "1.5.3", StudyInstanceUID="1.5", PatientBirthDate="19500101")
    report = heap.scan()
    subjects = {case.series: case.subject for case in report.cases}
    assert len(set(subjects.values())) == 3
    assert subjects["1.3.3"] == subjects["1.4.3"]
    assert any(note.startswith("a patient ID has several holders") for note in report.notes)
    assert heap.scan() == report


def test_studies_that_name_nobody(heap: Heap) -> None:
    nobody = dict.fromkeys(PATIENT, "")
    heap.add("a", "1.2.3", StudyInstanceUID="1.2", **nobody)
    heap.add("b", "1.3.3", StudyInstanceUID="1.3", **nobody)
    named = {**nobody, "PatientName": "Doe^Jane"}
    heap.add("c", "1.4.3", StudyInstanceUID="1.4", **named)
    heap.add("d", "1.5.3", StudyInstanceUID="1.5", **named)
    report = heap.scan()
    assert len({case.subject for case in report.cases}) == 3
    assert all(case.covariates == {} for case in report.cases)
    assert any(note.startswith("2 studies name no patient") for note in report.notes)
    assert heap.scan() == report


def test_an_element_of_no_known_kind_counts_as_empty(heap: Heap) -> None:
    heap.add("a", "1.2.3")
    for path in (heap.folder / "a").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\x10\0\x10\0PN", b"\x10\0\x10\0ZN"))
    assert len(heap.scan().cases) == 1
    (row,) = heap.rows()
    assert (row["patient_name"], row["patient_id"]) == ("", "TOY-4711")
    assert "Patient" not in read_identity(heap.folder, "1.2.3")


def test_names_in_the_key_are_no_formulas(heap: Heap) -> None:
    heap.add("a", "1.2.3", StudyInstanceUID="1.2", PatientName="=HYPERLINK(A1)", PatientID="@7")
    report = heap.scan()
    (row,) = heap.rows()
    assert (row["patient_name"], row["patient_id"]) == ("'=HYPERLINK(A1)", "'@7")
    assert heap.scan() == report
    assert heap.rows() == [row]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("heap-1", False),
        ("DOE_JANE", True),
        ("scan of doe", True),
        ("x/toy-4711", True),
        ("toy4711", True),
        ("doesburg", False),
        ("scan 19480229", True),
        ("t/o/y", False),
    ],
)
def test_paths_that_name_the_patient_are_said(heap: Heap, place: str, told: bool) -> None:
    heap.add(place, "1.2.3", PatientName="Doe^Jane")
    notes = heap.scan().notes
    assert any("rename the folders" in note for note in notes) == told
    assert not any(secret.casefold() in str(notes).casefold() for secret in SECRETS)


def test_a_series_uid_that_holds_the_patient_is_said(heap: Heap) -> None:
    heap.add("a", "1.2.47110815.3", PatientID="47110815")
    assert any("UID of its series" in note for note in heap.scan().notes)


def test_a_key_in_other_hands(heap: Heap) -> None:
    """Pseudonyms may be renamed; a spreadsheet may save it, and take zeros away from a number."""
    heap.add("a", "1.2.3", StudyInstanceUID="1.2", PatientID="00123")
    heap.add("b", "1.3.3", StudyInstanceUID="1.3", PatientID="B1", PatientName="Roe")
    heap.scan()
    before = by_patient(heap)
    text = heap.key.read_text().replace(before["B1"][0], "site-7").replace('"00123"', '"123"')
    heap.key.write_text("\ufeff" + text.replace('","', '";"'), encoding="utf-8")
    heap.add("c", "1.4.3", StudyInstanceUID="1.4", PatientID="00123")
    report = heap.scan()
    assert by_patient(heap) == {
        "00123": [before["00123"][0], f"{before['00123'][0]} ses-2"],
        "B1": ["site-7"],
    }
    assert any("1 have another patient ID now and keep" in note for note in report.notes)
    assert heap.scan().cases == report.cases


def test_one_study_uid_of_two_patients(heap: Heap) -> None:
    """As careless anonymisation leaves it: the UID alone must not make one of them the other."""
    heap.add("a", "1.2.3", StudyInstanceUID="1.2")
    alone = heap.scan()
    heap.add("b", "1.3.3", StudyInstanceUID="1.2", **ROE)
    report = heap.scan()
    assert [case.id for case in report.cases] == ["case-0001", "case-0002"]
    assert report.cases[0] == alone.cases[0]
    assert any("1 seem to be of another patient" in note for note in report.notes)
    assert heap.scan().cases == report.cases
    shutil.rmtree(heap.folder / "a")
    assert heap.scan().cases == report.cases[1:]


def test_a_study_that_changed_hands_gets_a_new_pseudonym(heap: Heap) -> None:
    heap.add("a", "1.2.3", StudyInstanceUID="1.2")
    heap.scan()
    shutil.rmtree(heap.folder / "a")
    heap.add("b", "1.3.3", StudyInstanceUID="1.2", **{**ROE, "PatientBirthDate": "19500101"})
    assert [case.id for case in heap.scan().cases] == ["case-0002"]
    assert by_patient(heap) == {"TOY-4711": ["case-0001"], "P-1234": ["case-0002"]}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "subject,ct\na,b\n",
        lambda text: text.splitlines()[0] + "\n",
        lambda text: text.replace('"case-0001"', '"../up"'),
        lambda text: text + text.splitlines()[1] + "\n",
        lambda text: text.replace("salt", "pepper"),
    ],
)
def test_what_is_no_key_is_left_alone(heap: Heap, change) -> None:
    heap.add("a", "1.2.3")
    heap.scan()
    changed = change(heap.key.read_text())
    heap.key.write_text(changed)
    with pytest.raises(ConfigurationError) as caught:
        heap.scan()
    assert not any(secret in str(caught.value) for secret in SECRETS)
    assert heap.key.read_text() == changed


def test_refusals_before_anything_is_read(heap: Heap) -> None:
    heap.folder.mkdir()
    with pytest.raises(ConfigurationError, match="no folder"):
        scan(heap.root / "none", heap.manifest, heap.key)
    with pytest.raises(ConfigurationError, match=r"the manifest is written as \.csv"):
        scan(heap.folder, heap.root / "study/cohort.parquet", heap.key)
    with pytest.raises(ConfigurationError, match=r"the key is written as \.csv"):
        scan(heap.folder, heap.manifest, heap.root / "locked/key")
    with pytest.raises(UnsuitableCtError, match="is empty"):
        heap.scan()
    (heap.folder / "scan.nii.gz").write_bytes(b"x")
    with pytest.raises(UnsuitableCtError, match="holds no DICOM"):
        heap.scan()


def test_a_manifest_that_exists_is_kept(heap: Heap) -> None:
    heap.add("a", "1.2.3")
    heap.scan(overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        heap.scan(overwrite=False)


def test_a_folder_whose_name_is_no_unicode(heap: Heap) -> None:
    heap.add("good", "1.2.3")
    heap.add(os.fsdecode(b"M\xfcller"), "1.3.3", StudyInstanceUID="1.3")
    report = heap.scan()
    assert len(report.cases) == 1
    assert report.skipped == (("a folder whose name is no valid Unicode: rename it", 1),)


def test_paths_are_relative_where_the_heap_is_below_the_manifest(heap: Heap) -> None:
    heap.add("a", "1.2.3")
    key = heap.root.parent / f"{heap.root.name}-locked" / "key.csv"
    seen: list[float] = []
    report = scan(heap.folder, heap.root / "cohort.csv", key, progress=lambda _, k: seen.append(k))
    assert '"heap/a"' in (heap.root / "cohort.csv").read_text()
    assert read_manifest(heap.root / "cohort.csv") == report.cases
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("age", "born", "day", "years"),
    [
        ("078Y", "", "", 78),
        ("018M", "", "", 1),
        ("", "19480229", "20260228", 77),
        ("", "19480229", "20260301", 78),
        ("78", "19480229", "20260301", 78),
        ("", "19000101", "20260301", None),
        ("", "20270101", "20260301", None),
        ("", "1948", "20260301", None),
        ("", "", "20260301", None),
    ],
)
def test_ages(age: str, born: str, day: str, years: int | None) -> None:
    assert _years(age, born, day) == years
