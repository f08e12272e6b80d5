"""Promises of the package as a whole: the façade, no network, and a size one can read."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import planner

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "planner").rglob("*.py"))
NETWORK = {"socket", "socketserver", "ssl", "http", "urllib", "ftplib", "smtplib"}
NETWORK |= {"requests", "httpx", "aiohttp", "pynetdicom", "dicomweb_client", "pyigtl"}
ALLOWED = {
    "review/server.py": {"socket"},
    "review/guard.py": {"urllib.parse"},
    "exchange/serving.py": {"socket", "socketserver"},
    "exchange/openigtlink.py": {"pyigtl", "pyigtl.messages"},  # packs, sends nothing
    "pacs/servers.py": {"urllib.parse"},
    "pacs/association.py": {"ssl", "pynetdicom"},
    "pacs/dimse.py": {"pynetdicom"},
    "pacs/dicomweb.py": {"requests", "requests.auth", "dicomweb_client.web"},
}
# The house asks for about 400 and about 50; what needs a little more is not worth a contortion.
LONGEST_FILE, LONGEST_FUNCTION = 420, 60


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, planner; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "planner" in loaded
    assert not loaded & {"numpy", "scipy", "SimpleITK", "vtk", "numba", "pydicom", "matplotlib"}


@pytest.mark.parametrize("name", planner.__all__)
def test_every_name_of_the_facade_exists(name: str) -> None:
    assert getattr(planner, name).__doc__
    assert name in dir(planner)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="module 'planner' has no attribute 'plam'"):
        _ = planner.plam
    assert planner.__version__.count(".") == 2


def test_only_these_modules_of_the_package_can_reach_a_network() -> None:
    """Page and export listen, on loopback unless told; servers are asked that the user names."""
    found = []
    for path in SOURCES:
        place = path.relative_to(ROOT / "planner").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [(place, n) for n in names if n.partition(".")[0] in NETWORK]
    strange = [
        (place, name)
        for place, name in found
        if name not in ALLOWED.get(place, ()) and not name.startswith("pynetdicom.")
    ]
    assert strange == []


def test_files_and_functions_stay_short() -> None:
    long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > LONGEST_FILE:
            long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                body = node.end_lineno - node.body[0].lineno + 1
                if body > LONGEST_FUNCTION:
                    long.append(f"{path.name}:{node.name} ({body} lines)")
    assert long == []
