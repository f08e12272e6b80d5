"""Find the files behind what the user named: a folder, one file, or a .zip.

Nothing is decided by a file's name except the format of a single volume, and that a file which
holds no image may have been a slice. Archives are unpacked into
a temporary folder that is removed whatever happens. In a folder, a link to a file is read as that
file, wherever it lies: data sets under version control are made of such links, and the folder is
the user's own. Links to folders are not followed, which also ends every loop, and links to nothing
and what is no file cannot be read; all of these are told of.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UnsuitableCtError
from planner.reading.archive import DEEPEST_MEMBER, MOST_MEMBERS, unpack
from planner.reading.headers import looks_like_dicom
from planner.scratch import scratch_folder

IMAGE_SUFFIXES = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}
DIGITS, PACKED = re.compile(r"\d+"), re.compile(r"\.(gz|bz2|xz|zip|part|tmp)$", re.IGNORECASE)
ALIKE = 3
"""So many DICOM files have one pattern of names before another file of that pattern was one."""
ZIP_MAGIC = b"PK\x03\x04"
# As many files as an archive may hold; folders nest patient, study, series and image.
MOST_FILES = MOST_MEMBERS
DEEPEST_FOLDER = DEEPEST_MEMBER


@dataclass(frozen=True)
class Source:
    """The files to read.

    image: one volume file, or None; image_name: what messages call it.
    dicom: files that look like DICOM, sorted. others: how many further files were seen.
    lost: files named like those that hold no DICOM: empty, overwritten with zeros, or packed.
    notes: what was passed over and may belong to the CT.
    """

    given: Path
    image: Path | None
    dicom: tuple[Path, ...]
    others: int
    image_name: str = ""
    lost: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Find the files behind a path, unpacking an archive for as long as the context lasts.

    Raises UnsuitableCtError for what does not exist, is empty or cannot be read.
    """
    try:
        if not path.exists():
            raise UnsuitableCtError(
                f"{path} does not exist; give a folder with a CT, a multi-frame DICOM file, a .zip "
                "or a .nii.gz, .nrrd or .mha volume"
            )
        if path.is_file() and _is_zip(path):
            with scratch_folder() as folder:
                unpack(path, folder)
                yield _search(path, folder)
        elif path.is_file():
            yield _single(path)
        elif path.is_dir():
            yield _search(path, path)
        else:
            raise UnsuitableCtError(
                f"{path} is neither a file nor a folder but a device, a pipe or a socket; give a "
                "folder with a CT"
            )
    except OSError as error:
        raise UnsuitableCtError(
            f"{path} cannot be read: {error.strerror or type(error).__name__}; check that the "
            "files are complete and that you may read them"
        ) from error


def image_kind(path: Path) -> str:
    """Return nifti, nrrd or mha from the name of a file, or nothing."""
    name = path.name.lower()
    return next((kind for end, kind in IMAGE_SUFFIXES.items() if name.endswith(end)), "")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(4)
    return start == ZIP_MAGIC or path.suffix.lower() == ".zip"


def _single(path: Path) -> Source:
    if image_kind(path):
        return Source(path, path, (), 0, str(path))
    if path.stat().st_size == 0:
        raise UnsuitableCtError(f"{path} is empty; copy it again")
    if not looks_like_dicom(path):
        raise UnsuitableCtError(
            f"{path} is not a DICOM file nor a .zip, .nii.gz, .nrrd or .mha volume; if it is "
            "encrypted or compressed, decrypt or unpack it first"
        )
    return Source(path, None, (path,), 0)


def _search(given: Path, folder: Path) -> Source:
    dicom: list[Path] = []
    images: list[Path] = []
    others: list[Path] = []
    passed: list[Path] = []
    for path in _walk(given, folder, passed):
        if image_kind(path):
            images.append(path)
        elif looks_like_dicom(path):
            dicom.append(path)
        else:
            others.append(path)
    notes = _notes(passed)
    if not dicom and len(images) == 1:
        name = f"{given}: {images[0].name}"
        return Source(given, images[0], (), len(others), name, notes=notes)
    if not dicom and images:
        raise UnsuitableCtError(
            f"{given} holds no DICOM but {len(images)} volume files; name the one that is the CT"
        )
    if not dicom:
        raise UnsuitableCtError("; ".join((_nothing(given, len(others)), *notes)))
    count = len(others) + len(images)
    return Source(given, None, tuple(dicom), count, lost=_lost(dicom, others), notes=notes)


def _lost(dicom: list[Path], others: list[Path]) -> tuple[Path, ...]:
    """The other files that are named like several DICOM files beside them, digits apart."""
    names = Counter((path.parent, DIGITS.sub("#", path.name)) for path in dicom)
    whole = set(dicom)
    return tuple(
        path
        for path in others
        for plain in (PACKED.sub("", path.name),)
        if names[path.parent, DIGITS.sub("#", plain)] >= ALIKE
        and DIGITS.search(plain)
        and path.with_name(plain) not in whole
    )


def _walk(given: Path, folder: Path, passed: list[Path]) -> Iterator[Path]:
    """Yield the files of a folder and below; what is passed over is added to the list."""
    top, seen = len(folder.parts), 0
    for parent, folders, names in os.walk(folder, onerror=_raise):
        here = Path(parent)
        # What macOS packs beside every file are its attributes, in the same name.
        folders[:] = sorted(name for name in folders if name != "__MACOSX")
        passed += [here / name for name in folders if (here / name).is_symlink()]
        seen += len(folders) + len(names)
        if seen > MOST_FILES or len(here.parts) - top > DEEPEST_FOLDER:
            raise UnsuitableCtError(
                f"{given} holds more than {MOST_FILES} files and folders, or nests them more than "
                f"{DEEPEST_FOLDER} deep; give the folder of one examination"
            )
        for name in sorted(name for name in names if not name.startswith("._")):
            path = here / name
            if path.is_file():
                yield path
            else:
                passed.append(path)


def _notes(passed: list[Path]) -> tuple[str, ...]:
    if not passed:
        return ()
    return (
        f"{len(passed)} entries of the folder were passed over, such as {passed[0].name!r}: links "
        "to folders are not followed, and links to nothing, pipes, sockets and devices hold no "
        "image; where they stand for slices of the CT, give the slices themselves",
    )


def _raise(error: OSError) -> None:
    """Stop at a folder that cannot be listed: it may hold slices."""
    raise error


def _nothing(given: Path, others: int) -> str:
    if not others:
        return f"{given} is empty; give the folder that holds the CT"
    return (
        f"{given} holds {others} files and none of them is DICOM; if they are encrypted or packed, "
        "decrypt or unpack them first, else give the folder that holds the CT"
    )
