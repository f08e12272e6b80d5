"""A CT on a server, planned on there and back: find, plan, export, send, fetch, compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from typer.testing import CliRunner

pytest.importorskip("pynetdicom")
pytest.importorskip("dicomweb_client")
pytest.importorskip("weasyprint")

from planner.cli import app
from planner.pacs import dicom_files
from tests.pacs.test_orthanc import write_servers
from tests.support.dicom_tools import errors
from tests.support.orthanc import Orthanc

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
FORMATS = ("dicom-seg", "dicom-sr", "dicom-pdf", "dicom-sc", "dicom-rtstruct")
MODALITIES = {"SEG", "SR", "DOC", "OT", "RTSTRUCT"}


def run(*words: str | Path) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    made = Orthanc(tmp_path_factory.mktemp("server"))
    yield made
    made.kill()


@pytest.mark.timeout(1500)
def test_the_whole_way(server: Orthanc, small_ct: Path, tmp_path: Path) -> None:
    servers = write_servers(tmp_path / "servers.toml", server.kinds)
    where = ("--servers", servers)
    images = list(SAMPLE.rglob("*.dcm"))
    run("pacs", "send", "web", *images, small_ct, *where)

    found = json.loads(run("pacs", "find", "get", *where, "--json").stdout)
    assert len(found) == 2
    first = pydicom.dcmread(images[0], stop_before_pixels=True)
    (study,) = [item["uid"] for item in found if item["uid"] == first.StudyInstanceUID]
    (series,) = json.loads(run("pacs", "find", "web", "--study", study, "--json", *where).stdout)
    assert (series["modality"], int(series["instances"])) == ("CT", len(images))

    plan = tmp_path / "plan"
    done = run("plan", f"pacs://get/{study}/{series['uid']}", "-o", plan, *where, "--top", "1")
    assert "Ranked needle paths" in done.output
    ct = tmp_path / "plan-ct"
    for image in images:
        uid = pydicom.dcmread(image, stop_before_pixels=True).SOPInstanceUID
        assert pydicom.dcmread(ct / f"{uid}.dcm") == pydicom.dcmread(image)

    chosen = [word for name in FORMATS for word in ("-f", name)]
    run("export", plan, "--ct", ct, *chosen)
    sent = run("pacs", "send", "get", plan / "export", *where)
    assert "read back" in sent.output and "changed" not in sent.output

    listed = json.loads(run("pacs", "find", "get", "--study", study, "--json", *where).stdout)
    assert {item["modality"] for item in listed} == MODALITIES | {"CT"}
    ours = {each.uid: each.path for each in dicom_files([plan / "export"])}
    seen = set()
    for number, item in enumerate(item for item in listed if item["modality"] != "CT"):
        kind = ("get", "web", "move")[number % 3]
        back = tmp_path / f"back-{number}"
        run("pacs", "fetch", kind, study, item["uid"], "-o", back, *where)
        for path in back.glob("*.dcm"):
            theirs = pydicom.dcmread(path)
            assert theirs == pydicom.dcmread(ours[theirs.SOPInstanceUID])
            assert theirs.StudyInstanceUID == study and theirs.PatientID == first.PatientID
            seen.add(theirs.SOPInstanceUID)
            assert errors(path) == []
    assert seen == set(ours)
    pdf = [pydicom.dcmread(path) for path in ours.values() if "pdf" in path.name]
    assert bytes(pdf[0].EncapsulatedDocument).startswith(b"%PDF")
