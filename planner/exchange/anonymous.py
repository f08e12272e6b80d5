"""The same plan without the patient: headers by PS3.15's Basic Profile, and our own texts likewise.

The profile's table comes from dicom-anonymizer. It is applied to nested datasets as well, which
that library leaves alone. In plan.json, UIDs are replaced by the same new ones, descriptions and
whatever a reviewer wrote or signed are emptied, and dates say 1900: what a person typed may name
anybody. The hash of the voxels stays: it tells a CT only to who holds it already.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from planner.errors import ConfigurationError
from planner.exchange.handover import Handover
from planner.export.plan_document import PlanDocument
from planner.reading.quiet import quiet_pydicom

EXTRA = ("anonymize", "dicomanonymizer")
NEVER = datetime(1900, 1, 1, tzinfo=UTC)
PROFILE = "dicomfields_2026c"
METHOD = "PS3.15 Basic Profile, planner"
# As the profile's code for its own name, CID 7050.
PROFILE_CODE = ("113100", "DCM", "Basic Application Confidentiality Profile")
# Which house numbers patients and studies; not in the profile's table, but it names the house.
FACILITY = (
    "IssuerOfAccessionNumberSequence",
    "IssuerOfPatientIDQualifiersSequence",
    "IssuerOfPatientID",
)
A_UID = re.compile(r"\b[0-2](?:\.(?:0|[1-9]\d*)){4,}\b")
# A remark of the reader quotes a file's name, which may be anybody's.
QUOTED = re.compile(r"such as ('[^']*'|\"[^\"]*\")")
SHORTEST = 4
"""Letters from which an identifier is looked for in what is left; shorter ones are in words."""
OURS = frozenset({"short", "long", "axis", "entry", "left", "right", "before"})
"""Words of the planner's own ids; some are names of people as well."""
NAMING = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientAddress",
    "PatientMotherBirthName",
    "PatientTelephoneNumbers",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
)

# PS3.3 C.7.3.1.1.2: what a station enters here is a code; of other texts nobody knows.
POSITION = re.compile("(HF|FF|LF|RF|AF|PF)(P|S|DR|DL)")

Rename = Callable[[str], UID]


def anonymous(handover: Handover) -> Handover:
    """Return what is handed over without anything that identifies the patient.

    Raises ConfigurationError where the texts of the plan still hold a name or number of the
    headers afterwards, such as in the id of a path.
    """
    rename = _renamer(handover.settings.reproducible, handover.opened.plan_sha256)
    headers = tuple(_clean(header, rename) for header in handover.headers)
    document = _document(handover.document, rename)
    _refuse_remains(document, handover.headers)
    opened = handover.opened
    frame = document.frame.frame_of_reference_uid
    volume = opened.volume
    if volume is not None:
        source = replace(
            volume.source,
            study_instance_uid=document.ct.study_instance_uid,
            series_instance_uid=document.ct.series_instance_uid,
            **_plain_words(volume.source.patient_position),
        )
        volume = replace(volume, grid=_in_frame(volume.grid, frame), source=source, warnings=())
    anatomy = replace(opened.anatomy, grid=_in_frame(opened.anatomy.grid, frame))
    ground = volume or replace(opened.ground, grid=_in_frame(opened.ground.grid, frame))
    clean = replace(opened, document=document, anatomy=anatomy, volume=volume, ground=ground)
    return replace(handover, opened=clean, headers=headers, moment=NEVER, renamed=rename)


def _renamer(reproducible: bool, plan_sha256: str) -> Rename:
    """Give every UID a new one, the same for the same; new each time unless wanted otherwise."""
    salt = f"anonymous {plan_sha256}" if reproducible else secrets.token_hex(32)

    def rename(uid: str) -> UID:
        return generate_uid(entropy_srcs=[hashlib.sha256(f"{salt} {uid}".encode()).hexdigest()])

    return rename


def _in_frame(grid: Any, frame: str) -> Any:
    return replace(grid, frame_of_reference_uid=frame)


