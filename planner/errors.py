"""The whole exception tree.

Caller mistakes (a wrong type, a value outside its range) are ValueError or TypeError. Faults of
the data are children of PlannerError; each carries the exit status that the command line returns
and one message that says what, where, what was expected and what to do.
"""

from __future__ import annotations

from typing import Any


class PlannerError(Exception):
    """A fault of the data or its surroundings, told to the user in one paragraph."""

    exit_status = 1


class ConfigurationError(PlannerError):
    """The command line or the configuration file asks for something that does not exist."""

    exit_status = 2


class UnsuitableCtError(PlannerError):
    """The input cannot be read as a CT, or no plan can rest on it."""

    exit_status = 3


class UntrustedAnatomyError(PlannerError):
    """The anatomy was found, but independent evidence speaks against it.

    rejected: what was found all the same (planner.model.rejection.RejectedAnatomy) for a reviewer
    to look at; None where there is nothing to show.
    """

    exit_status = 4
    rejected: Any = None


class NoTrajectoryError(PlannerError):
    """No trajectory passes the hard limits."""

    exit_status = 5


class OutputError(PlannerError):
    """An output could not be written; what stood there before is untouched."""

    exit_status = 6


class ServerError(PlannerError):
    """A server could not be reached, refused, or did not give or keep all that it should."""

    exit_status = 7
