"""Sends DICOM files to a server, and reads back what it made of them.

A server's word is not enough: Orthanc 1.10 with a full disk answers that it stored a file, and
lists it afterwards, when its copy is cut off. Reading back finds that, unless a server answers from
a memory of what it was just sent.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag

from planner.errors import ConfigurationError, PlannerError, ServerError
from planner.pacs.archive import Archive, Outgoing
from planner.pacs.received import FAULTS, read_to_send, read_whole
from planner.pacs.reference import is_uid
from planner.pacs.rounds import in_rounds

SUFFIX = ".dcm"
PIXELS = Tag(0x7FE00010)
UNSEEN = "TransferSyntaxUID, and the pixels of it were not compared,"
# What a server may put right by its own register of patients and examinations (PS3.4, B.4.1.3), or
# say of where it keeps the file; with it all of group 0010, private groups and group lengths.
COERCIBLE = {
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "ReferringPhysicianName",
    "RetrieveAETitle",
    "InstanceAvailability",
    "TimezoneOffsetFromUTC",
    "OriginalAttributesSequence",
    "IssuerOfAccessionNumberSequence",
    "RequestAttributesSequence",
}
_TAGS = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]


def dicom_files(places: Sequence[Path]) -> list[Outgoing]:
    """Find the DICOM files to send: files that were named, and *.dcm in folders and below.

    Raises ConfigurationError for a place without any, for what is no DICOM file, and for two files
    that claim to be the same object.
    """
    paths: list[Path] = []
    for place in places:
        found = sorted(place.rglob(f"*{SUFFIX}")) if place.is_dir() else [place]
        if not found:
            raise ConfigurationError(
                f"{place} holds no DICOM files to send; make them with `planner export`, with the "
                "formats dicom-seg, dicom-sr, dicom-pdf or dicom-sc."
            )
        paths += found
    files = [_outgoing(path) for path in dict.fromkeys(paths)]
    first: dict[str, Outgoing] = {}
    for each in files:
        same = first.setdefault(each.uid, each)
        if same is not each:
            raise ConfigurationError(
                f"{each.path} and {same.path} claim to be the same object; send only one of them."
            )
    return files


@dataclass(frozen=True)
class Sent:
    """What was sent. changed: how many files came back with another value, by keyword."""

    files: int
    changed: dict[str, int] = field(default_factory=dict)


def send_files(
    archive: Archive,
    files: Sequence[Outgoing],
    progress: Callable[[str, float], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    read_back: bool = True,
) -> Sent:
    """Send files, see that the server lists them, and read them back.

    read_back: whether to; a server may not let us. Raises ServerError where it refused one, does
    not list it, or does not give its contents back. Sending again does no harm.
    """
    tell = progress or (lambda _stage, _part: None)
    answers: dict[str, str] = {}
    lock = Lock()

    def told(each: Outgoing, refusal: str) -> None:
        with lock:
            answers[each.uid] = refusal
            tell("send", len(answers) / len(files))

    def missing() -> list[Outgoing]:
        with lock:
            return [each for each in files if each.uid not in answers]

    tell("send", 0.0)
    try:
        in_rounds(missing, lambda batch: archive.store(batch, told), archive, sleep)
    except ServerError as error:
        raise ServerError(
            f"{error} {len(files) - len(missing())} of {len(files)} files were sent; the same "
            "command sends all of them again, which does no harm."
        ) from error
    _check_taken(files, answers)
    _check_listed(archive, files)
    if not read_back:
        return Sent(len(files))
    return Sent(len(files), dict(sorted(_read_back(archive, files, tell, sleep).items())))


def _check_taken(files: Sequence[Outgoing], answers: dict[str, str]) -> None:
    refused = [each for each in files if answers[each.uid]]
    if refused:
        raise ServerError(
            f"the server refused {len(refused)} of {len(files)} files, such as "
            f"{refused[0].path.name}: {answers[refused[0].uid]}. The others were sent."
        )


def _check_listed(archive: Archive, files: Sequence[Outgoing]) -> None:
    series = sorted({(each.study, each.series) for each in files})
    listed = {uid for study, one in series for uid in archive.instances(study, one)}
    lost = [each for each in files if each.uid not in listed]
    if lost:
        raise ServerError(
            f"the server took {len(files)} files but does not list {len(lost)} of them, such as "
            f"{lost[0].path.name}. It may need time to sort them in: look for them there, and send "
            "them again if they stay away."
        )


def _read_back(
    archive: Archive,
    files: Sequence[Outgoing],
    tell: Callable[[str, float], None],
    sleep: Callable[[float], None],
) -> Counter[str]:
    """Compare what the server keeps to what was sent; returns what it changed, by keyword."""
    sent = {each.uid: each for each in files}
    changed: dict[str, set[str]] = {}
    faults: list[PlannerError] = []
    lock = Lock()

    def keep(data: bytes) -> None:
        """Compare one; a fault of it is no reason to look at no other."""
        try:
            uid, differences = _compared(data, sent)
        except PlannerError as error:
            faults.append(error)
            return
        with lock:
            changed[uid] = differences
            tell("read back", len(changed) / len(files))

    def missing() -> list[Outgoing]:
        with lock:
            return [each for each in files if each.uid not in changed]

    def transfer(batch: Sequence[Outgoing]) -> None:
        faults.clear()  # those of an earlier round are mended, or come again
        for study, series in sorted({(each.study, each.series) for each in batch}):
            uids = [each.uid for each in batch if (each.study, each.series) == (study, series)]
            archive.retrieve(study, series, uids, keep)

    try:
        in_rounds(missing, transfer, archive, sleep)
    except ServerError as last:
        error = faults[-1] if faults else last
        raise ServerError(
            f"{len(missing())} of {len(files)} files that were sent and listed could not be read "
            f"back: {error} Do not rely on the copy there: see whether the server has room, and "
            "whether it lets us fetch."
        ) from error
    return Counter(name for names in changed.values() for name in names)


def _compared(data: bytes, sent: dict[str, Outgoing]) -> tuple[str, set[str]]:
    theirs = read_whole(data)
    each = sent.get(str(theirs.get("SOPInstanceUID", "")))
    if each is None:
        raise ServerError("the server sent what was not asked for.")
    return each.uid, _differences(read_to_send(each), theirs)


def _differences(ours: FileDataset, theirs: FileDataset) -> set[str]:
    """Keywords whose values differ; ServerError where a server has no business to change them."""
    syntaxes = ours.file_meta.TransferSyntaxUID, theirs.file_meta.TransferSyntaxUID
    packed = syntaxes[0] != syntaxes[1] and any(each.is_compressed for each in syntaxes)
    found = set()
    for tag in {element.tag for element in ours} | {element.tag for element in theirs}:
        if tag.element == 0 or (packed and tag == PIXELS):
            continue
        if _value(ours, tag) != _value(theirs, tag):
            keyword = keyword_for_tag(tag) or str(tag)
            if not (tag.group == 0x0010 or tag.is_private or keyword in COERCIBLE):
                raise ServerError(f"the server's copy is not what was sent: {keyword} differs.")
            found.add(keyword)
    return found | ({UNSEEN} if packed else set())


def _value(item: FileDataset, tag: BaseTag) -> object:
    """What an element holds, in a form that is equal where it is the same, NaN included."""
    if tag not in item:
        return None
    element = item[tag]
    if isinstance(element.value, bytes):
        return element.value.rstrip(b"\0")
    return json.dumps(element.to_json_dict(None, 0), sort_keys=True)


def _outgoing(path: Path) -> Outgoing:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        syntax = str(header.file_meta.TransferSyntaxUID)
        sop_class, uid, series, study = (str(header[name].value) for name in _TAGS)
    except (OSError, *FAULTS) as error:
        raise ConfigurationError(
            f"{path} cannot be sent: it cannot be read as a DICOM file with its UIDs."
        ) from error
    if not all(map(is_uid, (syntax, sop_class, uid, series, study))):
        raise ConfigurationError(f"{path} cannot be sent: one of its UIDs is none.")
    return Outgoing(path, study, series, uid, sop_class, syntax)
