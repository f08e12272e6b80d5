"""Values of DICOM elements as plain ones: what is damaged or missing is None, or empty."""

from __future__ import annotations

import re
from typing import Any

# No length, cosine, coefficient or stored value of a CT is larger; squares of it stay finite.
LARGEST_NUMBER = 1e10
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that reverse the direction of what follows."""


def text_of(dataset: Any, keyword: str) -> str:
    """Text of an element of a dataset."""
    return string(dataset.get(keyword))


def legible(dataset: Any, keyword: str) -> str:
    """Text of an element that is not needed to plan; empty where its bytes are no such value."""
    try:
        return str(dataset.get(keyword) or "").strip("\0 ")
    except Exception:  # pydicom parses late, and raises a dozen unrelated types
        return ""


def first_line(error: BaseException) -> str:
    """Kind and words of a fault of a library's, which may quote a whole file, in one short line."""
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:200]}" if first else type(error).__name__


def string(value: Any) -> str:
    """A value as text, without padding and what would steer a terminal or turn its text."""
    return "" if value is None else STEERING.sub("", str(value)).strip(" ")


def words(value: Any) -> tuple[str, ...]:
    """The parts of a value with several."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (string(value),)
    try:
        return tuple(string(v) for v in value)
    except TypeError:
        return (string(value),)


def number_of(dataset: Any, keyword: str) -> float | None:
    """Number of an element of a dataset; None for anything else."""
    return number(dataset.get(keyword))


def number(value: Any) -> float | None:
    """One number; None for anything else."""
    found = floats(value, 1)
    return None if found is None else found[0]


def pair(value: Any) -> tuple[float, float] | None:
    """Two numbers."""
    found = floats(value, 2)
    return None if found is None else (found[0], found[1])


def triple(value: Any) -> tuple[float, float, float] | None:
    """Three numbers."""
    found = floats(value, 3)
    return None if found is None else (found[0], found[1], found[2])


def floats(value: Any, count: int) -> tuple[float, ...] | None:
    """Take exactly `count` numbers within LARGEST_NUMBER; None for anything else."""
    if value is None:
        return None
    try:
        parts = [value] if count == 1 and not isinstance(value, (list, tuple)) else list(value)
        numbers = tuple(float(v) for v in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    # Neither NaN nor infinity is at most the largest number.
    fit = len(numbers) == count and all(abs(n) <= LARGEST_NUMBER for n in numbers)
    return numbers if fit else None
