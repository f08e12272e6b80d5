"""The user's own TotalSegmentator, run as a separate program; it is never imported.

It gets the CT as a temporary NIfTI and writes one mask per bone beside it, in a private folder that
is removed whatever happens; its own temporary files go there too. What it may do is decided here:

- it sends no usage statistics: it finds a configuration that says so, in place of the user's;
- it downloads nothing unless the user allows it: its weights are looked for first, and proxies that
  lead nowhere keep every request inside the machine;
- it computes no statistics of the CT, and runs on the CPU unless told otherwise.

Options and files are those of TotalSegmentator 2.4 and newer, task "total".
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from planner.errors import (
    ConfigurationError,
    OutputError,
    PlannerError,
    UnsuitableCtError,
    UntrustedAnatomyError,
)
from planner.model.volume import Volume
from planner.scratch import scratch_folder

Progress = Callable[[str, float], None]

EXECUTABLE = "TotalSegmentator"
BONES = ("sacrum", "vertebrae_S1", "vertebrae_L5", "hip_left", "hip_right")
DEVICE = r"cpu|gpu(:\d+)?|mps"
TIMEOUT_S = 2 * 3600.0
"""Longer than a pelvis takes on two slow processors (assumed)."""
POLL_S = 0.5
GRACE_S = 5.0
END_POLL_S = 0.05
TOLD_LINES = 6
TAIL_BYTES = 4096
DEAD_PROXY = "http://127.0.0.1:9"
"""Port 9 is `discard`; nothing listens there."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
CONFIG = {
    "totalseg_id": "",
    "send_usage_stats": False,
    "prediction_counter": 0,
    "statistics_disclaimer_shown": True,
}
DOWNLOADING = "Downloading model"
"""What it prints before it asks for weights."""
HOW_TO_DOWNLOAD = (
    "Download them once with `totalseg_download_weights -t total`, or allow it with "
    "--allow-download."
)


@dataclass(frozen=True)
class TotalSegmentator:
    """An installed TotalSegmentator and what it may do.

    device: cpu, gpu, gpu:N or mps.
    """

    executable: Path
    allow_download: bool = False
    device: str = "cpu"
    timeout_s: float = TIMEOUT_S

    @classmethod
    def find(cls, *, allow_download: bool = False, device: str = "cpu") -> TotalSegmentator:
        """Find the program on the search path or beside this Python, and its weights.

        Raises ConfigurationError where it is absent, or its weights are and may not be downloaded.
        """
        if not re.fullmatch(DEVICE, device):
            raise ConfigurationError(f"the device must be cpu, gpu, gpu:N or mps, got {device!r}.")
        beside = str(Path(sys.executable).parent)
        found = shutil.which(EXECUTABLE) or shutil.which(EXECUTABLE, path=beside)
        if found is None:
            raise ConfigurationError(
                f"the method totalsegmentator needs the program {EXECUTABLE}, which is not on the "
                "search path. Install it with `pip install 'TotalSegmentator>=2.4,<3'`, best in an "
                "environment of its own, or leave out --method."
            )
        folder = weights_folder()
        if not allow_download and not (folder.is_dir() and any(folder.glob("Dataset*"))):
            raise ConfigurationError(
                f"TotalSegmentator has no weights in {folder}. {HOW_TO_DOWNLOAD}"
            )
        return cls(Path(found).absolute(), allow_download, device)

    @contextmanager
    def run(self, volume: Volume, progress: Progress | None = None) -> Iterator[Path]:
        """Segment a CT; yields the folder of masks, which is gone afterwards.

        Raises UntrustedAnatomyError where the program fails, takes too long or leaves out a mask,
        and UnsuitableCtError where it found no sacrum.
        """
        with scratch_folder() as folder:
            masks = folder / "masks"
            _prepare(folder, volume)
            command = self.command(folder / "ct.nii", masks)
            environment = child_environment(folder, self.allow_download)
            self._wait(command, environment, folder, progress or _silent)
            _check_masks(masks)
            yield masks

    def command(self, ct: Path, masks: Path) -> list[str]:
        """The command line that segments a CT into a folder of masks."""
        roi = ["--roi_subset", *BONES]
        device = ["--device", self.device]
        return [str(self.executable), "-i", str(ct), "-o", str(masks), *roi, *device]

    def _wait(
        self, command: list[str], environment: dict[str, str], folder: Path, progress: Progress
    ) -> None:
        """Run the command to its end; its whole group of processes ends with it."""
        log = folder / "log.txt"
        start = time.monotonic()
        with log.open("wb") as stream:
            try:
                # A session of its own, so that its workers can be ended together with it.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
            except OSError as error:
                raise ConfigurationError(
                    f"{self.executable} cannot be started: {error.strerror or error}."
                ) from error
            try:
                while process.poll() is None:
                    seconds = time.monotonic() - start
                    if seconds > self.timeout_s:
                        raise UntrustedAnatomyError(
                            f"TotalSegmentator was stopped after {seconds / 60:.0f} minutes. "
                            f"{_last_words(log)} A GPU (--device gpu) is faster."
                        )
                    progress(f"TotalSegmentator {seconds:.0f} s {_last_line(log)}", 0.0)
                    time.sleep(POLL_S)
            finally:
                _end(process)
        if process.returncode != 0:
            raise _failure(process.returncode, log, self.allow_download)


