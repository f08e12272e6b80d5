"""A stand-in for the program TotalSegmentator: its options, its files, its ways to fail.

`install` writes it as an executable script. What it was given it records as JSON; what it does is
told by STAND_IN_MODE. Sacrum and S1 are where the CT is brighter than 200 HU, divided at the middle
of the volume's last axis, unless STAND_IN_LABELS names an .npy of labels on the CT's grid.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """#!{python}
import argparse, json, os, subprocess, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("-i", dest="input", type=Path)
parser.add_argument("-o", dest="output", type=Path)
parser.add_argument("-rs", "--roi_subset", nargs="+")
parser.add_argument("-d", "--device", default="gpu")
given = parser.parse_args()
mode = os.environ.get("STAND_IN_MODE", "")
worker = None
if mode == "hang":
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
config = Path(os.environ["TOTALSEG_HOME_DIR"]) / "config.json"
record = {{
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "config": json.loads(config.read_text()),
    "folder_mode": given.input.parent.stat().st_mode & 0o777,
    "pids": [os.getpid()] + ([worker.pid] if worker else []),
}}
Path(os.environ["STAND_IN_RECORD"]).write_text(json.dumps(record))
print("If you use this tool please cite it")
if mode == "hang":
    time.sleep(600)
if mode == "fail":
    print("Predicting...\\r 50%|#####", file=sys.stderr)
    print("RuntimeError: not enough memory: you tried to allocate 9 GB", file=sys.stderr)
    sys.exit(1)
if mode == "weights":
    print("Downloading model for Task 291 ...")
    sys.exit("requests.exceptions.ProxyError: Cannot connect to proxy")

import nibabel
import numpy as np

image = nibabel.load(given.input)
values = np.asarray(image.dataobj)
if "STAND_IN_LABELS" in os.environ:
    labels = np.load(os.environ["STAND_IN_LABELS"])
    numbers = {{"sacrum": 1, "vertebrae_L5": {l5}, "hip_left": {left}, "hip_right": {right}}}
    bones = {{name: labels == number for name, number in numbers.items()}}
else:
    bones = {{"sacrum": values > 200}}
upper = np.zeros(values.shape, bool)
upper[..., values.shape[2] // 2:] = True
bones["vertebrae_S1"] = bones["sacrum"] & upper
bones["sacrum"] = bones["sacrum"] & ~upper
given.output.mkdir()
for name in given.roi_subset:
    if mode == "no_sacrum" and name == "sacrum":
        continue
    mask = bones.get(name, np.zeros(values.shape, bool)) & (mode != "empty")
    header = image.header.copy()
    header.set_data_dtype(np.uint8)
    out = nibabel.Nifti1Image(mask.astype(np.uint8), image.affine, header)
    nibabel.save(out, given.output / (name + ".nii.gz"))
"""


class StandIn:
    """An installed stand-in; `mode` and `labels` steer it, `record` is what it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._record = folder / "record.json"
        self.weights = folder / "weights"
        self.temporary = folder / "temporary"

    def mode(self, name: str) -> None:
        self._monkeypatch.setenv("STAND_IN_MODE", name)

    def labels(self, path: Path) -> None:
        self._monkeypatch.setenv("STAND_IN_LABELS", str(path))

    @property
    def started(self) -> bool:
        return self._record.exists()

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._record.read_text(encoding="utf-8"))
        return found

    def left_behind(self) -> list[Path]:
        """What is still in the temporary folder."""
        return list(self.temporary.iterdir())

    def running(self) -> list[int]:
        """Which of its processes still run; those that ended but were not waited for do not."""
        return [pid for pid in self.record["pids"] if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put the stand-in on the search path, with weights and a temporary folder of its own."""
    from planner.model.anatomy import LABELS

    if sys.platform != "linux":
        pytest.skip("the stand-in for TotalSegmentator is a script for Linux")
    script = SCRIPT.format(
        python=sys.executable,
        l5=LABELS["l5"],
        left=LABELS["hip_left"],
        right=LABELS["hip_right"],
    )
    programs = folder / "bin"
    programs.mkdir()
    path = programs / "TotalSegmentator"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    made = StandIn(folder, monkeypatch)
    (made.weights / "Dataset298_TotalSegmentator_total_6mm").mkdir(parents=True)
    made.temporary.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(made.weights))
    monkeypatch.setenv("STAND_IN_RECORD", str(folder / "record.json"))
    monkeypatch.setattr("tempfile.tempdir", str(made.temporary))
    return made
