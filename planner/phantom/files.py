"""Write a phantom as a folder: dicom/*.dcm, truth.nrrd and truth.json.

The folder appears whole or not at all: it is built under a temporary name beside its place and
renamed at the end.
"""

from __future__ import annotations

import colorsys
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from planner.errors import OutputError
from planner.model.anatomy import LABELS
from planner.phantom.dicom import Compression, write_series
from planner.phantom.phantom import Phantom
from planner.phantom.truth import PhantomTruth

_GOLDEN = 0.618034  # neighbouring labels get hues far apart


def write_phantom(
    phantom: Phantom,
    folder: Path | str,
    compress: bool = True,
    *,
    compression: Compression | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a phantom's series and truth; returns the folder.

    compress: JPEG 2000 lossless, or else uncompressed; compression names another syntax.
    Raises OutputError when the folder exists with something in it (unless overwrite) or cannot be
    written; what stood there before is untouched then.
    """
    syntax: Compression = compression or ("jpeg2000" if compress else "none")
    target = Path(folder)
    with whole_folder(target, overwrite) as building:
        fill_folder(phantom, building, syntax)
    return target


def fill_folder(phantom: Phantom, folder: Path, compression: Compression) -> None:
    """Write series and truth into an existing empty folder."""
    (folder / "dicom").mkdir()
    write_series(phantom.pixels, phantom.stack, phantom.parameters, folder / "dicom", compression)
    (folder / "truth.nrrd").write_bytes(nrrd_bytes(phantom.truth))
    (folder / "truth.json").write_bytes(json_bytes(phantom.truth))


@contextmanager
def whole_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary sibling folder that takes the target's place if nothing goes wrong.

    Raises OutputError when the target is in the way or the file system refuses.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(f"{target} exists and is not a folder; choose another output folder.")
    if not overwrite and target.is_dir() and any(target.iterdir()):
        raise OutputError(
            f"The output folder {target} exists and is not empty; choose another one or ask to "
            "overwrite it."
        )
    building: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        yield building
        building.chmod(0o777 & ~_umask())
        _replace(building, target)
    except OSError as error:
        raise OutputError(f"The phantom could not be written to {target}: {error}.") from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def _replace(building: Path, target: Path) -> None:
    """Put a folder in the place of another; the old one comes back if that fails."""
    if not target.exists():
        building.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    try:
        old = target.rename(aside / "old")
        try:
            building.rename(target)
        except OSError:
            old.rename(target)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_bytes(truth: PhantomTruth) -> bytes:
    """Return truth.json: UTF-8, finite numbers only."""
    text = json.dumps(truth.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def nrrd_bytes(truth: PhantomTruth) -> bytes:
    """Return the label map as NRRD in LPS with the segment names that 3D Slicer reads."""
    grid = truth.grid
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": grid.patient_from_ijk[:3, :3].T + 0.0,
        "space origin": grid.origin + 0.0,
        "kinds": ["domain", "domain", "domain"],
        "encoding": "gzip",
    }
    for number, name in enumerate(truth.structures):
        header |= _segment(number, name, truth.labels)
    header |= {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    buffer = io.BytesIO()
    nrrd.write(buffer, np.asarray(truth.labels), header, index_order="F", compression_level=9)
    # The library stamps the time of writing into a comment; the same phantom gives the same bytes.
    head, separator, data = buffer.getvalue().partition(b"\n\n")
    lines = [line for line in head.split(b"\n") if not line.startswith(b"# on ")]
    return b"\n".join(lines) + separator + data


def _segment(number: int, name: str, labels: NDArray[np.uint8]) -> dict[str, str]:
    """Return the header keys of one segment."""
    where = labels == LABELS[name]
    extent = []
    for axis in range(3):
        used = np.flatnonzero(where.any(axis=tuple(a for a in range(3) if a != axis)))
        extent += [int(used[0]), int(used[-1])] if len(used) else [0, -1]
    red, green, blue = colorsys.hsv_to_rgb((LABELS[name] * _GOLDEN) % 1.0, 0.55, 0.95)
    key = f"Segment{number}_"
    return {
        f"{key}ID": name,
        f"{key}Name": name,
        f"{key}NameAutoGenerated": "0",
        f"{key}Color": f"{red:.4f} {green:.4f} {blue:.4f}",
        f"{key}ColorAutoGenerated": "0",
        f"{key}LabelValue": str(LABELS[name]),
        f"{key}Layer": "0",
        f"{key}Extent": " ".join(str(n) for n in extent),
        f"{key}Tags": "",
    }
