"""Names of files made of ids that may hold anything."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.exchange import Handover
from planner.exchange.file_names import LONGEST, file_stem, title
from planner.export.plan_document import TrajectoryObject


def named(item: TrajectoryObject, name: str, rank: int = 1) -> TrajectoryObject:
    return item.model_copy(update={"id": name, "rank": rank})


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("short_axis-left-1", "01-short_axis-left-1"),
        ("../x", "01-x"),
        ("a/b", "01-a_b"),
        ("a\\b", "01-a_b"),
        ("..", "01-path"),
        ("", "01-path"),
        ("con.", "01-con"),
        ("C:x", "01-C_x"),
        ("Ü ñ\0\n", "01-path"),
        ("x" * 500, "01-" + "x" * LONGEST),
    ],
)
def test_a_name_stays_in_its_folder(handover: Handover, name: str, stem: str) -> None:
    assert file_stem(named(handover.paths[0], name)) == stem


def test_ids_that_clean_to_the_same_stay_apart(handover: Handover) -> None:
    one, other = named(handover.paths[0], "a/b", 3), named(handover.paths[0], "a:b", 4)
    assert file_stem(one) == "03-a_b"
    assert file_stem(other) == "04-a_b"


@settings(max_examples=30, deadline=None)
@given(name=st.text(), rank=st.integers(1, 400))
def test_any_id_gives_a_plain_name_and_a_title_that_xml_can_hold(
    handover: Handover, name: str, rank: int
) -> None:
    item = named(handover.paths[0], name, rank)
    assert re.fullmatch(r"\d{2,}-[A-Za-z0-9_-]+", file_stem(item))
    assert Path(file_stem(item)).name == file_stem(item)
    text = ElementTree.tostring(ElementTree.Element("a", name=title(item)), encoding="utf-8")
    assert ElementTree.fromstring(text).get("name") == title(item)
