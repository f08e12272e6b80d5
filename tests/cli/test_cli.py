import json
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from export.toy import toy_anatomy, toy_ranked, toy_volume
from support.totalsegmentator import install
from typer.testing import CliRunner

from planner.cli import app
from planner.errors import UnsuitableCtError
from planner.export.disclaimer import DISCLAIMER
from planner.export.plan_json import read_plan
from planner.export.segmentation_nrrd import read_segmentation
from planner.model.anatomy import LABELS
from planner.model.volume import Volume
from planner.pipeline import bones
from planner.pipeline import plan as planning
from planner.scoring import find_pairs, guide
from planner.segmentation import Segmentation


@dataclass
class Stages:
    """Fakes of the stages; a test changes what they give."""

    volume: Volume = field(default_factory=toy_volume)
    anatomy: object = field(default_factory=toy_anatomy)
    ranked: tuple = field(default_factory=toy_ranked)
    rejections: dict = field(default_factory=lambda: {"foramina": 7, "skin_to_tip": 0})
    calls: list = field(default_factory=list)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    fakes = Stages()

    def read_ct(path, series=None, progress=None):
        fakes.calls.append(("read", series))
        return fakes.volume

    def segment(volume, progress=None):
        fakes.calls.append("segment")
        anatomy = fakes.anatomy
        return Segmentation(anatomy.labels, anatomy.grid, dict(anatomy.confidences))

    def score(trajectories, *rest):
        return SimpleNamespace(accepted=fakes.ranked, rejections=fakes.rejections)

    reading = SimpleNamespace(read_ct=read_ct)
    monkeypatch.setattr(planning, "reading", reading)
    monkeypatch.setattr("planner.reading.read_ct", read_ct)
    monkeypatch.setattr(bones, "segmentation", SimpleNamespace(segment=segment))
    monkeypatch.setattr("planner.segmentation.segment", segment, raising=False)
    monkeypatch.setattr(bones, "judge", lambda anatomy, volume, evidence: anatomy)
    monkeypatch.setattr(
        bones,
        "anatomy_stage",
        SimpleNamespace(derive_anatomy=lambda labels, grid, **words: fakes.anatomy),
    )
    monkeypatch.setattr(
        planning,
        "candidates",
        SimpleNamespace(
            propose=lambda *words: [item.trajectory for item in toy_ranked()],
            entry_map=lambda *words: None,
        ),
    )
    monkeypatch.setattr(
        planning,
        "scoring",
        SimpleNamespace(
            score=score,
            rank=lambda scored, configuration: scored.accepted,
            feasibility=lambda accepted, configuration: (),
            find_pairs=find_pairs,
            guide=guide,
        ),
    )
    return fakes


