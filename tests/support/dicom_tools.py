"""Programs of others that judge or read our DICOM files; a test that needs one skips without it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """Find a program, or skip the test with the reason."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(name: str, *arguments: str | Path) -> str:
    """Run a program; returns what it prints."""
    command = [tool(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return done.stdout + done.stderr


def errors(path: Path) -> list[str]:
    """Return the lines that dciodvfy calls errors; its exit status says nothing of them."""
    told = run("dciodvfy", "-new", path)
    assert "Abort" not in told, told
    return [line for line in told.splitlines() if line.startswith("Error")]
