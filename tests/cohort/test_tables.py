"""Tables from made-up records: read by others, refused where they break the dictionary."""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.cohort import tables
from planner.cohort.cases import Case
from planner.cohort.content import table_hashes
from planner.cohort.dictionary import KEYS, TABLES, Column
from planner.cohort.tables import manifest_columns, read_table, write_tables
from planner.cohort.task import Record
from planner.errors import ConfigurationError, OutputError
from planner.export.disclaimer import DISCLAIMER
from tests.cohort.made_up import a_case, a_failure, a_plan

CASES = [
    a_case("p03", age=66.0, sex="F"),
    a_case("p01", "1", age=71.5, sex="M", outcomes={"vas_before": 8.0}),
    a_case("p01", "2", age=72.0),
    a_case("p02"),
    a_case("p10", sex="M"),
]
RECORDS = {
    "p03": a_plan("p03", 3, ("hardware",)),
    "p01_1": a_plan("p01_1", 1, ("hardware", "alar_fracture")),
    "p01_2": a_failure("p01_2", 5, "no path keeps the limits."),
    "p02": a_failure("p02", 3, "no CT."),
    "p10": a_plan("p10", 10),
}
COUNTS = {
    "cases": 5,
    "trajectories": 24,
    "feasibility": 32,
    "foramina": 12,
    "anatomy": 3,
    "findings": 3,
    "timings": 5,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "out"
    write_tables(folder, CASES, RECORDS.__getitem__)
    return folder


def write_one(root: Path, table: str, rows: list[dict[str, Any]], case: Case | None = None) -> None:
    """Write tables of two cases, of which the second has these rows in one table."""
    good = a_plan("a")
    bad = a_plan("b")
    cases = [a_case("a"), replace(case, subject="b") if case else a_case("b")]
    records = {"a": good, "b": replace(bad, rows={**bad.rows, table: rows})}
    write_tables(root, cases, records.__getitem__)


def test_pandas_and_duckdb_read_a_table_in_one_line(root: Path) -> None:
    assert {path.name for path in (root / "tables").iterdir() if path.is_dir()} == set(COUNTS)
    for name, count in COUNTS.items():
        assert len(pd.read_parquet(root / "tables" / name)) == count
        told = duckdb.sql(f"select count(*) from '{root}/tables/{name}/*.parquet'").fetchall()
        assert told == [(count,)]
        assert len(read_table(root, name)) == count
    outcomes = duckdb.sql(
        f"select outcome, count(*) from '{root}/tables/cases/*.parquet' group by all order by all"
    ).fetchall()
    assert outcomes == [("no_trajectory", 1), ("planned", 3), ("unsuitable_ct", 1)]


def test_cases_are_in_the_order_of_their_names_with_what_the_manifest_says(root: Path) -> None:
    cases = read_table(root, "cases")
    assert list(cases["case_id"]) == ["p01_1", "p01_2", "p02", "p03", "p10"]
    assert list(cases["covariate_age"].fillna(-1)) == [71.5, 72.0, -1, 66.0, -1]
    assert list(cases["covariate_sex"].fillna("?")) == ["M", "?", "?", "F", "M"]
    assert list(cases["vas_before"].fillna(-1)) == [8.0, -1, -1, -1, -1]
    assert list(cases["reason"]) == ["", "no path keeps the limits.", "no CT.", "", ""]


def test_what_a_case_does_not_know_is_null_not_zero(root: Path) -> None:
    rooms = read_table(root, "feasibility").set_index("case_id").loc["p01_2"]
    assert (rooms["paths"] == 0).all()
    assert rooms["best_clearance_mm"].isna().all()
    case = read_table(root, "cases").set_index("case_id").loc["p02"]
    assert case[["confidence", "trajectories", "best_side", "best_clearance_mm"]].isna().all()


def rows_of(root: Path) -> dict[str, pd.DataFrame]:
    return {name: read_table(root, name) for name in TABLES}


def test_parts_hold_the_same_rows_as_one_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PART_CASES", 2)
    write_tables(tmp_path / "parts", CASES, RECORDS.__getitem__)
    names = sorted(path.name for path in (tmp_path / "parts/tables/cases").iterdir())
    assert names == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    # p01_2 and p02 have none: a part without rows is no file.
    assert len(list((tmp_path / "parts/tables/anatomy").iterdir())) == 3
    sizes = [len(pd.read_parquet(tmp_path / "parts/tables/cases" / name)) for name in names]
    assert sizes == [2, 2, 1]
    whole, parts = rows_of(root), rows_of(tmp_path / "parts")
    for name in TABLES:
        pd.testing.assert_frame_equal(whole[name], parts[name])


def test_records_in_any_order_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    expected = table_hashes(root)
    for seed in range(3):
        mixed = list(CASES)
        random.Random(seed).shuffle(mixed)
        told = write_tables(tmp_path / str(seed), mixed, RECORDS.__getitem__)
        assert told == expected
    for name, digest in expected.items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest
    other = {**RECORDS, "p10": a_plan("p10", 11)}
    assert write_tables(tmp_path / "other", CASES, other.__getitem__) != expected


def test_the_hashes_cover_every_file(root: Path) -> None:
    files = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert set(table_hashes(root)) == files
    assert "tables/dictionary.csv" in files
    assert not [name for name in files if ".part" in Path(name).name.removeprefix("part-")[:5]]


def good_rows(table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in a_plan("b").rows[table]]


def broken(table: str, at: int, **values: Any) -> list[dict[str, Any]]:
    rows = good_rows(table)
    rows[at] |= values
    return rows


WRONG = {
    "above its range": (
        "trajectories",
        broken("trajectories", 3, breach_probability_any=1.5),
        ["breach_probability_any of b: 1.5", "less_than_or_equal_to(1)"],
    ),
    "below its range": (
        "foramina",
        broken("foramina", 1, width_mm=-0.001),
        ["width_mm of b: -0.001", "greater_than_or_equal_to(0)"],
    ),
    "infinite": (
        "trajectories",
        broken("trajectories", 0, mean_hu=float("inf")),
        ["mean_hu of b: inf"],
    ),
    "unknown word": (
        "feasibility",
        broken("feasibility", 2, technique="new_axis"),
        ["technique of b: new_axis", "isin"],
    ),
    "unknown side": (
        "foramina",
        broken("foramina", 0, side="Left"),
        ["side of b: Left"],
    ),
    "missing key": (
        "trajectories",
        broken("trajectories", 2, id=None),
        ["id of b: ", "not_nullable"],
    ),
    "missing yes or no": (
        "true_foramina",
        [{"level": "S1", "side": "left", "found": None, "swapped": False}],
        ["found of b: ", "not_nullable"],
    ),
    "twice the same path": (
        "trajectories",
        broken("trajectories", 1, id="short_axis-left-1"),
        [" of b: ", "case_id", "id", "uniq"],
    ),
    "twice the same anatomy": ("anatomy", good_rows("anatomy") * 2, [" of b: ", "uniq"]),
    "unknown column": (
        "anatomy",
        broken("anatomy", 0, new_mm=1.0, also_mm=2.0),
        ["does not know 2 columns; the first is also_mm of b"],
    ),
    "a word for a number": (
        "anatomy",
        broken("anatomy", 0, l5_mean_hu="dense"),
        ["l5_mean_hu of b: 'dense' (no number)"],
    ),
    "half of a whole": (
        "feasibility",
        broken("feasibility", 1, paths=2.5),
        ["paths of b: 2.5 (no whole)"],
    ),
    "a number for yes": (
        "anatomy",
        broken("anatomy", 0, fracture_left=7),
        ["fracture_left of b: 7 (no yes or no)"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_broken_row_is_refused_and_the_old_tables_stay(tmp_path: Path, what: str) -> None:
    table, rows, words = WRONG[what]
    write_tables(tmp_path, CASES, RECORDS.__getitem__)
    before = table_hashes(tmp_path)
    with pytest.raises(OutputError) as caught:
        write_one(tmp_path, table, rows)
    told = str(caught.value)
    assert told.startswith(f"the table {table} was not written, because ")
    for word in words:
        assert word in told, told
    assert table_hashes(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_the_same_name_in_two_cases_is_no_duplicate(tmp_path: Path) -> None:
    write_one(tmp_path, "trajectories", good_rows("trajectories"))
    assert len(read_table(tmp_path, "trajectories")) == 16


def test_two_records_of_one_case_are_refused(tmp_path: Path) -> None:
    twice = [a_case("a"), a_case("a")]
    with pytest.raises(OutputError, match=r"the table cases was not written.* of a: "):
        write_tables(tmp_path, twice, {"a": a_failure("a", 3, "x")}.__getitem__)
    assert not (tmp_path / "tables").exists()


def test_the_dictionary_covers_every_column_with_its_type_and_unit(root: Path) -> None:
    with (root / "tables" / "dictionary.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    told = {(line["table"], line["column"]): line for line in lines}
    assert len(told) == len(lines)
    types = {"string": "text", "int64": "whole", "double": "number", "bool": "yes_no"}
    seen = set()
    for path in sorted((root / "tables").rglob("*.parquet")):
        table = path.parent.name
        schema = pq.read_schema(path)
        for field in schema:
            line = told[table, field.name]
            seen.add((table, field.name))
            assert types[str(field.type)] == line["type"], field.name
            assert field.metadata[b"unit"].decode() == line["unit"]
            assert field.metadata[b"definition"].decode() == line["definition"]
        assert schema.metadata == {
            b"disclaimer": DISCLAIMER.encode(),
            b"frame": b"patient LPS, mm",
        }
    assert seen == {key for key in told if not key[0].startswith("true_")}
    assert told["cases", "vas_before"]["definition"].startswith("Outcome of the manifest: pain")
    assert told["cases", "covariate_sex"]["type"] == "text"
    assert told["trajectories", "tip_x_lps_mm"]["unit"] == "mm"
    assert told["feasibility", "technique"]["allowed"].split(", ")[0] == "short_axis"
    assert told["foramina", "width_mm"]["allowed"] == "0 to 60"
    assert told["feasibility", "paths"]["may_be_empty"] == "no"


def test_keys_and_tables_of_the_dictionary_fit() -> None:
    for name, keys in KEYS.items():
        columns = {column.name: column for column in TABLES[name]}
        assert all(columns[key].needed for key in keys), name
    for columns in TABLES.values():
        assert columns[0].name == "case_id"
        assert all(column.definition.endswith(".") for column in columns)
        assert len({column.name for column in columns}) == len(columns)


@pytest.mark.parametrize("order", [(1.0, "x", 2.0), ("x", 1.0, 2.0), (1.0, 2.0, "x")])
def test_covariates_of_mixed_type_become_text(tmp_path: Path, order: tuple[Any, ...]) -> None:
    cases = [a_case(f"p{n}", grade=value) for n, value in enumerate(order)]
    assert [(c.name, c.kind) for c in manifest_columns(cases)] == [("covariate_grade", "text")]
    record = {case.id: a_failure(case.id, 3, "no CT.") for case in cases}
    write_tables(tmp_path, cases, record.__getitem__)
    assert list(read_table(tmp_path, "cases")["covariate_grade"]) == [str(v) for v in order]


def test_reading_names_what_it_does_not_have(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'needles' is no table of a cohort; there are ca"):
        read_table(root, "needles")
    with pytest.raises(ConfigurationError, match="holds no tables of a cohort. Give the folder"):
        read_table(tmp_path, "cases")
    none = read_table(root, "true_trajectories")
    assert len(none) == 0
    assert list(none) == [column.name for column in TABLES["true_trajectories"]]
    few = read_table(root, "cases", ["case_id", "outcome"])
    assert list(few) == ["case_id", "outcome"]


def test_a_damaged_table_says_to_run_again(tmp_path: Path) -> None:
    write_tables(tmp_path, CASES, RECORDS.__getitem__)
    (tmp_path / "tables/cases/part-00000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ConfigurationError, match=r"the table cases of .* cannot be read: .*anew"):
        read_table(tmp_path, "cases")


def values_of(column: Column) -> st.SearchStrategy[Any]:
    """Anything that the dictionary allows."""
    if column.allowed:
        known: st.SearchStrategy[Any] = st.sampled_from(column.allowed)
    elif column.kind == "text":
        known = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    elif column.kind == "yes_no":
        known = st.booleans()
    elif column.kind == "whole":
        known = st.integers(int(column.low or 0), 2**62)
    else:
        known = st.floats(column.low, column.high, allow_nan=False, allow_infinity=False)
    return known if column.needed else st.none() | known


def rows_in(table: str) -> st.SearchStrategy[dict[str, Any]]:
    columns = TABLES[table][1:]
    return st.fixed_dictionaries({column.name: values_of(column) for column in columns})


@pytest.mark.parametrize("table", [name for name in TABLES if name not in ("cases", "timings")])
@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_any_rows_in_range_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, table: str, data: st.DataObject
) -> None:
    keys = KEYS.get(table, ("case_id",))[1:]
    most = 4 if keys or table == "findings" else 1
    unique = (lambda row: tuple(row[key] for key in keys)) if keys else None
    rows = data.draw(st.lists(rows_in(table), min_size=1, max_size=most, unique_by=unique))
    root = tmp_path_factory.mktemp("any")
    record = Record("a", 0, rows={table: rows})
    write_tables(root, [a_case("a")], {"a": record}.__getitem__)
    same(pq.read_table(root / "tables" / table).to_pylist(), rows)


def same(told: list[dict[str, Any]], rows: list[Mapping[str, Any]]) -> None:
    assert told == [{"case_id": "a", **row} for row in rows]
