"""Texts in tables that spreadsheets open: none of them is taken for a formula.

A spreadsheet runs a cell that begins with one of = + - @, and what begins so may come from the
header of somebody's file. An apostrophe before it is the spreadsheets' own mark for plain text.
"""

from __future__ import annotations

from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@")


def inert(value: Any) -> Any:
    """Return a cell as it is to be written: texts marked that would run; numbers stay."""
    # What is marked already is marked again, so that `as_meant` gives every text back.
    if not isinstance(value, str) or not value.lstrip("' ").startswith(FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def as_meant(text: str) -> str:
    """Return a cell that was read as it was before `inert` marked it."""
    return text[1:] if text.startswith("'") and inert(text[1:]) == text else text