def weights_folder() -> Path:
    """Where the user's TotalSegmentator keeps its weights, by its own rules."""
    if "TOTALSEG_WEIGHTS_PATH" in os.environ:
        return Path(os.environ["TOTALSEG_WEIGHTS_PATH"])
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return (Path(home) if home else Path.home() / ".totalsegmentator") / "nnunet" / "results"


def child_environment(folder: Path, allow_download: bool) -> dict[str, str]:
    """The environment of the program: statistics off, downloads off unless allowed.

    folder: the private folder; it holds the configuration and the program's temporary files.
    """
    environment = dict(os.environ)
    environment["TOTALSEG_HOME_DIR"] = str(folder / "home")
    environment["TOTALSEG_WEIGHTS_PATH"] = str(weights_folder())
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
    environment["PYTHONUNBUFFERED"] = "1"
    if not allow_download:
        for name in (*PROXIES, "NO_PROXY"):
            environment.pop(name, None)
            environment.pop(name.lower(), None)
        for name in PROXIES:
            environment[name] = environment[name.lower()] = DEAD_PROXY
    return environment


def _prepare(folder: Path, volume: Volume) -> None:
    """Write the CT and the configuration into the private folder."""
    try:
        (folder / "home").mkdir()
        (folder / "tmp").mkdir()
        (folder / "home" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.patient_from_ijk
        image = nibabel.Nifti1Image(np.asarray(volume.values), ras)
        image.set_sform(ras, code=1)
        image.set_qform(ras, code=1)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, folder / "ct.nii")
    except OSError as error:
        raise OutputError(
            f"the CT could not be written to the temporary folder {folder.parent}: "
            f"{error.strerror or error}. Free some space, or set TMPDIR to another place."
        ) from error


def _check_masks(masks: Path) -> None:
    missing = [bone for bone in BONES if not (masks / f"{bone}.nii.gz").is_file()]
    if missing:
        raise UntrustedAnatomyError(
            f"TotalSegmentator ended without an error but wrote no mask of {', '.join(missing)}. "
            "Version 2.4 or newer is expected; check it with `TotalSegmentator --version`."
        )
    try:
        found = any(
            np.asanyarray(nibabel.load(masks / f"{bone}.nii.gz").dataobj).any()
            for bone in ("sacrum", "vertebrae_S1")
        )
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise UntrustedAnatomyError(f"TotalSegmentator's masks cannot be read: {error}.") from error
    if not found:
        raise UnsuitableCtError(
            "TotalSegmentator found no sacrum in this CT. A CT that shows the whole sacrum is "
            "expected; check it with `planner inspect`."
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and its workers where they still run."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, number)
            else:
                process.kill()
        except ProcessLookupError:
            return
        if _ended(process, time.monotonic() + GRACE_S):
            return


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for the program, then for its workers: they may outlive the one that led them."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    while hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(END_POLL_S)
    return True


def _failure(status: int, log: Path, allow_download: bool) -> PlannerError:
    if not allow_download and DOWNLOADING in log.read_text(encoding="utf-8", errors="replace"):
        return ConfigurationError(
            f"TotalSegmentator lacks weights in {weights_folder()}, and downloads are off. "
            f"{HOW_TO_DOWNLOAD}"
        )
    return UntrustedAnatomyError(
        f"TotalSegmentator failed with exit status {status}. {_last_words(log)} Try it by hand on "
        "the same CT, or leave out --method."
    )


def _tail(log: Path) -> list[str]:
    """The last lines of the program's output; a progress bar rewrites its line with returns."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def _last_line(log: Path) -> str:
    return "".join(_tail(log)[-1:])


def _last_words(log: Path) -> str:
    lines = _tail(log)[-TOLD_LINES:]
    return f"Its last words: {' | '.join(lines)}." if lines else "It said nothing."


def _silent(_stage: str, _part: float) -> None:
    return
