"""The report: whole in itself, warnings first, and the numbers of plan.json."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from pypdf import PdfReader

from planner.anatomy.fields import GUARDED
from planner.errors import ConfigurationError
from planner.export.disclaimer import DISCLAIMER
from planner.export.numbers import standing
from planner.export.overview.views import square_view
from planner.export.plan_json import plan_document
from planner.export.plan_reading import plan_of
from planner.export.report import report_text, write_report
from planner.export.report.pdf import SCRIPTS, weasyprint, write_pdf
from planner.export.viewer import library, script_policy
from planner.model.guidance import BeamView, Guidance
from planner.model.pair import NeedlePair, PairKind
from planner.model.plan import Plan
from planner.model.trajectory import Technique
from planner.scoring.guidance import beam_along, view_along
from tests.export import toy

VOID = {"meta", "img", "link", "br", "hr", "input"}
SPACED = "skin entries are only 7 mm apart"
NASTY = "<script>alert('x')</script> & \"Pelvis\""


class Reader(HTMLParser):
    """Collects tags and text, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def guided_plan() -> Plan:
    views = {name: BeamView(3.0, 20.0 * n) for n, name in enumerate(("ap", "outlet", "inlet"))}
    views["lateral"] = BeamView(90.0, 0.0)
    barrel = BeamView(-12.0, 30.0)
    guidance = Guidance(
        True, 12, 4.0, 10.0, -8.0, 5.0, 22.0, 30.0, 12.0, 45.0, 80.0, 100.0, barrel, views, "there"
    )
    items = toy.toy_ranked()[:2]
    names = (items[0].id, items[1].id)
    pairs = tuple(
        NeedlePair(rank, PairKind.BILATERAL, names, 9.0, 8.0, 7.0, False, 0.0002, 0.5, (SPACED,))
        for rank in (1, 2)
    )
    first = replace(
        items[0], warnings=("foramen s1 left: clearance 3.0 mm is below the preferred",)
    )
    return toy.toy_plan(
        trajectories=(first, items[1]),
        pairs=pairs,
        guidance={item.id: guidance for item in items},
        ct=replace(toy.toy_volume().source, series_description=NASTY),
    )


@pytest.fixture(scope="module")
def made() -> SimpleNamespace:
    plan = guided_plan()
    document = plan_document(plan)
    text = report_text(plan, document, toy.toy_volume())
    reader = Reader()
    reader.feed(text)
    return SimpleNamespace(plan=plan, document=document, text=text, reader=reader)


