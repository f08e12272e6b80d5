"""Keep pydicom's remarks to itself: they quote header values, and some name the patient."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's warnings and log for a while; whatever matters is checked here anyway.

    To be entered in the thread that starts others: the filters of warnings belong to the process.
    """
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before
