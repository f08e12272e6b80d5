"""What makes this sacrum special, one file each, from evidence that the planning does not use.

`FINDINGS` gives the order: what stands in a needle's way first, then what the bone is like, then
what the levels rest on. Each is a function of anatomy and CT; none changes a plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from planner.anatomy.findings.dense_region import find_dense_region
from planner.anatomy.findings.density import find_density
from planner.anatomy.findings.dysmorphism import find_dysmorphism
from planner.anatomy.findings.fracture import find_fracture
from planner.anatomy.findings.hardware import find_hardware
from planner.anatomy.findings.numbering import find_numbering
from planner.model.anatomy import Anatomy
from planner.model.finding import Finding, Weight
from planner.model.volume import Volume


class FindingRule(Protocol):
    """A rule that looks for one thing."""

    def __call__(self, anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
        """Return what was found, or nothing."""
        ...


FINDINGS: tuple[FindingRule, ...] = (
    find_hardware,
    find_dense_region,
    find_fracture,
    find_density,
    find_dysmorphism,
    find_numbering,
)


def look_for_findings(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Apply every rule, in the order of FINDINGS.

    Raises UntrustedAnatomyError when a structure that must be kept clear of was not found.
    """
    return tuple(item for rule in FINDINGS for item in rule(anatomy, volume))


def to_warnings(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the messages that a reader should see: warnings and notes, records left out."""
    shown = [item for item in findings if item.weight is not Weight.RECORD]
    return tuple(item.message for item in shown)


__all__ = ["FINDINGS", "FindingRule", "look_for_findings", "to_warnings"]
