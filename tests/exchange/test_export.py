"""The frame of all formats: what is chosen, refused, left out and left alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner.cli import app
from planner.errors import ConfigurationError, OutputError
from planner.exchange import FORMATS, Handover, Settings, export_plan


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_the_figures_of_the_plan(folder: Path) -> None:
    written, said = export_plan(folder, ["csv"])
    assert written == [folder / "export" / "trajectories.csv"]
    assert said == []
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    found = rows(written[0])
    assert len(found) == len(plan["trajectories"])
    for row, item in zip(found, plan["trajectories"], strict=True):
        tip = [float(row[f"tip_{axis}_lps_mm"]) for axis in "xyz"]
        assert tip == item["tip_mm"]
        assert row["skin_in_view"] == "0"
        assert row["skin_entry_x_lps_mm"] == row["skin_to_tip_mm"] == ""
        assert float(row["clearance_canal_mm"]) == item["clearance"]["canal"]["distance_mm"]
        assert float(row["breach_probability_any"]) == item["breach_probability"]["any"]
        assert row["nearest_foramen"] == item["clearance"]["foramina"]["structure"]
        assert "not a medical device" in row["disclaimer"]
    assert all(None not in row and None not in row.values() for row in found)


def test_rejected_paths_stay_in_the_house(reviewed: Path) -> None:
    written, said = export_plan(reviewed, ["csv", "json"])
    plan = json.loads((reviewed / "plan.json").read_text(encoding="utf-8"))
    names = [item["id"] for item in plan["trajectories"]]
    assert [row["id"] for row in rows(written[0])] == [names[0], *names[2:]]
    assert said == [f"left out of all but json and report, as a reviewer rejected them: {names[1]}"]
    copy = json.loads(written[1].read_text(encoding="utf-8"))
    assert copy["trajectories"][1]["review"]["verdict"] == "rejected"


@pytest.mark.parametrize(("names", "says"), [(["dicom"], "no format 'dicom'"), ([], "no format")])
def test_unknown_formats_are_refused(folder: Path, names: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        export_plan(folder, names)
    assert not (folder / "export").exists()


def test_nothing_is_replaced_unasked_and_other_files_stay(folder: Path) -> None:
    export_plan(folder, ["csv"])
    mine = folder / "export" / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    first = folder / "export" / "trajectories.csv"
    first.write_text("changed", encoding="utf-8")
    with pytest.raises(OutputError, match=r"trajectories\.csv already"):
        export_plan(folder, ["csv", "json"])
    assert first.read_text(encoding="utf-8") == "changed"
    assert not (folder / "export" / "plan.json").exists()
    export_plan(folder, ["json"])
    assert first.read_text(encoding="utf-8") == "changed"
    export_plan(folder, ["csv", "json"], overwrite=True)
    assert first.read_text(encoding="utf-8") != "changed"
    assert mine.read_text(encoding="utf-8") == "mine"


def test_uids_are_new_each_time_unless_asked_otherwise(folder: Path) -> None:
    free = Handover.of(folder, None, Settings())
    assert free.uid("a") != free.uid("a")
    fixed = [Handover.of(folder, None, Settings(reproducible=True)) for _ in range(2)]
    assert fixed[0].uid("a", "b") == fixed[1].uid("a", "b") != fixed[0].uid("a", "c")
    assert fixed[0].moment == fixed[1].moment


def test_all_leaves_out_what_cannot_be_written_and_says_so(folder: Path) -> None:
    written, said = export_plan(folder, ["all"])
    free = [item.file for item in FORMATS.values() if not item.needs and not item.extra[0]]
    assert {path.name for path in written} >= set(free)
    bound = [name for name, item in FORMATS.items() if item.needs]
    assert [name for name in bound if not any(line.startswith(f"{name} ") for line in said)] == []


def test_the_command_tells_where_and_refuses_in_one_paragraph(folder: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(folder), "--format", "csv"])
    assert result.exit_code == 0, result.output
    assert "trajectories.csv" in result.output
    again = CliRunner().invoke(app, ["export", str(folder), "--format", "csv"])
    assert again.exit_code == 6
    wrong = CliRunner().invoke(
        app, ["export", str(folder), "--format", "csv", "--multiple-of", "0"]
    )
    assert wrong.exit_code == 2


def test_headers_come_in_the_order_of_the_grid(handover: Handover) -> None:
    volume = handover.volume
    assert volume is not None
    assert len(handover.headers) == volume.grid.shape[2]
    for k in (0, 5, len(handover.headers) - 1):
        place = [float(x) for x in handover.headers[k].ImagePositionPatient]
        assert place == pytest.approx(volume.grid.to_patient((0, 0, k)), abs=1e-4)
    assert "PixelData" not in handover.headers[0]


def test_what_others_put_into_a_folder_is_never_replaced(folder: Path) -> None:
    export_plan(folder, ["nifti"])
    export_plan(folder, ["nifti"], overwrite=True)  # what it wrote itself it may replace
    mine = folder / "export" / "nifti" / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"1 files that no export wrote, such as mine\.txt"):
        export_plan(folder, ["nifti"], overwrite=True)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_nothing_is_written_among_the_images_or_over_the_plan(
    dicom_plan: tuple[Path, Path], folder: Path
) -> None:
    plan, ct = dicom_plan
    with pytest.raises(OutputError, match="inside the CT's folder"):
        export_plan(plan, ["csv"], ct=ct, output=ct / "export")
    before = (folder / "plan.json").read_bytes()
    with pytest.raises(OutputError, match="is the plan folder itself"):
        export_plan(folder, ["json"], output=folder, overwrite=True)
    assert (folder / "plan.json").read_bytes() == before


def test_all_goes_on_where_one_format_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handover: Handover, path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("half", encoding="utf-8")
        raise ConfigurationError("the grid is askew.")

    monkeypatch.setattr("planner.exchange.nifti.nifti", refuse)
    monkeypatch.setattr("planner.exchange.pages.report", lambda _, path: path.write_text("x"))
    written, said = export_plan(folder, ["all"])
    assert "nifti was left out: the grid is askew." in said
    assert not (folder / "export" / "nifti").exists()
    assert (folder / "export" / "trajectories.csv") in written
    with pytest.raises(ConfigurationError, match="askew"):
        export_plan(folder, ["nifti"])
