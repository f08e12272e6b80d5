"""The summary of made-up cohorts: what it says first, what it leaves out, and that it is one file.

Nothing is planned: the records are laid down as done, and the program makes tables and run.json.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from planner.cohort import summary
from planner.cohort.cases import Case
from planner.cohort.root import locked
from planner.cohort.summary import FEW, FILE_NAME, summarize, summary_text
from planner.cohort.task import ATLAS_FILE, CASES, Record
from planner.errors import ConfigurationError, OutputError
from planner.export.disclaimer import DISCLAIMER
from tests.cohort.made_up import a_case, a_cohort, a_failure, a_map, a_picture, a_plan, a_row

HOSTILE = "<script>alert('x')</script>\"&"
MOST_FLAGS, ONE_FLAG = ("hardware", "alar_fracture", "s1_numbering"), ("hardware",)


def mixed() -> list[tuple[Case, Record]]:
    """Nine CTs of eight patients; of p1 the first session counts, of p7 the first one failed."""
    return [
        (a_case("p1", "1", sex="F"), a_plan("p1_1", 1)),
        (a_case("p1", "2", sex="F"), a_plan("p1_2", 2)),
        (a_case("p2", sex="M"), a_plan("p2", 3, ONE_FLAG)),
        (a_case("p3", sex="F"), a_plan("p3", 4, MOST_FLAGS)),
        (a_case("p4"), a_failure("p4", 3, "slices are missing.")),
        (a_case("p5"), a_failure("p5", 4, "S1 was not found.")),
        (a_case("p6"), a_failure("p6", 4, "two canals.")),
        (a_case("p7", "1"), a_failure("p7_1", 5, "no path keeps the limits.")),
        (a_case("p7", "2"), a_plan("p7_2", 8)),
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "out"
    a_cohort(folder, mixed(), manifest="/secret/name/patients.csv")
    for name in ("p1_1", "p2", "p3", "p5", "p7_1"):
        a_picture(folder, name)
    a_map(folder, "p1_1")
    a_map(folder, "p2", 6.0)
    (folder / CASES / "p3" / ATLAS_FILE).write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return summary_text(root)


def section(page: str, name: str) -> str:
    return page.split(f'<section aria-labelledby="{name}">')[1].split("</section>")[0]


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def lines(html: str) -> list[list[str]]:
    """Cells of every row of the tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r)] for r in rows]


def line(html: str, *start: str) -> list[str]:
    found = [row for row in lines(html) if row[: len(start)] == list(start)]
    assert len(found) == 1, (start, lines(html))
    return found[0][len(start) :]