def _clean(header: Dataset, rename: Rename) -> Dataset:
    """Apply the profile to a dataset and all that is nested in it."""
    from dicomanonymizer import simpledicomanonymizer as profile

    rules = profile.initialize_actions(PROFILE)
    for tag, action in rules.items():
        if action in (profile.replace_UID, profile.delete_or_empty_or_replace_UID):
            rules[tag] = _uid_rule(rename, action)
    with quiet_pydicom():
        out = _copy(header)
        for each in _nested(out):
            profile.anonymize_dataset(each, base_rules_gen=lambda: dict(rules))
            _drop_dates(each)
    for keyword in FACILITY:
        if keyword in out:
            delattr(out, keyword)
    out.LongitudinalTemporalInformationModified = "REMOVED"
    out.PatientIdentityRemoved = "YES"
    out.DeidentificationMethod = METHOD
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = PROFILE_CODE
    out.DeidentificationMethodCodeSequence = [code]
    return out


def _copy(header: Dataset) -> Dataset:
    """Copy a dataset deeply, without its file's place."""
    out = Dataset()
    for element in header:
        out.add(deepcopy(element))
    return out


def _nested(dataset: Dataset) -> Iterator[Dataset]:
    """A dataset after all those within it."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _nested(item)
    yield dataset


def _uid_rule(rename: Rename, action: Callable[[Dataset, Any], None]) -> Any:
    def rule(dataset: Dataset, tag: Any) -> None:
        element = dataset.get(tag)
        if element is None:
            return
        if element.VR != "UI":
            action(dataset, tag)
        elif element.VM > 1:
            element.value = [rename(str(uid)) for uid in element.value]
        elif element.value:
            element.value = rename(str(element.value))

    return rule


def _drop_dates(dataset: Dataset) -> None:
    """Empty the dates that the library sets to the year 1: some readers take them for real."""
    for element in dataset:
        if element.VR in ("DA", "TM", "DT"):
            element.value = ""


def _document(document: PlanDocument, rename: Rename) -> PlanDocument:
    values = document.model_dump(mode="json", exclude_none=True)
    for place, name in (
        ("ct", "study_instance_uid"),
        ("ct", "series_instance_uid"),
        ("frame", "frame_of_reference_uid"),
    ):
        old = values[place].get(name, "")
        values[place][name] = str(rename(old)) if old else ""
    values["warnings"] = [
        QUOTED.sub("such as …", A_UID.sub(lambda uid: str(rename(uid[0])), line))
        for line in values["warnings"]
    ]
    values["ct"] |= _plain_words(document.ct.patient_position)
    made = values["provenance"]
    values["provenance"] = {"version": made["version"], "created": NEVER.isoformat()}
    if "review" in values:
        values["review"] |= {"note": "", "changes": [], "saved": NEVER.isoformat()}
        values["review"]["before_sha256"] = ""
        values["review"].pop("signed", None)
    for item in values["trajectories"]:
        if "review" in item:
            item["review"] |= {"note": "", "reason": ""}
    return PlanDocument.model_validate(values)


def _plain_words(position: str) -> dict[str, Any]:
    """The free texts of a CT's headers without what anybody wrote there; a code stays."""
    emptied = dict.fromkeys(("series_description", "choice", "convolution_kernel"), "")
    return emptied | {"patient_position": position if POSITION.fullmatch(position) else ""}


def _refuse_remains(document: PlanDocument, headers: tuple[Dataset, ...]) -> None:
    """Refuse a plan whose texts still hold what names the patient; says where, never what.

    A word of a name counts in an id, which a person may have typed. In other texts only the whole
    name does: Long and Short are names, and words of ours.
    """
    ids = {word for item in document.trajectories for word in _plain(item.id)}
    text = " ".join(_plain(document.model_dump_json()))
    for header in headers[:1]:
        for keyword in NAMING:
            words = [word for word in _plain(header.get(keyword)) if len(word) >= SHORTEST]
            whole = " ".join(_plain(header.get(keyword)))
            in_ids = not ids.isdisjoint(set(words) - OURS)
            if in_ids or (len(whole) >= SHORTEST and f" {whole} " in f" {text} "):
                raise ConfigurationError(
                    f"the {'ids of paths' if in_ids else 'texts of plan.json'} hold the {keyword} "
                    "of the CT after anonymizing. Nothing was written. Remove it there, and export "
                    "again."
                )


def _plain(value: Any) -> list[str]:
    """Words of a header's value, or of a text, in small letters and without marks."""
    text = "" if value is None else str(value)
    return re.sub(r"[\W_]+", " ", text.casefold()).split()
