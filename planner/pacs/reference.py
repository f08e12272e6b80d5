"""A CT on a server, in one word: pacs://SERVER/StudyInstanceUID/SeriesInstanceUID."""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.errors import ConfigurationError

SCHEME = "pacs://"
# PS3.5, 9.1; leading zeros, which it forbids, are met in the field and do no harm here.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
LONGEST_UID = 64


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID, and so nothing that means more than itself in a file name."""
    return len(text) <= LONGEST_UID and _UID.fullmatch(text) is not None


@dataclass(frozen=True)
class Reference:
    """A series on a server; raises ConfigurationError for what is no UID."""

    server: str
    study: str
    series: str

    def __post_init__(self) -> None:
        for what, uid in (("study", self.study), ("series", self.series)):
            if not is_uid(uid):
                raise ConfigurationError(
                    f"the {what} is not a DICOM UID; digits and dots are expected, 64 at most, as "
                    "`planner pacs find` prints them."
                )

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read pacs://SERVER/STUDY/SERIES."""
        parts = text.removeprefix(SCHEME).rstrip("/").split("/")
        if not text.startswith(SCHEME) or len(parts) != 3 or not parts[0]:
            raise ConfigurationError(
                f"{SCHEME}SERVER/StudyInstanceUID/SeriesInstanceUID is expected; see "
                "`planner pacs find` for the UIDs."
            )
        return cls(*parts)
