"""Temporary folders of patients' images are gone, however the program ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner import scratch

HOLDS = """
import sys, time
from planner import cli
from planner.scratch import scratch_folder

def hold():
    with scratch_folder() as folder:
        (folder / "slice.dcm").write_bytes(b"patient")
        print(folder, flush=True)
        time.sleep(120)

cli.app = hold
cli.main()
"""


def heeding() -> None:
    """Undo what nohup and background jobs leave their children: hang-ups and breaks ignored."""
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def held(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A program that holds a folder in a place, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        env=os.environ | {"TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heeding,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_program_that_is_asked_to_end_clears_up(tmp_path: Path, name: str) -> None:
    process, folder = held(tmp_path)
    assert (folder / "slice.dcm").is_file()
    process.send_signal(getattr(signal, name))
    code = process.wait(timeout=60)
    assert code in (128 + getattr(signal, name), -getattr(signal, name), 1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_program_left_goes_and_what_is_held_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    killed, left = held(tmp_path)
    killed.kill()
    killed.wait()
    running, used = held(tmp_path)
    other = tmp_path / "planner-of-the-user"  # of the same name, and none of ours
    other.mkdir()
    old = time.time() - 3600.0
    for path in (left.parent, used.parent, other):
        os.utime(path, (old, old))
    with scratch.scratch_folder():
        assert not left.parent.exists()
        assert (used / "slice.dcm").is_file() and other.is_dir()
    running.kill()
    running.wait()


def test_kernels_need_no_folder_to_be_kept_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    for name in (scratch.KERNELS, scratch.NOT_KEPT):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    scratch.keep_kernels()
    assert scratch.KERNELS not in os.environ and not scratch.kernels_are_not_kept()
    monkeypatch.setattr(scratch, "_can_write", lambda place: False)
    scratch.keep_kernels()
    assert Path(os.environ[scratch.KERNELS]).parent == tmp_path
    assert scratch.kernels_are_not_kept()
    monkeypatch.setenv(scratch.KERNELS, "/of/the/user")
    scratch.keep_kernels()
    assert os.environ[scratch.KERNELS] == "/of/the/user" and not scratch.kernels_are_not_kept()


COMMAND = "from planner.cli import main; main()"


def test_a_console_of_few_letters_shows_question_marks(tmp_path: Path) -> None:
    from tests.reading.dicom_series import Series, write

    def describe(ds, _k):  # type: ignore[no-untyped-def]
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SeriesDescription = "骨盤 °\x1b[31m red"

    folder = write(tmp_path / "ct", Series(), describe)
    for encoding in ("ascii", "cp1252"):
        found = subprocess.run(
            [sys.executable, "-c", COMMAND, "inspect", str(folder)],
            env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            capture_output=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert b"??" in found.stdout and b"\x1b" not in found.stdout
