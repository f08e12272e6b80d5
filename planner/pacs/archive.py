"""What any server of images can be asked, whatever language it speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol, Self

from pydicom.dataset import Dataset

from planner.errors import ConfigurationError
from planner.pacs.servers import Server

# A whole body in slices of half a millimetre is 4,000 files; more is no series of one CT.
MOST_INSTANCES = 20_000
_DATES = re.compile(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}", re.ASCII)
# Keeps the bytes of one DICOM file that the server gave; may be called from several threads.
Keep = Callable[[bytes], None]
# Told of each file: stored (empty), or why the server refused it.
Told = Callable[["Outgoing", str], None]


@dataclass(frozen=True)
class Query:
    """What to look for; empty fields match everything, and * and ? stand for other characters.

    date: YYYYMMDD, or a range YYYYMMDD-YYYYMMDD. Raises ConfigurationError for what no server can
    understand.
    """

    patient_id: str = ""
    patient_name: str = ""
    accession: str = ""
    date: str = ""
    modality: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if self.date and not _DATES.fullmatch(self.date):
            raise ConfigurationError("a date is YYYYMMDD, or a range YYYYMMDD-YYYYMMDD.")
        # A backslash parts values; the rest cannot stand in any.
        if any("\\" in value or not value.isprintable() for value in astuple(self)):
            raise ConfigurationError("what to look for must be printable, without a backslash.")


@dataclass(frozen=True)
class StudyFound:
    """A study on a server. The last three name the patient."""

    uid: str
    date: str
    description: str
    modalities: str
    series: str
    patient_id: str
    patient_name: str
    birth_date: str

    @classmethod
    def of(cls, item: Dataset) -> Self:
        """Read what a search gave."""
        return cls(
            uid=text_of(item, "StudyInstanceUID"),
            date=text_of(item, "StudyDate"),
            description=text_of(item, "StudyDescription"),
            modalities=text_of(item, "ModalitiesInStudy"),
            series=text_of(item, "NumberOfStudyRelatedSeries"),
            patient_id=text_of(item, "PatientID"),
            patient_name=text_of(item, "PatientName"),
            birth_date=text_of(item, "PatientBirthDate"),
        )


@dataclass(frozen=True)
class SeriesFound:
    """A series on a server."""

    uid: str
    number: str
    modality: str
    description: str
    instances: str

    @classmethod
    def of(cls, item: Dataset) -> Self:
        """Read what a search gave."""
        return cls(
            uid=text_of(item, "SeriesInstanceUID"),
            number=text_of(item, "SeriesNumber"),
            modality=text_of(item, "Modality"),
            description=text_of(item, "SeriesDescription"),
            instances=text_of(item, "NumberOfSeriesRelatedInstances"),
        )


@dataclass(frozen=True)
class Outgoing:
    """A DICOM file on its way to a server."""

    path: Path
    study: str
    series: str
    uid: str
    sop_class: str
    transfer_syntax: str


def text_of(item: Dataset, keyword: str) -> str:
    """Read an element as text; several values with a slash between, nothing where it is absent."""
    value = item.get(keyword, "")
    if value is None:
        return ""
    return "/".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class Archive(Protocol):
    """A server; every method raises ServerError where it cannot be reached or refuses."""

    @property
    def server(self) -> Server:
        """How the user named it."""
        ...

    def studies(self, query: Query, limit: int) -> list[StudyFound]:
        """Find studies, the first `limit` of them."""
        ...

    def series(self, study: str) -> list[SeriesFound]:
        """List the series of a study."""
        ...

    def instances(self, study: str, series: str) -> list[str]:
        """List the SOP instance UIDs of a series, one more than MOST_INSTANCES at most.

        Empty where there is none such; ServerError where the list may not be all.
        """
        ...

    def retrieve(self, study: str, series: str, uids: Sequence[str], keep: Keep) -> None:
        """Have instances sent, over one connection; it may give fewer than were asked for."""
        ...

    def store(self, files: Sequence[Outgoing], told: Told) -> None:
        """Send files over one connection, telling of each; ServerError where it breaks off."""
        ...

    def abort(self) -> None:
        """Break off every transfer under way, from another thread."""
        ...
