"""Unpack a .zip that may have been made to do harm.

Everything is judged by the archive's table before a byte is written: names, kinds, methods, sizes
and how they overlap. Archives inside the archive are not opened. While unpacking, no member can
grow beyond the size that was judged.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from planner.errors import UnsuitableCtError

# A whole-body CT of thin slices takes 2 GB; 16 GB is no CT of one examination.
LARGEST_ARCHIVE_BYTES = 16 * 1024**3
MOST_MEMBERS = 200_000
# Exports nest patient, study, series and image; names of a path are also limited by the system.
DEEPEST_MEMBER = 64
# Slices shrink to a third, empty ones to a hundredth; below the floor a ratio does no harm.
MOST_TIMES_LARGER = 100
HARMLESS_BYTES = 1024**3
ENCRYPTED_FLAG = 0x1
# Python unpacks bzip2 and LZMA without a bound on memory, deflate in pieces.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
CHUNK_BYTES = 1 << 20
UNIX = 3
DRIVE = re.compile(r"[A-Za-z]:")
"""A member that begins with the letter of a drive leads out of the folder on Windows."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into an empty folder; raises UnsuitableCtError before it does harm."""
    try:
        with zipfile.ZipFile(archive) as opened:
            listed = opened.infolist()
            _check_table(archive, listed, folder)
            for member in listed:
                if member.is_dir():
                    continue
                target = folder / PurePosixPath(member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, target.open("xb") as out:
                    shutil.copyfileobj(packed, out, CHUNK_BYTES)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, zlib.error, ValueError) as error:
        # Names that are not in the encoding they state are ValueErrors.
        raise UnsuitableCtError(
            f"{archive} is damaged or no .zip archive ({_told(error)}); pack or copy it again"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UnsuitableCtError(
            f"{archive} holds a file and a folder, or two files, of the same name; which of them "
            "belongs to the CT is unknown, pack the folder again"
        ) from error
    except (RuntimeError, NotImplementedError) as error:
        raise UnsuitableCtError(
            f"{archive} cannot be unpacked ({_told(error)}); give it unpacked or as a plain .zip"
        ) from error


def _check_table(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    if any(m.flag_bits & ENCRYPTED_FLAG for m in members):
        raise UnsuitableCtError(f"{archive} is encrypted; give it decrypted")
    for wrong, what in (
        (lambda m: not _is_safe(m.filename), "point outside of it"),
        (_is_special, "are links or no files"),
        (lambda m: m.filename.count("/") > DEEPEST_MEMBER, f"lie over {DEEPEST_MEMBER} deep"),
    ):
        found = [m.filename for m in members if wrong(m)]
        if found:
            raise UnsuitableCtError(
                f"{archive} holds {len(found)} members that {what}, such as {found[0][:80]!r}; "
                "such an archive is not unpacked, pack the folder again"
            )
    if any(m.compress_type not in METHODS for m in members):
        raise UnsuitableCtError(
            f"{archive} is packed by another method than deflate; pack it as a plain .zip"
        )
    _check_sizes(archive, members, folder)


def _check_sizes(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    total = sum(m.file_size for m in members)
    if len(members) > MOST_MEMBERS or total > LARGEST_ARCHIVE_BYTES:
        raise UnsuitableCtError(
            f"{archive} unpacks to {total / 1024**3:.1f} GiB in {len(members)} files; at most "
            f"{LARGEST_ARCHIVE_BYTES / 1024**3:.0f} GiB in {MOST_MEMBERS} files are read; pack one "
            "examination"
        )
    size = archive.stat().st_size
    if sum(m.compress_size for m in members) > size:
        raise UnsuitableCtError(
            f"{archive} is damaged or made to do harm: its members overlap; pack the folder again"
        )
    if total > max(HARMLESS_BYTES, MOST_TIMES_LARGER * size):
        raise UnsuitableCtError(
            f"{archive} unpacks to {total / max(size, 1):.0f} times its size, no CT to more than "
            f"{MOST_TIMES_LARGER} times; give it unpacked"
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UnsuitableCtError(
            f"{archive} unpacks to {total / 1024**3:.1f} GiB and the temporary folder has "
            f"{free / 1024**3:.1f} GiB free; give it unpacked"
        )


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    # On Windows a colon leads to another drive, or into a hidden stream of a file.
    colon = DRIVE.match(name) or (os.name == "nt" and ":" in name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not colon


def _is_special(member: zipfile.ZipInfo) -> bool:
    """Tell links, pipes and devices, as Unix notes them, from files and folders."""
    kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == UNIX else 0
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _told(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
