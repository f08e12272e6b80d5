"""Find the files behind what the user named: a folder, one file, or a .zip.

Nothing is decided by a file's name except the format of a single volume. Archives are unpacked into
a temporary folder that is removed whatever happens; members that point outside it, encrypted ones
and archives beyond the stated size are refused before anything is written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from planner.errors import UnsuitableCtError
from planner.reading.headers import looks_like_dicom

IMAGE_SUFFIXES = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "mha",
    ".mhd": "mha",
}
ZIP_MAGIC = b"PK\x03\x04"
# A whole-body CT of thin slices takes 2 GB; 16 GB is no CT of one examination.
LARGEST_ARCHIVE_BYTES = 16 * 1024**3
MOST_MEMBERS = 200_000
ENCRYPTED_FLAG = 0x1
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """The files to read.

    image: one volume file, or None; image_name: what messages call it.
    dicom: files that look like DICOM, sorted. others: how many further files were seen.
    """

    given: Path
    image: Path | None
    dicom: tuple[Path, ...]
    others: int
    image_name: str = ""


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
            with tempfile.TemporaryDirectory(prefix="planner-") as folder:
                _unpack(path, Path(folder))
                yield _search(path, Path(folder))
        elif path.is_file():
            yield _single(path)
        else:
            yield _search(path, path)
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
    others = 0
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if not path.is_file():
                continue
            if image_kind(path):
                images.append(path)
            elif looks_like_dicom(path):
                dicom.append(path)
            else:
                others += 1
    if not dicom and len(images) == 1:
        return Source(given, images[0], (), others, f"{given}: {images[0].name}")
    if not dicom and images:
        raise UnsuitableCtError(
            f"{given} holds no DICOM but {len(images)} volume files; name the one that is the CT"
        )
    if not dicom:
        raise UnsuitableCtError(_nothing(given, others))
    return Source(given, None, tuple(dicom), others + len(images))


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


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a checked archive into a folder, never beyond the size that it states."""
    try:
        with zipfile.ZipFile(archive) as opened_archive:
            members = [m for m in opened_archive.infolist() if not m.is_dir()]
            _check_members(archive, members, folder)
            for member in members:
                target = folder / PurePosixPath(member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened_archive.open(member) as packed, target.open("wb") as out:
                    shutil.copyfileobj(packed, out, CHUNK_BYTES)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
        raise UnsuitableCtError(
            f"{archive} is damaged or no .zip archive ({error}); pack or copy it again"
        ) from error
    except (RuntimeError, NotImplementedError) as error:
        raise UnsuitableCtError(
            f"{archive} cannot be unpacked ({error}); give it unpacked or as a plain .zip"
        ) from error


def _check_members(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    if any(m.flag_bits & ENCRYPTED_FLAG for m in members):
        raise UnsuitableCtError(f"{archive} is encrypted; give it decrypted")
    unsafe = [m for m in members if not _is_safe(m.filename)]
    if unsafe:
        raise UnsuitableCtError(
            f"{archive} holds {len(unsafe)} members that point outside of it, such as "
            f"{unsafe[0].filename!r}; such an archive is not unpacked, pack the folder again"
        )
    total = sum(m.file_size for m in members)
    if len(members) > MOST_MEMBERS or total > LARGEST_ARCHIVE_BYTES:
        raise UnsuitableCtError(
            f"{archive} unpacks to {total / 1024**3:.1f} GiB in {len(members)} files; at most "
            f"{LARGEST_ARCHIVE_BYTES / 1024**3:.0f} GiB in {MOST_MEMBERS} files are read; pack one "
            "examination"
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UnsuitableCtError(
            f"{archive} unpacks to {total / 1024**3:.1f} GiB and the temporary folder has "
            f"{free / 1024**3:.1f} GiB free; give it unpacked"
        )


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and not path.is_absolute() and ".." not in path.parts and ":" not in name
