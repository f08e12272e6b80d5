"""What makes a sacrum special: one thing found in a CT, in words and in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Weight(StrEnum):
    """How much a finding asks of the reader."""

    RECORD = "record"
    """A figure worth keeping; nothing to look at."""
    NOTE = "note"
    """Common or harmless in itself, but a plan is read differently with it."""
    WARNING = "warning"
    """A radiologist should look before the plan is used."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    name: stable key, such as `hardware`. message: one sentence or two for a reader, with the
    figures that it rests on. measures: figures by name, the unit at the end of each name.
    """

    name: str
    message: str
    weight: Weight = Weight.WARNING
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {name: float(value) for name, value in self.measures.items()}
        object.__setattr__(self, "measures", MappingProxyType(plain))
