from __future__ import annotations

import io
import json
from pathlib import Path

import nrrd
import numpy as np
import pytest

from planner.errors import OutputError
from planner.model.anatomy import LABELS
from planner.phantom import Phantom, files, write_phantom


def test_a_folder_holds_series_and_truth(coarse: Phantom, tmp_path: Path) -> None:
    folder = write_phantom(coarse, tmp_path / "deep" / "case")
    assert sorted(p.name for p in folder.iterdir()) == ["dicom", "truth.json", "truth.nrrd"]
    assert len(list((folder / "dicom").glob("*.dcm"))) == coarse.volume.grid.shape[2]
    labels, header = nrrd.read(str(folder / "truth.nrrd"))
    np.testing.assert_array_equal(labels, coarse.truth.labels)
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(header["space origin"], coarse.volume.grid.origin)
    np.testing.assert_allclose(
        np.array(header["space directions"]).T, coarse.volume.grid.patient_from_ijk[:3, :3]
    )
    names = {header[f"Segment{n}_Name"]: int(header[f"Segment{n}_LabelValue"]) for n in range(13)}
    assert names == {name: LABELS[name] for name in coarse.truth.structures}
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["s1_endplate"]["centre_mm"] == pytest.approx(list(coarse.truth.endplate_centre))
    assert len(truth["foramina"]) == 8
    assert truth["parameters"]["seed"] == coarse.parameters.seed


def test_the_label_map_has_no_time_stamp(coarse: Phantom) -> None:
    data = files.nrrd_bytes(coarse.truth)
    assert data == files.nrrd_bytes(coarse.truth)
    assert b"GMT" not in data.partition(b"\n\n")[0]
    header = nrrd.read_header(io.BytesIO(data))
    assert header["type"] in ("uint8", "unsigned char")


def test_a_full_folder_is_refused_unless_overwritten(coarse: Phantom, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists and is not empty") as caught:
        write_phantom(coarse, folder)
    assert caught.value.exit_status == 6
    assert [p.name for p in tmp_path.iterdir()] == ["case"]
    assert (folder / "mine.txt").read_text() == "keep"
    write_phantom(coarse, folder, overwrite=True)
    assert not (folder / "mine.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["case"]


def test_a_file_in_the_way_is_refused(coarse: Phantom, tmp_path: Path) -> None:
    (tmp_path / "case").write_text("a file")
    with pytest.raises(OutputError, match="is not a folder"):
        write_phantom(coarse, tmp_path / "case", overwrite=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("bug")])
def test_a_failure_leaves_nothing_behind_and_the_old_in_place(
    coarse: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> bytes:
        raise error

    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    monkeypatch.setattr(files, "json_bytes", fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else RuntimeError):
        write_phantom(coarse, folder, overwrite=True)
    with pytest.raises(OutputError if isinstance(error, OSError) else RuntimeError):
        write_phantom(coarse, tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["case"]
    assert (folder / "mine.txt").read_text() == "keep"


def test_a_failing_rename_brings_the_old_folder_back(
    coarse: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if Path(target) == folder and self.name != "old":
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="could not be written"):
        write_phantom(coarse, folder, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["case"]
    assert (folder / "mine.txt").read_text() == "keep"


def test_uncompressed_on_request(coarse: Phantom, tmp_path: Path) -> None:
    small = write_phantom(coarse, tmp_path / "small")
    large = write_phantom(coarse, tmp_path / "large", compress=False)
    sizes = [sum(p.stat().st_size for p in f.rglob("*.dcm")) for f in (small, large)]
    assert sizes[0] < 0.6 * sizes[1]