def test_nothing_comes_from_outside_and_only_its_own_scripts_run(made: SimpleNamespace) -> None:
    assert made.reader.open == []
    still = SCRIPTS.sub("", made.text)
    assert "http:" not in still
    assert "https:" not in still
    tags = [tag for tag, _ in made.reader.tags]
    assert not {"iframe", "object", "form", "base"} & set(tags)
    scripts = re.findall(r"<script>(.*?)</script>", made.text, re.DOTALL)
    assert tuple(scripts) == library().scripts
    policy = next(a["content"] for tag, a in made.reader.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert policy.endswith("script-src " + script_policy(scripts))
    for tag, attributes in made.reader.tags:
        if "src" in attributes:
            assert (attributes["src"] or "").startswith("data:image/webp;base64,")
        if "href" in attributes:
            assert (attributes["href"] or "").startswith("#")
        assert not [name for name in attributes if name.startswith("on")], tag
    assert NASTY in made.reader.text  # shown as text
    assert len(made.text) < 15e6


def test_warnings_come_first_and_unsoftened(made: SimpleNamespace) -> None:
    text = made.reader.text
    assert DISCLAIMER in text
    for line in (*made.plan.warnings, made.plan.trajectories[0].warnings[0]):
        assert line in text
    assert text.index(DISCLAIMER) < text.index("Warnings") < text.index("Ranked needle paths")
    assert text.index(made.plan.warnings[-1]) < text.index("Ranked needle paths")


def test_pairs_keep_their_warnings_and_small_risks(made: SimpleNamespace) -> None:
    assert f"Pair 1, 2: {SPACED}" in made.reader.text
    assert made.text.count("&lt;0.1") == 2


def test_every_path_has_its_pictures_and_numbers(made: SimpleNamespace) -> None:
    pictures = [attributes for tag, attributes in made.reader.tags if tag == "img"]
    assert len(pictures) == 2 + 3 * len(made.document.trajectories)
    assert all(attributes["alt"] for attributes in pictures)
    ids = [attributes.get("id") for _, attributes in made.reader.tags]
    for item in made.document.trajectories:
        assert f"path-{item.rank}" in ids
        assert item.id in made.text
        part = made.text.split(f'id="path-{item.rank}"')[1].split("</section>")[0]
        cells = re.findall(r'<td class="n">([^<]*)</td>', part)
        found = item.clearance
        for clearance in (found.foramina, found.canal, found.anterior_cortex):
            assert any(cell.endswith(f"{clearance.distance_mm:.1f}") for cell in cells)
        assert f"{100 * item.breach_probability.any:.1f}" in cells
    assert "▼ 3.0" in made.text
    low = [
        structure
        for item in made.plan.trajectories
        for structure in GUARDED
        if standing(structure, item.clearances[structure].distance_mm, made.plan.configuration)
        == "low"
    ]
    # the note, and for each of them the ranked table and the path's own
    assert SCRIPTS.sub("", made.text).count("▼") == 1 + 2 * len(low)


def test_a_stand_in_for_the_ct_is_told() -> None:
    plan = replace(guided_plan(), trajectories=guided_plan().trajectories[:1], pairs=())
    text = report_text(plan, plan_document(plan), toy.toy_volume(), grey_values=False)
    assert "The CT was not given for this report" in text
    assert "Radiographs summed from the label map" in text


def test_a_saved_plan_comes_back_whole(made: SimpleNamespace) -> None:
    back = plan_of(made.document, made.plan.anatomy, made.plan.ct_grid)
    assert plan_document(back) == made.document


def test_nobody_is_named_unless_asked_for(made: SimpleNamespace) -> None:
    assert "Patient ID" not in made.reader.text
    plan = replace(guided_plan(), trajectories=guided_plan().trajectories[:1], pairs=())
    names = {"Patient": "Roe <b>", "Patient ID": "4711"}
    text = report_text(plan, plan_document(plan), toy.toy_volume(), identity=names)
    assert "Roe &lt;b&gt;" in text
    assert text.index("4711") < text.index("Warnings")


def test_a_pdf_holds_the_same_words(tmp_path: Path) -> None:
    pytest.importorskip("weasyprint", exc_type=(ImportError, OSError))
    plan = replace(guided_plan(), trajectories=guided_plan().trajectories[:1], pairs=())
    page, printed = tmp_path / "r.html", tmp_path / "r.pdf"
    write_report(plan, toy.toy_volume(), page, pdf=printed)
    sheets = [sheet.extract_text() for sheet in PdfReader(printed).pages]
    assert "not a medical device" in sheets[0]
    words = " ".join("".join(sheets).split())
    assert "How it was computed" in words
    assert plan.trajectories[0].id in words
    assert "K3D" not in words
    assert printed.stat().st_size < 2e6


def test_a_pdf_of_another_second_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("weasyprint", exc_type=(ImportError, OSError))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    made = []
    for number in range(2):
        made.append(tmp_path / f"{number}.pdf")
        write_pdf("<p>Not for clinical use</p>", made[-1])
        assert "SOURCE_DATE_EPOCH" not in os.environ
        time.sleep(1.1 * (1 - number))
    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_pdf_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ConfigurationError, match=r"planner\[pdf\]"):
        weasyprint()


@pytest.mark.parametrize("view", [(0, 0), (30, -20), (-75, 40), (10, 80)])
def test_a_beam_runs_as_its_angles_say(view: tuple[float, float]) -> None:
    again = view_along(beam_along(BeamView(*map(float, view))))
    assert (again.rotation_deg, again.tilt_deg) == pytest.approx(view)


def test_the_cut_across_is_seen_from_the_hub() -> None:
    anatomy = toy.toy_anatomy()
    path = toy.toy_trajectory(Technique.LONG_AXIS, "left")
    view = square_view(path, anatomy, path.tip)
    assert view.project(path.tip) == pytest.approx([0, 0])
    assert view.project(path.bone_entry) == pytest.approx([0, 0], abs=1e-9)
    left = anatomy.frame.axes[:, 0]
    assert view.project(path.tip + left)[0] < 0  # from behind, the patient's left is on the left
    assert view.project(path.tip + anatomy.frame.axes[:, 2])[1] > 0