class Tags(HTMLParser):
    """Collect the tags with their attributes, and check that they close."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_asks_for_nothing_outside_of_it(page: str) -> None:
    tags = Tags(page).tags
    names = {tag for tag, _ in tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "svg"}
    for tag, values in tags:
        assert not [name for name in values if name.startswith("on")], tag
        if "src" in values:
            assert str(values["src"]).startswith(("data:image/png", "data:image/jpeg"))
        if "href" in values:
            assert str(values["href"]).startswith("#")
    policy = [v["content"] for _, v in tags if v.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    text = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page)
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    identifiers = [str(values["id"]) for _, values in tags if "id" in values]
    assert len(identifiers) == len(set(identifiers))
    targets = [str(v["href"])[1:] for tag, v in tags if "href" in v]
    targets += [str(v["aria-labelledby"]) for _, v in tags if "aria-labelledby" in v]
    assert set(targets) <= set(identifiers)


def test_it_begins_with_what_limits_it(page: str) -> None:
    head = plain(page.split("<main>")[0])
    assert DISCLAIMER in head
    assert "9 in the tables, of 9 in the manifest" in head
    assert "7 (of several CTs of one the first that could be judged)" in head
    assert "no trajectory 1, planned 5, unsuitable ct 1, untrusted anatomy 2" in head
    assert "patients.csv" in head
    assert "/secret/name" not in page
    # p4, p5 and p6 say nothing of feasibility; p7's first session says that nothing is feasible.
    assert "3 of 7 patients are left out of every share below" in head
    assert "4 patients only: shares are uncertain" in head
    assert "The atlas lacks" in head
    assert "not done yet" not in head
    assert "phantoms" not in head


def test_shares_are_of_the_judged_first_sessions(page: str) -> None:
    html = section(page, "feasibility")
    for technique in ("short axis", "long axis", "s2 entry", "s2 s3 entry", "any technique"):
        for side in ("left", "right", "either", "both"):
            cells = line(html, technique, side)
            assert cells[0] == "4"
            assert cells[1] == "75 % (30–95)"  # Wilson of 3 of 4
    # Rooms of p1_1, p2 and p3 for this technique and side: 1 + (number + 0) % 6.
    assert line(html, "short axis", "left")[2:] == [
        *("75 % (30–95)", "50 % (15–85)", "25 % (5–70)", "4.0 [3.0–4.5]")
    ]


def test_groups_say_who_is_in_them(page: str) -> None:
    html = section(page, "groups")
    assert line(html, "sex", "F")[0] == "2"
    assert line(html, "sex", "M")[0] == "1"
    # Patients, their share with 5 mm, how many have a path, and its room.
    assert line(html, "sex", "not known")[:4] == ["1", "0 % (0–79)", "0", "–"]


def test_cases_without_a_plan_are_told_by_cause_with_their_pictures(root: Path, page: str) -> None:
    html = section(page, "failures")
    titles = re.findall(r"<h3>(.*?)</h3>", html)
    assert titles == ["no trajectory: 1", "unsuitable ct: 1", "untrusted anatomy: 2"]
    figures = re.findall(r"<figure>(.*?)</figure>", html, re.DOTALL)
    told = {plain(figure): "<img" in figure for figure in figures}
    assert told == {
        "p7_1 no path keeps the limits.": True,
        "p4 slices are missing.": False,
        "p5 S1 was not found.": True,
        "p6 two canals.": False,
    }
    data = base64.b64encode((root / CASES / "p5" / "thumbnail.jpg").read_bytes()).decode()
    assert f'src="data:image/jpeg;base64,{data}" alt="p5"' in html


def sheet(page: str) -> list[str]:
    return [plain(f) for f in re.findall(r"<figcaption>(.*?)</figcaption>", section(page, "sheet"))]


def test_the_contact_sheet_shows_flagged_cases_first(page: str) -> None:
    assert sheet(page) == [
        "p3 ⚠ alar fracture, hardware, s1 numbering",
        "p2 ⚠ hardware",
        "p1_1",
        "p1_2",
        "p7_2",
    ]
    assert "not shown here" not in page
    assert 'alt="Overview of p3"' in section(page, "sheet")


def test_it_says_how_many_pictures_are_not_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "MOST_PICTURES", 2)
    monkeypatch.setattr(summary, "LISTED", 1)
    page = summary_text(root)
    assert [text.split()[0] for text in sheet(page)] == ["p3", "p2"]
    assert "3 more cases are not shown here" in page
    assert "untrusted anatomy: 2" in page
    assert section(page, "failures").count("1 more are in the table") == 1


def test_the_atlas_counts_patients_and_not_sessions(root: Path, page: str) -> None:
    assert plain(section(page, "atlas")).startswith(
        "Safe-zone atlas 2 planned patients' entry maps"
    )
    a_map(root, "p1_2")
    a_map(root, "p7_2")
    assert plain(section(summary_text(root), "atlas")).split()[2] == "2"


def test_sections_without_data_are_left_out(page: str) -> None:
    assert "Outcomes</h2>" not in page
    assert "Against the truth" not in page


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    case = replace(a_case("p1"), covariates={f"word {HOSTILE}": HOSTILE, "ward": "a"})
    other = replace(a_case("p2"), covariates={f"word {HOSTILE}": "b", "ward": HOSTILE})
    failed = a_case("p3")
    a_cohort(
        tmp_path,
        [
            (case, a_plan("p1", 1, (HOSTILE,))),
            (other, a_plan("p2", 2)),
            (failed, a_failure("p3", 4, f"it holds {HOSTILE}")),
        ],
        manifest=f"m{HOSTILE.replace('/', '')}.csv",
    )
    page = summary_text(tmp_path)
    assert {"script"} & {tag for tag, _ in Tags(page).tags} == set()
    assert "<script" not in page
    # The covariate's name at two groups, two values, flag, reason, manifest: all can be read.
    assert plain(page).count("<script>alert('x')") == 7
    assert "m<script>alert('x')<script>" in plain(page)


OUTCOMES = {"vas_before": 8.0, "vas_after": 3.0, "leak_foramen": 0.0, "cement_ml": 6.5}


def treated(number: int) -> list[tuple[Case, Record]]:
    pairs = []
    for n in range(number):
        after = {"vas_after": 1.0 + n % 4, "leak_foramen": float(n % 3 == 0)}
        cement = {"cement_ml": 5.0 + n % 5}
        case = a_case(f"p{n:02d}", outcomes=OUTCOMES | after | cement)
        pairs.append((case, a_plan(case.id, n)))
    return pairs


def test_outcomes_of_the_manifest_make_a_section(tmp_path: Path) -> None:
    a_cohort(tmp_path, treated(16))
    html = section(summary_text(tmp_path), "outcomes")
    assert line(html, "Visual analogue scale")[:4] == ["16", "0", "8.0 [8.0–8.0]", "2.5 [1.8–3.2]"]
    assert "16 / 0 / 0" in line(html, "Visual analogue scale")
    assert line(html, "total")[0] == "16"
    assert line(html, "foramen") == ["16", "6", "6", "0.375 (0.185 to 0.614)", "0"]
    tests = re.search(r"(\d+) tests were made", html)
    assert tests is not None
    adjusted = [row for row in lines(html) if len(row) == 7 and row[1].startswith(("any", "rel"))]
    assert len([row for row in adjusted if not row[4].startswith("not")]) == int(tests[1]) > 0
    assert line(html, "cement, ml", "relief, vas")[1] == "16"


def test_outcomes_of_few_say_why_there_is_no_figure(tmp_path: Path) -> None:
    a_cohort(tmp_path, treated(3))
    html = section(summary_text(tmp_path), "outcomes")
    assert line(html, "Visual analogue scale")[-1].startswith("3 of 3 pairs changed: with fewer")
    assert "0 tests were made" in html
    assert "not estimable: 3 patients with both known: fewer than 10" in html


def phantoms(without_paths: bool = False) -> list[tuple[Case, Record]]:
    foramina = [
        {"level": "S1", "side": "left", "found": True, "centre_error_mm": 1.0, "swapped": False},
        {"level": "S1", "side": "right", "found": False, "swapped": True},
    ]
    paths = [
        a_row("true_trajectories", 1, id=f"x-{n}", predicted_breach=0.02, true_breach=0.01 * n)
        | {"over_claim_foramina_mm": float(n), "over_claim_walls_mm": None}
        for n in range(4)
    ]
    pairs = []
    for n in (1, 2):
        plan = a_plan(f"phantom-0000{n}", n)
        rows = {"true_foramina": foramina, "true_trajectories": [] if without_paths else paths}
        pairs.append((a_case(plan.case_id), replace(plan, rows={**plan.rows, **rows})))
    return pairs


def test_virtual_cohorts_are_held_against_their_truth(tmp_path: Path) -> None:
    a_cohort(tmp_path, phantoms())
    page = summary_text(tmp_path)
    assert "These are phantoms, not patients." in page
    html = section(page, "accuracy")
    assert line(html, "S1") == ["4", "2", "2", "1.00", "1.00", "1.00"]
    assert line(html, "foramina") == ["8", "1.50", "3.00", "3.00"]
    assert line(html, "walls") == ["0", "–", "–", "–"]
    assert line(html, "all")[:4] == ["8", "2", "0.0200", "0.0150"]


def test_a_truth_without_paths_has_no_calibration(tmp_path: Path) -> None:
    a_cohort(tmp_path, phantoms(without_paths=True))
    html = section(summary_text(tmp_path), "accuracy")
    assert line(html, "S1")[0] == "4"
    assert "Predicted probability" not in html


def test_a_cohort_without_any_plan_is_told(tmp_path: Path) -> None:
    a_cohort(tmp_path, [(a_case(f"p{n}"), a_failure(f"p{n}", 3, "no CT.")) for n in range(3)])
    page = summary_text(tmp_path)
    assert "No case has an anatomy to judge." in page
    assert "3 of 3 patients are left out" in page
    assert "unsuitable ct: 3" in page
    assert sheet(page) == []
    Tags(page)


def test_a_cohort_where_no_path_exists_is_nowhere_feasible(tmp_path: Path) -> None:
    a_cohort(tmp_path, [(a_case(f"p{n}"), a_failure(f"p{n}", 5, "none.")) for n in range(3)])
    html = section(summary_text(tmp_path), "feasibility")
    assert line(html, "any technique", "either")[:2] == ["3", "0 % (0–56)"]
    assert line(html, "any technique", "both")[-1] == "–"


def test_an_empty_cohort_does_not_fail(tmp_path: Path) -> None:
    a_cohort(tmp_path, [])
    page = summary_text(tmp_path)
    assert "0 in the tables, of 0 in the manifest" in page
    assert "0 patients only" in page
    assert "These are phantoms" not in page


def test_cases_that_are_not_done_yet_are_counted(tmp_path: Path) -> None:
    a_cohort(tmp_path, mixed()[:3])
    told = json.loads((tmp_path / "run.json").read_text("utf-8"))
    (tmp_path / "run.json").write_text(json.dumps(told | {"cases": 40}), encoding="utf-8")
    page = summary_text(tmp_path)
    assert "37 cases of the manifest are not done yet" in page
    assert "3 in the tables, of 40 in the manifest" in page


def test_many_patients_are_not_called_few(tmp_path: Path) -> None:
    pairs = [(a_case(f"p{n:03d}"), a_plan(f"p{n:03d}", n)) for n in range(FEW)]
    a_cohort(tmp_path, pairs)
    assert "shares are uncertain" not in summary_text(tmp_path)


def test_the_summary_is_written_beside_the_tables_or_where_asked(
    root: Path, tmp_path: Path
) -> None:
    assert summarize(root) == root / FILE_NAME
    written = (root / FILE_NAME).read_text("utf-8")
    assert written.startswith("<!doctype html>")
    assert summarize(root, tmp_path / "new" / "one.html") == tmp_path / "new" / "one.html"
    assert (tmp_path / "new" / "one.html").read_text("utf-8") == written
    assert summarize(root) == root / FILE_NAME  # the old one gives way


def test_a_run_at_work_is_not_summed_up(root: Path, tmp_path: Path) -> None:
    made = a_cohort(tmp_path, mixed()[:1]).folder
    with locked(made), pytest.raises(OutputError, match="another run is at work in"):
        summarize(made)
    assert not (made / "summary.html").exists()


def test_a_file_of_the_user_s_is_not_overwritten(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "thesis.html"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        summarize(root, target)
    assert target.read_text() == "mine"
    again = tmp_path / "again.html"
    assert summarize(root, again) == summarize(root, again) == again


def test_what_is_no_cohort_is_refused_and_left_alone(tmp_path: Path) -> None:
    nowhere = Path("/nonexistent")
    with pytest.raises(OutputError, match="/nonexistent is no cohort's folder, or its run.json"):
        summarize(nowhere)
    assert not nowhere.exists()
    with pytest.raises(OutputError, match="is no cohort's folder"):
        summarize(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(OutputError, match="its run.json is damaged. Give the folder"):
        summarize(tmp_path)


def test_a_cohort_whose_tables_are_gone_is_refused(tmp_path: Path) -> None:
    a_cohort(tmp_path, mixed()[:1])
    (tmp_path / "tables" / "dictionary.csv").unlink()
    with pytest.raises(ConfigurationError, match="holds no tables of a cohort"):
        summarize(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
