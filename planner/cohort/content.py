"""What a result depends on, as hashes: the input's bytes, the program, the configuration.

A case need not run again while all three are the same. Reading every byte of hundreds of CTs to
find that out would take longer than is bearable, so names, sizes and times of change stand for the
bytes as long as they are the same, as in version control; where they differ, the bytes decide.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from planner.cohort.cases import Case
from planner.model.configuration import Configuration

CHUNK = 1 << 20
TABLES_FOLDER = "tables"
DECIDING = (
    "anatomy",
    "candidates",
    "geometry",
    "model",
    "phantom",
    "pipeline",
    "reading",
    "scoring",
    "segmentation",
    "shape",
)
"""Packages whose code decides the figures of a plan."""
DECIDING_TOO = (
    *("cohort/atlas.py", "cohort/one.py", "cohort/rows.py", "cohort/truth.py"),
    *("cohort/truth_rows.py", "cohort/virtual.py"),
    *("export/flat.py", "export/plan_document.py", "export/plan_json.py"),
)
"""What makes the rows of it."""
LIBRARIES = ("numpy", "scipy", "SimpleITK", "numba", "scikit-image", "vtk", "pydicom", "edt")
"""Libraries that compute the figures; another release may compute other last digits."""


@cache
def program() -> dict[str, str]:
    """Name what computes: version, a hash over the deciding code, and the libraries."""
    digest = hashlib.sha256()
    root = Path(str(resources.files("planner")))
    paths = [path for package in DECIDING for path in sorted((root / package).rglob("*.py"))]
    for path in (*paths, *(root / name for name in DECIDING_TOO)):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    out = {"planner": metadata.version("planner"), "code_sha256": digest.hexdigest()}
    return out | {name: metadata.version(name) for name in LIBRARIES}


def table_hashes(root: Path) -> dict[str, str]:
    """Hash every file of a cohort's tables, by its name below the cohort's folder."""
    paths = sorted(path for path in (root / TABLES_FOLDER).rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def files_of(case: Case) -> Iterator[tuple[str, Path]]:
    """Every file that a case reads, under a name that does not tell where it lies."""
    for role, path in (("ct", case.ct), ("anatomy", case.anatomy), ("target", case.target)):
        if path is None:
            continue
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    found = Path(folder, name)
                    yield f"{role}/{found.relative_to(path).as_posix()}", found
        else:
            yield role, path


def signature(case: Case) -> str:
    """Hash places, sizes and times of change of a case's files; it opens none of them.

    Two files of one size and time, as archives give them back, differ by inode or place.
    """
    digest = hashlib.sha256(case.series.encode())
    for name, path in files_of(case):
        try:
            about = path.stat()
            times = f"{about.st_mtime_ns}\0{about.st_ctime_ns}"
            line = f"{name}\0{path.absolute()}\0{about.st_size}\0{times}\0{about.st_ino}\n"
        except OSError:
            line = f"{name}\0absent\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def content(case: Case) -> tuple[str, int]:
    """Hash the bytes of a case's files and what is asked of them; with the number of bytes.

    Files that cannot be read count as absent: reading them as a CT will say what is wrong.
    """
    digest, size = hashlib.sha256(case.series.encode()), 0
    for name, path in files_of(case):
        inner = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while data := file.read(CHUNK):
                    inner.update(data)
                    size += len(data)
            seen = inner.hexdigest()
        except OSError:
            seen = "absent"
        digest.update(f"{name}\0{seen}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), size


def result_key(input_sha256: str, configuration: Configuration) -> str:
    """Hash everything that decides a result: input, program and configuration."""
    values = [input_sha256, program(), configuration.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
