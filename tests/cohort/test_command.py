"""`planner cohort`, as it is typed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("distributed")

from planner.cli import app
from planner.cli import cohort as command
from planner.cohort.tables import read_table
from planner.cohort.virtual import case_of, population


def typed(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["cohort", *map(str, words)])


@pytest.fixture
def tree(ct: tuple[Path, Path], tmp_path: Path) -> Path:
    """Two subjects as folders, of whom one has no CT that can be read."""
    good = tmp_path / "study" / "sub-01"
    (good / "ct").mkdir(parents=True)
    shutil.copy(ct[0], good / "ct" / "ct.nrrd")
    shutil.copy(ct[1], good / "anatomy.seg.nrrd")
    bad = tmp_path / "study" / "sub-02" / "ct"
    bad.mkdir(parents=True)
    (bad / "ct.nrrd").write_bytes(b"NRRD0004\n")
    return tmp_path / "study"


def test_run_and_summarize_a_folder(tree: Path, serial: list[str], tmp_path: Path) -> None:
    done = typed("run", tree, "-o", tmp_path / "out", "--needle", "13G")
    assert done.exit_code == 0, done.output
    assert "2 cases: planned 1, unsuitable ct 1; 2 computed now" in done.output
    assert set(read_table(tmp_path / "out", "trajectories")["needle_gauge"]) == {"13G"}
    told = typed("summarize", tmp_path / "out")
    assert told.exit_code == 0 and "summary.html" in told.output
    text = (tmp_path / "out" / "summary.html").read_text(encoding="utf-8")
    assert "not a medical device" in text and "sub-02" in text
    quiet = typed("run", tree, "-o", tmp_path / "out", "--needle", "13G", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "") and len(serial) == 2


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("run", "absent.csv"), 2, "absent.csv"),
        (("run", "STUDY", "--needle", "12G"), 2, "12G"),
        (("summarize", "STUDY"), 6, "no cohort's folder"),
    ],
)
def test_refusals_have_their_exit_status(
    tree: Path, tmp_path: Path, words: tuple[str, ...], status: int, says: str
) -> None:
    given = [str(tree) if word == "STUDY" else word for word in words]
    more = ("-o", tmp_path / "out") if words[0] == "run" else ()
    done = typed(*given, *more)
    assert done.exit_code == status and says in done.output, done.output
    assert not (tmp_path / "out" / "tables").exists()


def test_the_missing_extra_is_named(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "NEEDED", ("pandas", "no_such_library"))
    done = typed("run", tree, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "no_such_library" in done.output and "planner[cohort]" in done.output


def test_a_larger_virtual_cohort_begins_with_the_smaller_one() -> None:
    few, many = population(3, seed=4), population(6, seed=4)
    assert few == many[:3] and len({each.digest for each in many}) == 6
    assert population(1, seed=5)[0] != few[0]
    cases = [case_of(each, index) for index, each in enumerate(many, start=1)]
    assert [c.covariates["sex"] for c in cases] == ["F", "M"] * 3
    for parameters in many:
        parameters.validate()
        assert parameters.slice_spacing_mm == parameters.slice_thickness_mm


@pytest.mark.slow
def test_a_virtual_cohort_tells_how_right_it_was(tmp_path: Path) -> None:
    done = typed("simulate", "--n", "3", "--seed", "7", "-o", tmp_path, "--quiet")
    assert done.exit_code == 0, done.output
    cases = read_table(tmp_path, "cases")
    assert list(cases["outcome"]) == ["planned"] * 3
    foramina = read_table(tmp_path, "true_foramina")
    assert not foramina["swapped"].any()
    # The fifth pair, which one of the three has, is beyond the segmentation.
    foramina = foramina[foramina["level"] != "S5"]
    assert len(foramina) == 24 and foramina["found"].all()
    assert foramina["centre_error_mm"].quantile(0.95) < 2.0
    paths = read_table(tmp_path, "true_trajectories")
    assert len(paths) == len(read_table(tmp_path, "trajectories")) > 20
    assert paths["over_claim_foramina_mm"].quantile(0.95) < 1.0
    assert abs(paths["predicted_breach"].mean() - paths["true_breach"].mean()) < 0.05
    assert typed("summarize", tmp_path).exit_code == 0
    assert "Against the truth" in (tmp_path / "summary.html").read_text(encoding="utf-8")
