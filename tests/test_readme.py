"""What the README says, held against the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from export.toy import toy_plan, toy_volume
from typer.main import get_command

import planner
from planner import errors
from planner.cli import app
from planner.exchange import FORMATS
from planner.export.plan_folder import PLAN_FILES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_screen_says_what_it_is_not() -> None:
    first = " ".join(README.replace(">", " ").replace("**", "").split())[:900]
    assert "Research software, not a medical device" in first
    assert "Never for clinical use" in first


def test_every_link_and_picture_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert "sample_data/overview.png" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
    assert (ROOT / "sample_data" / "overview.png").stat().st_size <= 700_000


def test_the_commands_are_those_of_the_program() -> None:
    named = re.findall(r"^\| `planner (\w+)", README, re.MULTILINE)
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert sorted(named) == sorted(commands)
    for name, rest in re.findall(r"^\| `planner (\w+)([^`]*)`", README, re.MULTILINE):
        known = {option for item in commands[name].params for option in item.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_the_exit_statuses_are_those_of_the_errors() -> None:
    table = {int(n) for n in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    known = {item.exit_status for item in errors.PlannerError.__subclasses__()}
    assert table == {0, *known}
    assert len(known) == len(errors.PlannerError.__subclasses__())


def test_the_files_are_those_of_a_plan() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \| (?!`)", README, re.MULTILINE))
    assert (
        {"overview.png", "report.html", "plan.json", "anatomy.seg.nrrd"} <= rows <= set(PLAN_FILES)
    )


def test_the_formats_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `([^`]+)` \|", README, re.MULTILINE)
    assert rows == [(item.name, item.file) for item in FORMATS.values()]


def test_ci_runs_the_readme_s_commands_word_for_word() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(blocks("sh")) == 2
    for block in blocks("sh"):
        assert block.strip() in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_example_runs_on_a_toy(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    def plan(path, configuration):
        seen.update(path=path, configuration=configuration)
        return toy_volume(), toy_plan()

    monkeypatch.setattr("planner.pipeline.plan_ct", plan)
    monkeypatch.setattr(
        "planner.export.plan_folder.write_plan", lambda *given: seen.update(folder=given[2])
    )
    (example,) = blocks("python")
    assert len(example.strip().splitlines()) <= 14
    exec(compile(example, "README.md", "exec"), {})
    assert seen["path"] == Path("sample_data")
    assert seen["configuration"] == planner.Configuration(needle="13G", sides=("left",), top=1)
    assert seen["folder"] == Path("plan-13G")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(toy_plan().trajectories)
    assert re.fullmatch(r"1 \S+: -?\d+\.\d mm to \w+, breach \d+\.\d %", lines[0])


@pytest.mark.slow
def test_the_example_runs_on_the_sample(tmp_path: Path) -> None:
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    (example,) = blocks("python")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "-left-" in done.stdout
    assert "-right-" not in done.stdout
    written = {path.name for path in (tmp_path / "plan-13G").iterdir()}
    assert {"overview.png", "plan.json", "anatomy.seg.nrrd"} <= written
