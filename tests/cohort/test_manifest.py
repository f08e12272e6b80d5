"""A manifest gives the cases it names, all its defects at once, and names no patient in them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.cohort.cases import Case
from planner.cohort.manifest import (
    KEYS,
    OUTCOMES,
    RANGES,
    key_text,
    known_name,
    read_manifest,
    write_manifest,
)
from planner.errors import ConfigurationError, OutputError


def table(folder: Path, text: str, name: str = "cohort.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_manifest(path)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_a_table(tmp_path: Path) -> None:
    text = (
        "subject,session,ct,series,anatomy,target,sex,age,vas_before,leak_vein\n"
        "b,,scans/b,1.2.3#2,b.seg.nrrd,,F,81.5,9,\n"
        "a,ses-2,/data/a,,,t.nii.gz,M,,,2\n"
    )
    assert read_manifest(table(tmp_path, text)) == (
        Case(
            "a",
            Path("/data/a"),
            "ses-2",
            target=tmp_path / "t.nii.gz",
            covariates={"sex": "M"},
            outcomes={"leak_vein": 2.0},
        ),
        Case(
            "b",
            tmp_path / "scans/b",
            series="1.2.3#2",
            anatomy=tmp_path / "b.seg.nrrd",
            covariates={"sex": "F", "age": 81.5},
            outcomes={"vas_before": 9.0},
        ),
    )


def test_a_relative_path_starts_at_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    table(tmp_path / "deep", "subject,ct\na,x\n")
    monkeypatch.chdir(tmp_path)
    assert read_manifest(Path("deep/cohort.csv"))[0].ct == tmp_path / "deep" / "x"


def test_what_a_spreadsheet_writes(tmp_path: Path) -> None:
    """Semicolons, decimal commas, a byte order mark, empty rows and empty columns at the end."""
    text = "\ufeff Subject ;CT;age;CEMENT_ML;;\r\na; x ;70,5;7,25;;\r\n;;;;;\r\n\r\nb;y;71;NA;;\r\n"
    a, b = read_manifest(table(tmp_path, text))
    assert (a.subject, a.covariates, a.outcomes) == ("a", {"age": 70.5}, {"cement_ml": 7.25})
    assert (b.subject, b.covariates, b.outcomes) == ("b", {"age": 71.0}, {})


def test_blanks_after_commas(tmp_path: Path) -> None:
    (case,) = read_manifest(table(tmp_path, "subject, ct, sex\na, x y, F\n"))
    assert (case.ct, case.covariates) == (tmp_path / "x y", {"sex": "F"})


def test_a_column_is_of_numbers_only_where_all_known_values_are(tmp_path: Path) -> None:
    text = (
        "subject,ct,age,site,when,score\n"
        "a,x,70,1,2026-01-02,1e2\n"
        "b,y,n/a,north,2026-01-03,.5\n"
        "c,z,,3,2026-01-04,-7.\n"
    )
    a, b, c = read_manifest(table(tmp_path, text))
    assert a.covariates == {"age": 70.0, "site": "1", "when": "2026-01-02", "score": 100.0}
    assert b.covariates == {"site": "north", "when": "2026-01-03", "score": 0.5}
    assert c.covariates == {"site": "3", "when": "2026-01-04", "score": -7.0}


@pytest.mark.parametrize("word", ["inf", "1_000", "0x10", "1e999", "１２", "1,5"])
def test_what_only_looks_like_a_number_is_a_word(tmp_path: Path, word: str) -> None:
    (case,) = read_manifest(table(tmp_path, f'subject,ct,x\na,b,"{word}"\n'))
    assert case.covariates == {"x": word}


def test_a_ct_that_does_not_exist_is_no_defect(tmp_path: Path) -> None:
    (case,) = read_manifest(table(tmp_path, "subject,ct,anatomy\na,nowhere,nothing\n"))
    assert not case.ct.exists()


def test_parquet_of_its_own_types(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "subject": [1, 2],
            "ct": ["x", "y"],
            "age": pd.array([70, None], dtype="Int64"),
            "weight": pd.array([71.3, 64.0], dtype="float32"),
            "smoker": [True, False],
            "sex": pd.Categorical(["F", None]),
            "leak_canal": pd.array([True, None], dtype="boolean"),
            "vas_before": [7.5, None],
        }
    )
    frame.to_parquet(tmp_path / "cohort.parquet")
    one, two = read_manifest(tmp_path / "cohort.parquet")
    assert (one.subject, one.ct) == ("1", tmp_path / "x")
    assert one.covariates == {"age": 70.0, "weight": 71.3, "smoker": 1.0, "sex": "F"}
    assert one.outcomes == {"leak_canal": 1.0, "vas_before": 7.5}
    assert two.covariates == {"weight": 64.0, "smoker": 0.0}
    assert two.outcomes == {}


DEFECTS = [
    ("ct\nx\n", "the column subject is missing"),
    ("subject;age\na;3\n", "the column ct is missing"),
    ("subject,ct\n", "it names no case"),
    ("subject,ct\n,x\n", "row 2: subject is empty"),
    ("subject,ct\na,x\nb,\n", "row 3: ct is empty"),
    ("subject,ct\n../a,x\n", "row 2: the subject is no name for files"),
    (f"subject,ct\n{'a' * 65},x\n", "row 2: the subject is no name for files"),
    ("subject,session,ct\na,b c,x\n", "row 2: the session is no name for files"),
    ("subject,ct\nab,x\n\nAB,y\n", "row 4: the same case as row 2"),
    ("subject,session,ct\na_b,,x\na,b,y\n", "row 3: the same case as row 2"),
    ("subject,ct\na,pacs://archive/1.2/1.3\n", "row 2: ct lies on a server; fetch it first"),
    ("subject,ct,age,Age\na,x,1,2\n", "column 4 has the name of one before it"),
    ("subject,ct,Ct\na,x,y\n", "column 3 has the name of one before it"),
    ("subject,ct,\na,x,lost\n", "column 3 has no name"),
    ("subject,ct,vas_after\na,x,10.5\n", "vas_after is 10.5; a number from 0 to 10 is expected"),
    ("subject,ct,vas_after\na,x,-1\n", "vas_after is -1; a number from 0 to 10"),
    ("subject,ct,fms_before\na,x,0\n", "fms_before is 0; a whole number from 1 to 4"),
    ("subject,ct,fms_before\na,x,2.5\n", "fms_before is 2.5; a whole number"),
    ("subject,ct,analgesic_after\na,x,5\n", "analgesic_after is 5; a whole number from 0 to 4"),
    ("subject,ct,pain_level_after\na,x,5\n", "pain_level_after is 5; a whole number from 1 to 4"),
    ("subject,ct,cement_left_ml\na,x,-1\n", "cement_left_ml is -1; a number from 0 to 100"),
    ("subject,ct,leak_disc\na,x,0.5\n", "leak_disc is 0.5; a whole number from 0 to 20"),
    ("subject,ct,leak_disc\na,x,yes\n", "row 2: leak_disc is no number; a whole number from 0"),
    ('subject,ct,cement_ml\na,x,"7,5"\n', "row 2: cement_ml is no number"),
    (
        "subject,ct,cement_ml,cement_left_ml,cement_right_ml\na,x,7,4,4\n",
        "row 2: left and right make 8 ml of cement, cement_ml is 7",
    ),
]


@pytest.mark.parametrize(("text", "words"), DEFECTS, ids=[words[:40] for _, words in DEFECTS])
def test_defects(tmp_path: Path, text: str, words: str) -> None:
    said = refusal(table(tmp_path, text))
    assert "has 1 defect:" in said
    assert words in said


def test_rounded_parts_do_not_contradict_their_sum(tmp_path: Path) -> None:
    text = "subject,ct,cement_ml,cement_left_ml,cement_right_ml\na,x,7.5,3.8,3.8\nb,y,9,4,\n"
    assert len(read_manifest(table(tmp_path, text))) == 2


def test_all_defects_are_told_and_no_cell_is_quoted(tmp_path: Path) -> None:
    rows = "".join(f"Doe^Jane {k},x,Müller\n" for k in range(7))
    said = refusal(table(tmp_path, f"subject,ct,vas_before\n{rows}"))
    assert "has 14 defects" in said
    assert said.count("row ") == 10
    assert "and 4 more" in said
    assert "Doe" not in said
    assert "Müller" not in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "cannot be read as .csv"),
        ("a.csv", b"subject,ct\na,b,Doe\n", r"row 2 has more cells than the first row"),
        ("a.csv", "subject,ct\nDoé,b\n".encode("latin-1"), "is not UTF-8"),
        ("a.parquet", b"PAR1 Doe", "cannot be read as .parquet"),
        ("a.xlsx", b"", "neither .csv nor .parquet"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    said = refusal(tmp_path / name)
    assert words in said
    assert "Doe" not in said
    assert "does not exist" in refusal(tmp_path / "none.csv")


def test_every_outcome_has_a_definition_and_a_range() -> None:
    assert all(RANGES[name.split("_")[0]] for name in OUTCOMES)
    assert all(words and "\n" not in words for words in OUTCOMES.values())
    assert all(known_name(f" {name.upper()} ") == name for name in OUTCOMES)


WORDS = st.text(
    st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="\0"), max_size=12
)
NAMES = WORDS.map(str.strip).filter(
    lambda name: name and known_name(name) not in {*KEYS, *OUTCOMES, "participant_id"}
)
PARTS = WORDS.filter(lambda part: part.strip() and part not in (".", "..") and "/" not in part)
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS.map(lambda word: f"w{word}".strip()),
)


@st.composite
def cohorts(draw: st.DrawFn) -> list[Case]:
    """Cases such as reading gives: a column of covariates holds words, or numbers, not both."""
    names = draw(st.lists(NAMES, max_size=3, unique_by=str.casefold))
    numeric = {name: draw(st.booleans()) for name in names}
    cases = []
    for k in range(draw(st.integers(1, 4))):
        parts = draw(st.lists(PARTS, min_size=1, max_size=3))
        values = {
            name: draw(VALUES.filter(lambda v, n=name: isinstance(v, float) == numeric[n]))
            for name in names
            if draw(st.booleans())
        }
        outcomes = {"vas_before": draw(st.floats(0, 10))} if draw(st.booleans()) else {}
        root = Path("/work/cohort" if draw(st.booleans()) else "/elsewhere")
        case = Case(
            f"case-{k}",
            root.joinpath(*parts),
            draw(st.sampled_from(("", "ses-1"))),
            draw(st.sampled_from(("", "1.2.3", "1.2.3#1"))),
            target=draw(st.sampled_from((None, root / "t.nii.gz"))),
            covariates=values,
            outcomes=outcomes,
        )
        cases.append(case)
    return cases


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cases=cohorts())
def test_reading_what_was_written_gives_equal_cases(tmp_path: Path, cases: list[Case]) -> None:
    # The same paths below a folder that exists, so that some of them are written relative to it.
    moved = [
        Case(
            **{
                **vars(case),
                "ct": tmp_path / case.ct.relative_to("/work")
                if case.ct.is_relative_to("/work")
                else case.ct,
            }
        )
        for case in cases
    ]
    path = tmp_path / "cohort.csv"
    write_manifest(moved, path)
    again = read_manifest(path)
    assert again == tuple(moved)
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    write_manifest(again, path)
    assert read_manifest(path) == again


def test_blanks_at_the_ends_of_a_path_belong_to_it(tmp_path: Path) -> None:
    cases = (Case("a", tmp_path / " x "), Case("b", tmp_path / 'a "b", c;\n d'))
    write_manifest(cases, tmp_path / "cohort.csv")
    assert read_manifest(tmp_path / "cohort.csv") == cases


def test_no_cell_runs_in_a_spreadsheet_and_all_are_read_as_they_were(tmp_path: Path) -> None:
    cell = "=cmd|' /C calc'!A0"
    covariates = {"@SUM(1)": "+1+1", "site": cell, "age": -2.5, "note": "'=mine"}
    cases = (Case("a", tmp_path / "=x", series="-1+2", covariates=covariates),)
    write_manifest(cases, tmp_path / "cohort.csv")
    with (tmp_path / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        cells = [each for line in csv.reader(stream) for each in line]
    assert f"'{cell}" in cells
    assert [c for c in cells if c.startswith(("=", "+", "@", "-")) and c != "-2.5"] == []
    assert read_manifest(tmp_path / "cohort.csv") == cases


def test_parquet_gives_the_same_cases_as_csv(tmp_path: Path) -> None:
    cases = (
        Case(
            "a", tmp_path / "x", covariates={"age": 70.0, "sex": "F"}, outcomes={"fms_after": 2.0}
        ),
        Case("b", Path("/data/y"), "ses-1", "1.2#1", tmp_path / "s.nrrd", covariates={"age": 71.5}),
    )
    write_manifest(cases, tmp_path / "cohort.csv")
    pd.read_csv(tmp_path / "cohort.csv").to_parquet(tmp_path / "cohort.parquet")
    assert read_manifest(tmp_path / "cohort.csv") == cases
    assert read_manifest(tmp_path / "cohort.parquet") == cases


def test_writing_refuses_what_cannot_be_read_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"written as \.csv"):
        write_manifest((), tmp_path / "cohort.parquet")
    with pytest.raises(ValueError, match="name of another column"):
        write_manifest([Case("a", tmp_path, covariates={"Series": "x"})], tmp_path / "c.csv")
    path = table(tmp_path, "kept")
    with pytest.raises(OutputError, match="no valid Unicode"):
        write_manifest([Case("a", Path(os.fsdecode(b"/data/Doe\xe9")))], path)
    assert path.read_text() == "kept"
    assert [each.name for each in tmp_path.iterdir()] == ["cohort.csv"]


def test_a_path_below_the_folder_is_written_relative_to_it(tmp_path: Path) -> None:
    assert key_text(tmp_path, tmp_path) == "."
    assert key_text(tmp_path / "a" / "b", tmp_path) == "a/b"
    assert key_text(tmp_path / "a", tmp_path / "b") == str(tmp_path / "a")


def grow(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def found(root: Path) -> dict[str, str]:
    return {case.id: case.ct.relative_to(root).as_posix() for case in read_manifest(root)}


def test_a_folder_for_each_subject(tmp_path: Path) -> None:
    root = grow(
        tmp_path,
        *("flat/IM1", "flat/IM2", "flat/anatomy.seg.nrrd"),
        *("deep/x/y/IM1", "deep/x/y/IM2"),
        *("volume/scan.nii.gz", "volume/scan.json", "volume/target.nii.gz"),
        *("pair/scan.mhd", "pair/scan.raw"),
        "packed/scan.zip",
        *("both/IM1", "both/scan.nii.gz"),
        *("named/ct/IM1", "named/pet/IM1", "named/target.seg.nrrd"),
        *("alone.nii.gz", "alone2.zip", "alone.seg.nrrd", "readme.txt"),
        *(".git/x", "code/x", "derivatives/flat/x", "sourcedata/x"),
    )
    (root / "empty").mkdir()
    assert found(root) == {
        "alone": "alone.nii.gz",
        "alone2": "alone2.zip",
        "both": "both",
        "deep": "deep/x",
        "empty": "empty",
        "flat": "flat",
        "named": "named/ct",
        "packed": "packed/scan.zip",
        "pair": "pair/scan.mhd",
        "volume": "volume/scan.nii.gz",
    }
    cases = {case.id: case for case in read_manifest(root)}
    assert cases["flat"].anatomy == root / "flat/anatomy.seg.nrrd"
    assert cases["named"].target == root / "named/target.seg.nrrd"
    assert cases["volume"].target == root / "volume/target.nii.gz"


def test_a_tree_like_bids(tmp_path: Path) -> None:
    root = grow(
        tmp_path,
        *("sub-01/ct/IM1", "sub-01/anatomy.seg.nrrd"),
        *("sub-02/ses-a/ct/IM1", "sub-02/ses-b/ct/IM1", "sub-02/ses-b/target.nii.gz"),
        *("sub-02/ses-mr/anat/x.nii.gz", "sub-02/anatomy.seg.nrrd"),
        "sub-03/ses-a/anat/x.nii.gz",
        *("derivatives/sub-01/ct/IM1", "phenotype/x", "CHANGES"),
    )
    table(
        root,
        "participant_id\tage\tsex\tvas_before\tfms_after\n"
        'sub-01\t80\tF\tn/a\t2\nsub-02\tn/a\t"M\t9\t\nsub-09\t50\tF\t1\t1\n',
        "participants.tsv",
    )
    assert found(root) == {
        "sub-01": "sub-01/ct",
        "sub-02_ses-a": "sub-02/ses-a/ct",
        "sub-02_ses-b": "sub-02/ses-b/ct",
        "sub-03": "sub-03/ct",  # not there: it will fail by itself, and not be lost
    }
    one, two, also_two, three = read_manifest(root)
    assert one.anatomy == root / "sub-01/anatomy.seg.nrrd"
    assert (one.covariates, one.outcomes) == ({"age": 80.0, "sex": "F"}, {"fms_after": 2.0})
    assert (two.anatomy, two.target) == (None, None)
    assert two.covariates == also_two.covariates == {"sex": '"M'}
    assert also_two.target == root / "sub-02/ses-b/target.nii.gz"
    assert (three.covariates, three.outcomes) == ({}, {})


def test_defects_of_a_tree(tmp_path: Path) -> None:
    assert "it names no case" in refusal(tmp_path)
    root = grow(tmp_path, "Doe Jane/IM1", "a/IM1", "A/IM1")
    table(root, "participant_id\tvas_after\tct\na\t11\tx\na\t3\ty\n", "participants.tsv")
    said = refusal(root)
    assert "Doe" not in said
    for words in (
        "CT 2 of the tree, by name: the subject is no name",
        "CT 3 of the tree, by name: the same case as CT 1",
        "participants.tsv: row 3: a participant who was named before",
        "participants.tsv: the column ct is the tree's own",
    ):
        assert words in said
    table(root, "name\tage\n", "participants.tsv")
    assert "participants.tsv: the column participant_id is missing" in refusal(root)


@pytest.mark.parametrize("link", ["a", "a/ct", "a/anatomy.seg.nrrd", "sub-1/ses-1", "a/ct/loop"])
def test_links_that_leave_a_tree_are_told(tmp_path: Path, link: str) -> None:
    outside = grow(tmp_path / "outside", "secret/ct/IM1")
    root = grow(tmp_path / "tree", "b/IM1")
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    if link.endswith("loop"):
        (root / link).symlink_to(root / link)
        assert {case.id for case in read_manifest(root)} == {"a", "b"}  # nothing follows it
        return
    (root / link).symlink_to(outside / "secret")
    said = refusal(root)
    assert "a link leaves the tree" in said
    assert "secret" not in said


def test_links_within_a_tree_are_followed(tmp_path: Path) -> None:
    root = grow(tmp_path, "a/ct/IM1", ".store/ct/IM1")
    (root / "b").mkdir()
    (root / "b/ct").symlink_to(root / ".store/ct")
    assert found(root) == {"a": "a/ct", "b": "b/ct"}
