"""From a heap of DICOM to a manifest with pseudonyms, and a key that leads back from them.

One row per study of a patient that `planner plan` can plan on, with the series that it would choose
among those of the study. Studies of one PatientID (PatientName where there is none) are one
patient's, unless issuer or birth date, where both studies have one, say otherwise.

What may identify a patient goes into the key file alone: readable by its owner only, and never in a
folder that is handed on, the manifest's or the images'. The manifest gets pseudonyms, sex and age,
but also the path of each CT and the UID of its series: UIDs lead back to the patient for whoever
has the archive, and paths may hold a name or a number; `ScanReport.notes` says where they do.

Pseudonyms are numbered in the order of a salted hash, which tells neither names nor dates. With the
key of an earlier scan, patients and studies keep their names and new ones are numbered after them;
the numbers then tell which scan found a patient first. Two scans must not share a key at once.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pydicom

from planner.cohort.cases import SAFE_NAME, Case, Value
from planner.cohort.manifest import key_text, read_table, write_manifest
from planner.errors import ConfigurationError, UnsuitableCtError
from planner.export.atomic import check_file, write_file
from planner.export.cells import inert
from planner.reading.choose import choose
from planner.reading.headers import SliceHeader
from planner.reading.limits import FEWEST_SLICES
from planner.reading.quiet import quiet_pydicom
from planner.reading.series import Findings, Progress, find_stacks
from planner.reading.source import Source, opened
from planner.reading.stacks import Stack
from planner.reading.values import legible

PSEUDONYM = re.compile(r"case-(\d+)", re.IGNORECASE)
AGE = re.compile(r"(\d{1,3})([YMWD])")
PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
# Ages above 89 single a person out (HIPAA, 45 CFR 164.514(b)(2)(i)(C)): they are written as one.
OLDEST = 90
# Nobody is older; dates that say so stand for unknown ones, such as a birth in 1900.
OLDEST_EVER = 120
# Letters from which a name or number is looked for within a path; shorter ones are part of words.
SHORTEST_PART, SHORTEST_WORD = 4, 3
WHO = ("PatientID", "PatientName", "IssuerOfPatientID", "PatientBirthDate")
TAGS: list[Any] = [*WHO, "PatientSex", "PatientAge", "StudyDate"]


@dataclass(frozen=True)
class ScanReport:
    """What a scan found.

    cases: as in the manifest, sorted by id. skipped: why studies are not among them, with how many
    each time. notes: what the user should know; neither names a patient. files: DICOM files read.
    """

    cases: tuple[Case, ...]
    skipped: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    files: int


@dataclass(frozen=True)
class _Entry:
    """One study as the key holds it: its pseudonyms, empty before it has any, and whose it is."""

    subject: str
    session: str
    patient_id: str
    patient_name: str
    study_date: str
    study_uid: str
    issuer: str
    birth_date: str


COLUMNS = tuple(each.name for each in fields(_Entry))
SALT = "salt"


def scan(
    folder: Path,
    manifest: Path,
    key: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ScanReport:
    """Write the manifest of all usable CTs below a folder, and the key to its pseudonyms.

    folder: DICOM files in any nesting, several patients and series mixed; archives in it are not
    opened. key: read and extended where it exists. overwrite: replace a manifest that exists.
    Headers are read, 2 kB of each kept (200,000 images at most); pixels only where two images of
    one series lie at the same place. Raises ConfigurationError for a key that would not be kept
    apart or is none, UnsuitableCtError where no CT is usable, OutputError; no message names a
    patient, unless a path that was given does.
    """
    folder, manifest, key = folder.absolute(), manifest.absolute(), key.absolute()
    _check_places(folder, manifest, key, overwrite)
    known, salt = _read_key(key)
    with opened(folder) as source:
        if source.image is not None:
            raise UnsuitableCtError(f"{folder} holds no DICOM; name its volume file in a manifest.")
        findings = find_stacks(source, progress)
        found, skipped = _studies(findings)
    reasons = tuple(sorted(skipped.items()))
    if not found:
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons) or "no images"
        raise UnsuitableCtError(
            f"{folder} holds no study that can be planned on: {told}. Nothing was written."
        )
    before, known = known, _up_to_date(known, [entry for entry, _ in found])
    entries = _name(known, [entry for entry, _ in found], salt)
    cases = [
        replace(case, subject=entry.subject, session=entry.session)
        for entry, (_, case) in zip(entries, found, strict=True)
    ]
    notes = [*_reading_notes(source, findings), *_identity_notes(before, known, entries)]
    notes += _telling(cases, entries, manifest.parent)
    cases.sort(key=lambda case: case.id)
    # The key first: a manifest without it would lead nowhere, a key with more rows does no harm.
    _write_key(key, tuple(dict.fromkeys((*known, *entries))), salt)
    write_manifest(cases, manifest)
    return ScanReport(tuple(cases), reasons, tuple(notes), len(source.dicom))


def _check_places(folder: Path, manifest: Path, key: Path, overwrite: bool) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder; give the folder that holds the DICOM.")
    for path, what in ((manifest, "manifest"), (key, "key")):
        if path.suffix.lower() != ".csv":
            raise ConfigurationError(f"the {what} is written as .csv; {path} is named otherwise.")
    for shared, what in ((manifest.parent, "manifest's folder"), (folder, "folder of the images")):
        if _lies_in(key, shared):
            raise ConfigurationError(
                f"the key {key} lies in the {what}, {shared}, and would be handed on with it. Keep "
                "it apart: name a folder that only those may read who may know the patients."
            )
    check_file(manifest, overwrite)
    check_file(key, overwrite=True)


def _lies_in(path: Path, folder: Path) -> bool:
    """Tell whether a path is below a folder, by any of their names."""
    above = {*path.resolve().parents, *(path.parent.resolve() / path.name).parents}
    there = [each for each in above if each.exists() and folder.exists()]
    return folder.resolve() in above or any(each.samefile(folder) for each in there)


def _studies(findings: Findings) -> tuple[list[tuple[_Entry, Case]], Counter[str]]:
    """Choose the CT of every study, nameless as yet; count the others by reason."""
    studies: dict[tuple[str, str], list[Stack]] = {}
    places: dict[str, set[str]] = {}
    for stack in findings.stacks:
        head = stack.first
        studies.setdefault((head.patient_key, head.study_uid), []).append(stack)
        # Of all stacks of a series: with one of them left out, the others change their labels.
        places.setdefault(head.series_uid, set()).update(str(p.path.parent) for p in stack.planes)
    found: list[tuple[_Entry, Case]] = []
    skipped: Counter[str] = Counter()
    for stacks in studies.values():
        try:
            best, _, _ = choose(stacks)
        except UnsuitableCtError:  # its message quotes names of files
            skipped[_reason(stacks)] += 1
            continue
        ct = Path(os.path.commonpath(places[best.first.series_uid]))
        if str(ct).encode(errors="replace").decode() != str(ct):  # a manifest could not name it
            skipped["a folder whose name is no valid Unicode: rename it"] += 1
            continue
        entry, covariates = _identity(best.first)
        found.append((entry, Case("", ct, series=best.label, covariates=covariates)))
    return found, skipped


def _reason(stacks: Sequence[Stack]) -> str:
    images = [stack for stack in stacks if stack.first.modality == "CT"]
    if not images:
        return "no CT images"
    if any(not stack.problems for stack in images):
        return "several times or acquisitions of one place: add the series to plan on by hand"
    if any(plane.fault for stack in images for plane in stack.planes):
        return "damaged or incomplete files"
    if max(len(stack.planes) for stack in images) < FEWEST_SLICES:
        return f"fewer than {FEWEST_SLICES} slices in every series"
    return "no series that can be planned on: `planner inspect` says why"


def _identity(plane: SliceHeader) -> tuple[_Entry, dict[str, Value]]:
    """Read whose a plane is, and what of it may be handed on."""
    with quiet_pydicom():
        # Forced, as the pass before has seen that this is DICOM, with a preamble or without.
        ds = pydicom.dcmread(plane.path, stop_before_pixels=True, force=True, specific_tags=TAGS)
        text = {name: legible(ds, name) for name in TAGS}
    born, day = text["PatientBirthDate"], text["StudyDate"]
    known = (text["PatientID"], text["PatientName"], day, plane.study_uid)
    entry = _Entry("", "", *known, issuer=text["IssuerOfPatientID"], birth_date=born)
    years, sex = _years(text["PatientAge"], born, day), text["PatientSex"].upper()
    covariates: dict[str, Value] = {"sex": sex} if sex in ("F", "M", "O") else {}
    return entry, covariates | ({} if years is None else {"age": float(min(years, OLDEST))})


def _years(age: str, born: str, day: str) -> int | None:
    """Completed years, from PatientAge or else two dates; None where they give no age."""
    match = AGE.fullmatch(age)
    if match:
        years = int(match.group(1)) // PER_YEAR[match.group(2)]
    else:
        try:
            birth, study = date.fromisoformat(born), date.fromisoformat(day)
        except ValueError:
            return None
        years = study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))
    return years if 0 <= years <= OLDEST_EVER else None


def _up_to_date(known: Sequence[_Entry], found: Sequence[_Entry]) -> list[_Entry]:
    """Put into the key what the headers say now of its studies, such as a corrected number."""
    by_uid: dict[str, list[_Entry]] = {}
    for entry in found:
        by_uid.setdefault(entry.study_uid, []).append(entry)
    out = []
    for old in known:
        now = next((e for e in by_uid.get(old.study_uid, ()) if _is_one(e, old)), old)
        out.append(replace(now, subject=old.subject, session=old.session))
    return out


def _is_one(a: _Entry, b: _Entry) -> bool:
    """Tell whether two headers of one study UID name one patient: careless anonymisers reuse it."""
    same_name = (a.patient_name, a.birth_date) == (b.patient_name, b.birth_date)
    return _id(a) == _id(b) or (same_name and bool(a.birth_date))


def _name(known: Sequence[_Entry], found: Sequence[_Entry], salt: str) -> list[_Entry]:
    """Give pseudonyms to what was found, those of the key where it has them."""
    people: dict[str, list[list[_Entry]]] = {}
    # What the key knows comes first, then what says most of itself: the rest joins them.
    order = sorted(found, key=lambda e: (not e.issuer, not e.birth_date, e.study_date, e.study_uid))
    for entry in (*known, *order):
        same_id = people.setdefault(_id(entry), [])
        for person in same_id:
            if all(_may_be_one(entry, other) for other in person):
                person.append(entry)
                break
        else:
            same_id.append([entry])
    matches = (PSEUDONYM.fullmatch(entry.subject) for entry in known)
    last = max((int(match.group(1)) for match in matches if match), default=0)
    names: dict[_Entry, _Entry] = {}
    for who in sorted(people, key=lambda who: _hash(salt, who)):
        for person in people[who]:
            last += not any(entry.subject for entry in person)
            names |= _sessions(person, f"case-{last:04d}")
    return [names[entry] for entry in found]


def _hash(salt: str, text: str) -> bytes:
    return hashlib.sha256(f"{salt}\0{text}".encode(errors="backslashreplace")).digest()


def _id(entry: _Entry) -> str:
    """What studies of one patient have in common: the study itself where it names nobody."""
    kinds = (("id", entry.patient_id), ("name", entry.patient_name), ("study", entry.study_uid))
    return next(("\0".join(each) for each in kinds if each[1]), "")


def _may_be_one(a: _Entry, b: _Entry) -> bool:
    """Tell whether two studies of one id can be of one patient: one number may have two holders."""
    pairs = ((a.issuer, b.issuer), (a.birth_date, b.birth_date))
    return all(not x or not y or x == y for x, y in pairs)


def _sessions(person: Sequence[_Entry], subject: str) -> dict[_Entry, _Entry]:
    """Name the studies of one patient; those that the key knows keep their names.

    subject: for a patient whom the key does not know.
    """
    held = [entry for entry in person if entry.subject]
    by_uid = {entry.study_uid: entry for entry in held}
    fresh = [entry for entry in person if not entry.subject]
    out = {e: by_uid[e.study_uid] for e in fresh if e.study_uid in by_uid}
    new = sorted((e for e in fresh if e not in out), key=lambda e: (e.study_date, e.study_uid))
    subject = min((entry.subject for entry in held), default=subject)
    taken = {entry.session for entry in held}
    free = (f"ses-{k}" for k in count(len(taken) + 1) if f"ses-{k}" not in taken)
    for entry in new:
        session = next(free) if held or len(new) > 1 else ""
        out[entry] = replace(entry, subject=subject, session=session)
    return out


def _identity_notes(
    before: Sequence[_Entry], known: Sequence[_Entry], named: Sequence[_Entry]
) -> list[str]:
    notes = []
    holders = {(entry.patient_id, entry.subject) for entry in named if entry.patient_id}
    if len(holders) > len({number for number, _ in holders}):
        notes.append(
            "a patient ID has several holders, of unlike issuer or birth date; each is a subject"
        )
    nameless = sum(not entry.patient_id and not entry.patient_name for entry in named)
    if nameless:
        notes.append(
            f"{nameless} studies name no patient; each is a subject, though several may be of one"
        )
    kept = sum(old.patient_id != new.patient_id for old, new in zip(before, known, strict=True))
    held, uids = set(known), {entry.study_uid for entry in known}
    moved = sum(entry.study_uid in uids and entry not in held for entry in named)
    if kept or moved:
        notes.append(
            f"of the studies in the key, {kept} have another patient ID now and keep their "
            f"pseudonyms, and {moved} seem to be of another patient and have new ones"
        )
    return notes


def _reading_notes(source: Source, findings: Findings) -> list[str]:
    # What the reading itself says of these quotes names of files.
    notes = []
    if findings.unreadable:
        notes.append(
            f"{len(findings.unreadable)} DICOM files cannot be read; planning refuses a CT whose "
            "folder holds one, and `planner inspect` names it"
        )
    if source.others or source.notes:
        notes.append(
            "other files and links were passed over, such as volume files, archives and links to "
            "folders: add what is a CT to the manifest by hand"
        )
    return notes


def _telling(cases: Sequence[Case], entries: Sequence[_Entry], folder: Path) -> list[str]:
    """Say how many rows hold what names their patient, in a path or in a UID."""
    texts = [f"{key_text(case.ct, folder)} {case.series}" for case in cases]
    count = sum(map(_tells, texts, entries))
    if not count:
        return []
    return [
        f"{count} rows of the manifest hold a name, number or birth date of their patient, in the "
        "path of the CT or the UID of its series: rename the folders and scan again before the "
        "manifest is handed on"
    ]


def _tells(text: str, entry: _Entry) -> bool:
    text = text.casefold()
    words = frozenset(re.split(r"[\W_]+", text))
    secret = [*re.split(r"[\W_]+", entry.patient_name), entry.patient_id, entry.birth_date]
    secret.append(re.sub(r"[\W_]+", "", entry.patient_id))
    return any(
        (len(part) >= SHORTEST_PART and part in text)
        or (len(part) >= SHORTEST_WORD and part in words)
        for part in map(str.casefold, secret)
    )


def _read_key(path: Path) -> tuple[list[_Entry], str]:
    """Read what an earlier scan noted, and its salt; nothing and a new salt where there is none."""
    if not path.exists():
        return [], secrets.token_hex(16)
    defects: list[str] = []
    columns, rows = read_table(path, defects)
    salts = {cells.get(SALT, "") for _, cells in rows}
    entries = [
        _Entry(**{name: cells.get(name, "").strip() for name in COLUMNS}) for _, cells in rows
    ]
    names = [(entry.subject.casefold(), entry.session.casefold()) for entry in entries]
    sound = all(SAFE_NAME.fullmatch(a) and (not b or SAFE_NAME.fullmatch(b)) for a, b in names)
    whole = {*columns} == {*COLUMNS, SALT} and len(salts) == 1 and "" not in salts
    if defects or not whole or not sound or len(set(names)) < len(names):
        raise ConfigurationError(
            f"{path} is no key of an earlier scan: the columns {', '.join((*COLUMNS, SALT))}, one "
            "salt, and subject and session of its own for each row are expected. Nothing was "
            "changed; name another file, or correct this one."
        )
    return entries, salts.pop()


def _write_key(path: Path, entries: Sequence[_Entry], salt: str) -> None:
    def write(part: Path) -> None:
        # For the owner alone from the first byte on.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="") as stream:
            writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow((*COLUMNS, SALT))
            writer.writerows((*map(inert, astuple(entry)), salt) for entry in entries)

    write_file(path, write)
