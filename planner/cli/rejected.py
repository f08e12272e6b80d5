"""What a refused anatomy leaves behind: its labels and a picture, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planner.errors import OutputError, UntrustedAnatomyError


@contextmanager
def keeping_rejected(output: Path, overwrite: bool) -> Iterator[None]:
    """Write what an UntrustedAnatomyError holds beside the output, and say so in its message."""
    try:
        yield
    except UntrustedAnatomyError as error:
        if error.rejected is None:
            raise
        from planner.export.rejected import rejected_folder, write_rejected

        folder = rejected_folder(output)
        try:
            write_rejected(error.rejected, folder, overwrite)
            note = f"What was found is in {folder}, with a picture, to be looked at."
        except OutputError as fault:
            note = f"What was found was not kept: {fault}"
        raise UntrustedAnatomyError(f"{error} {note}") from error
