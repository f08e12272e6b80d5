"""One patient of a cohort, as a manifest names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What becomes a folder's name and a column of the tables: portable on every file system.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Value = str | float
"""What a covariate or an outcome holds: a word or a number."""


@dataclass(frozen=True)
class Case:
    """One CT of one subject.

    subject, session: pseudonyms, safe as file names; session is empty where a subject has one CT.
    ct: what `planner plan` takes. series: its UID where there are several, else empty. anatomy,
    target: files, or None. covariates, outcomes: further columns of the manifest by name; a value
    that is not known is left out.
    """

    subject: str
    ct: Path
    session: str = ""
    series: str = ""
    anatomy: Path | None = None
    target: Path | None = None
    covariates: Mapping[str, Value] = field(default_factory=dict)
    outcomes: Mapping[str, Value] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of the case: unique in its cohort."""
        return f"{self.subject}_{self.session}" if self.session else self.subject