@pytest.fixture(autouse=True)
def quick_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(plan, volume, path: Path, progress=None, document=None) -> None:
        path.write_bytes(b"picture")

    monkeypatch.setattr("planner.export.plan_folder.write_overview", draw)
    monkeypatch.setattr("planner.export.plan_folder.report.write_report", draw)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def one_paragraph(result) -> str:
    """A refusal: one line on stderr, nothing on stdout, no traceback."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def test_planned(stages: Stages, tmp_path: Path) -> None:
    result = run("plan", tmp_path / "ct", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["anatomy.seg.nrrd", "overview.png", "plan.json", "report.html"]
    assert DISCLAIMER in result.stdout
    assert "warning: The table is in the picture." in result.stdout
    assert "short_axis" in result.stdout
    assert result.stderr == ""
    document = read_plan(tmp_path / "out")
    stages = {"read", "anatomy", "findings", "candidates", "score", "rank", "entry map"}
    assert set(document.provenance.timings_s) == stages


def test_json_alone_is_on_standard_output(stages: Stages, tmp_path: Path) -> None:
    result = run("plan", "ct", "--output", tmp_path / "out", "--json", "--series", "1.2.3.4")
    summary = json.loads(result.stdout)
    assert summary["output"] == str(tmp_path / "out")
    assert len(summary["trajectories"]) == 8
    assert summary["trajectories"][0]["clearance_mm"]["foramina"] == 3.0
    assert summary["disclaimer"] == DISCLAIMER
    assert stages.calls[0] == ("read", "1.2.3.4")


def test_quiet_says_nothing(stages: Stages, tmp_path: Path) -> None:
    result = run("plan", "ct", "--output", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_options_reach_the_configuration(stages: Stages, tmp_path: Path) -> None:
    toml = tmp_path / "c.toml"
    toml.write_text('needle = "8G"\ntop = 5\n[limits]\nforamina_mm = 2.5\n', encoding="utf-8")
    words = ["--needle", "13G", "--side", "left", "--technique", "long_axis"]
    words += ["--technique", "s2_entry", "--placement-error", "robot", "--config", toml]
    result = run("plan", "ct", "--output", tmp_path / "out", "--jobs", "1", *words)
    assert result.exit_code == 0, result.stderr
    config = read_plan(tmp_path / "out").config
    assert config["needle"] == "13G"
    assert config["top"] == 5
    assert config["sides"] == ["left"]
    assert config["techniques"] == ["long_axis", "s2_entry"]
    assert config["placement_error"]["entry_mm"] == 0.8
    assert config["limits"]["foramina_mm"] == 2.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--needle", "12G"], "needle must be one of 8G, 10G, 11G, 13G"),
        (["--technique", "sideways"], "short_axis"),
        (["--placement-error", "ct_cheked"], "did you mean 'ct_checked'"),
        (["--config", "absent.toml"], "absent.toml cannot be read"),
        (["--top", "0"], "top"),
    ],
)
def test_wrong_configuration_is_2(
    stages: Stages, tmp_path: Path, words: list[str], message: str
) -> None:
    result = run("plan", "ct", "--output", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert message in one_paragraph(result)
    assert not stages.calls
    assert not (tmp_path / "out").exists()


def test_wrong_usage_is_2(tmp_path: Path) -> None:
    assert run("plan", "ct").exit_code == 2
    assert run("plan", "ct", "--output", tmp_path, "--side", "middle").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_unsuitable_ct_is_3(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path, series=None, progress=None):
        raise UnsuitableCtError("slice 12 of 40 is missing;\nexpected even spacing. Export again.")

    monkeypatch.setattr(planning, "reading", SimpleNamespace(read_ct=refuse))
    result = run("plan", "ct", "--output", tmp_path / "out")
    assert result.exit_code == 3
    assert "slice 12 of 40 is missing; expected even spacing" in one_paragraph(result)
    assert not (tmp_path / "out").exists()


def test_untrusted_anatomy_is_4(stages: Stages, tmp_path: Path) -> None:
    stages.anatomy = replace(stages.anatomy, confidence=0.1)
    result = run("plan", "ct", "--output", tmp_path / "out")
    assert result.exit_code == 4
    text = one_paragraph(result)
    assert "confidence of 0.10, expected at least 0.20" in text
    assert "Weakest: sacrum 0.90, look at (" in text
    assert "mm LPS, slice" in text
    assert not (tmp_path / "out").exists()
    left = sorted(path.name for path in (tmp_path / "out-rejected").iterdir())
    assert left == ["anatomy-rejected.seg.nrrd", "overview-rejected.png"]
    assert str(tmp_path / "out-rejected") in text
    again = run("plan", "ct", "--output", tmp_path / "out")
    assert again.exit_code == 4
    assert "was not kept" in one_paragraph(again)
    over = run("plan", "ct", "--output", tmp_path / "out", "--overwrite")
    assert "with a picture" in one_paragraph(over)


def test_segment_keeps_what_it_refuses_under_another_name(stages: Stages, tmp_path: Path) -> None:
    stages.anatomy = replace(stages.anatomy, confidence=0.1)
    result = run("segment", "ct", "--output", tmp_path / "a.seg.nrrd")
    assert result.exit_code == 4
    assert not (tmp_path / "a.seg.nrrd").exists()
    assert (tmp_path / "a-rejected" / "anatomy-rejected.seg.nrrd").is_file()


def test_segment_keeps_what_is_doubtful_only_on_request(stages: Stages, tmp_path: Path) -> None:
    stages.anatomy = replace(stages.anatomy, confidence=0.1)
    path = tmp_path / "a.seg.nrrd"
    result = run("segment", "ct", "--output", path, "--keep-doubtful")
    assert result.exit_code == 0
    assert "NOT TRUSTED" in result.stderr
    header = path.read_bytes()[:4000].decode("ascii", "replace")
    assert "NotTrusted:=the anatomy found in the CT has a confidence of 0.10" in header
    assert read_segmentation(path).grid.same_as(stages.anatomy.grid)
    stages.anatomy = replace(stages.anatomy, confidence=0.9)
    assert run("segment", "ct", "--output", path, "--overwrite").exit_code == 0
    assert "NotTrusted" not in path.read_bytes()[:4000].decode("ascii", "replace")


def test_no_trajectory_is_5(stages: Stages, tmp_path: Path) -> None:
    stages.ranked = ()
    result = run("plan", "ct", "--output", tmp_path / "out")
    assert result.exit_code == 5
    text = one_paragraph(result)
    assert "none of 8 candidate trajectories" in text
    assert "foramina 7." in text
    assert not (tmp_path / "out").exists()


def test_an_output_in_the_way_is_6_before_any_work(stages: Stages, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    result = run("plan", "ct", "--output", tmp_path)
    assert result.exit_code == 6
    assert "--overwrite" in one_paragraph(result)
    assert not stages.calls
    assert run("plan", "ct", "--output", tmp_path, "--overwrite").exit_code == 0
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_output_among_the_images_is_6(stages: Stages, tmp_path: Path) -> None:
    result = run("plan", tmp_path, "--output", tmp_path / "plan")
    assert result.exit_code == 6
    assert "inside the CT's folder" in one_paragraph(result)


def test_a_full_disk_is_6_and_leaves_nothing(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(plan, path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("planner.export.plan_json.write_document", full)
    result = run("plan", "ct", "--output", tmp_path / "out")
    assert result.exit_code == 6
    assert "No space left on device" in one_paragraph(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["inspect", "sample_data", "--json"]])
def test_a_full_disk_behind_standard_output_is_6(words: list[str]) -> None:
    main = "from planner.cli import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", main, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    assert done.returncode == 6
    assert "standard output could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_defect_keeps_its_traceback(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "candidates", SimpleNamespace(propose=lambda *words: 1 / 0))
    result = run("plan", "ct", "--output", tmp_path / "out")
    assert isinstance(result.exception, ZeroDivisionError)


def test_segment_writes_one_file(stages: Stages, tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    result = run("segment", "ct", "--output", path)
    assert result.exit_code == 0, result.stderr
    assert path.is_file()
    assert "confidence 0.55" in result.stdout
    assert run("segment", "ct", "--output", path).exit_code == 6
    assert run("segment", "ct", "--output", path, "--overwrite", "--quiet").stdout == ""
    assert run("segment", "ct", "--output", tmp_path / "a.nii.gz").exit_code == 2


@pytest.mark.parametrize("usable", [True, False])
def test_inspect_lists_every_series(monkeypatch: pytest.MonkeyPatch, usable: bool) -> None:
    report = pytest.importorskip("planner.reading").SeriesReport(
        uid="1.2.3",
        label="1.2.3",
        description="Pelvis",
        modality="CT",
        kernel="B60",
        slices=120,
        size=(512, 512, 120),
        spacing_mm=(0.8, 0.8, 1.0),
        extent_mm=120.0,
        orientation="L P H",
        tilt_deg=0.0,
        frame_of_reference_uid="1.2",
        problems=() if usable else ("slice 7 is missing",),
        notes=("contrast",),
        usable=usable,
        chosen=usable,
        why="",
    )
    monkeypatch.setattr("planner.reading.inspect_ct", lambda path: (report,))
    result = run("inspect", "ct")
    assert result.exit_code == (0 if usable else 3)
    assert "1.2.3" in result.stdout
    assert ("can be planned on" if usable else "problem: slice 7 is missing") in result.stdout
    as_json = run("inspect", "ct", "--json")
    assert json.loads(as_json.stdout)[0]["spacing_mm"] == [0.8, 0.8, 1.0]


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "1,2,nan", ""])
def test_points_are_three_finite_numbers(tmp_path: Path, text: str) -> None:
    result = run("score", tmp_path, "--entry", text, "--tip", "1,2,3")
    assert result.exit_code == 2
    assert "X,Y,Z" in result.stderr


def test_negative_coordinates_are_points(tmp_path: Path) -> None:
    result = run("score", tmp_path, "--entry", "-1,-2,-3", "--tip", "-1,2,3")
    assert "is not a plan folder" in one_paragraph(result)
    assert result.exit_code == 2


def test_version() -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"planner {version('planner')}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom planner.cli import app\n"
        "try:\n    app(['plan', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'vtk', 'SimpleITK', 'matplotlib', 'numba', 'pydicom', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "[]"
    assert "--placement-error" in result.stdout
    assert time.perf_counter() - start < 10.0  # half a second on an idle machine


def test_the_facade_names_what_it_promises() -> None:
    import planner

    assert set(planner.__all__) == set(planner._PLACES)
    assert planner.Configuration is not None
    assert planner.write_plan is not None
    assert isinstance(planner.__version__, str)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = planner.nonsense


def test_the_facade_has_no_side_effects() -> None:
    code = "import sys, planner\nprint(sorted({'numpy', 'vtk'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert np is not None


def test_a_method_that_is_not_installed_is_2(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    for command, name in (("plan", "out"), ("segment", "a.seg.nrrd")):
        result = run(command, "ct", "--output", tmp_path / name, "--method", "totalsegmentator")
        assert result.exit_code == 2
        assert "pip install 'TotalSegmentator" in one_paragraph(result)
    assert not stages.calls  # not even the CT was read
    assert list(tmp_path.iterdir()) == []


def test_options_that_have_nothing_to_act_on_are_2(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["--allow-download"], ["--device", "gpu"]):
        result = run("plan", "ct", "--output", tmp_path / "out", *words)
        assert result.exit_code == 2
        assert "are for --method totalsegmentator" in one_paragraph(result)
    install(tmp_path, monkeypatch)
    words = ["--method", "totalsegmentator", "--anatomy", tmp_path / "own.seg.nrrd"]
    result = run("plan", "ct", "--output", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert "takes the place of the segmentation" in one_paragraph(result)
    assert not stages.calls
    assert run("plan", "ct", "--output", tmp_path / "out", "--method", "magic").exit_code == 2


def test_a_program_that_fails_is_4_and_leaves_nothing(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = install(tmp_path, monkeypatch)
    program.mode("fail")
    path = tmp_path / "a.seg.nrrd"
    result = run("segment", "ct", "--output", path, "--method", "totalsegmentator")
    assert result.exit_code == 4
    assert "not enough memory" in one_paragraph(result)
    assert not path.exists()
    assert program.left_behind() == []


def test_a_program_s_bones_are_completed_and_written(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    stages.anatomy = replace(stages.anatomy, confidences={"sacral_canal": 0.7})
    given = {}

    def complete_labels(labels, grid, volume, progress):
        given["labels"] = labels
        return Segmentation(stages.anatomy.labels, stages.anatomy.grid, {"sacral_canal": 0.7})

    monkeypatch.setattr(bones, "segmentation", SimpleNamespace(complete_labels=complete_labels))
    path = tmp_path / "a.seg.nrrd"
    result = run("segment", "ct", "--output", path, "--method", "totalsegmentator")
    assert result.exit_code == 0, result.stderr
    known = stages.volume.values == 250  # the toy's sacrum
    np.testing.assert_array_equal(given["labels"] == LABELS["sacrum"], known)
    assert "sacral_canal           confidence 0.70" in result.stdout
    assert path.is_file()
