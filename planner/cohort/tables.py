"""The tables: Parquet files of a fixed number of cases each, checked row by row.

Cases are taken in the order of their names, so that the same records give the same files, whoever
computed them and in whatever order. One part is in memory at a time.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa_check
import pyarrow as pa
import pyarrow.parquet as pq

from planner.cohort.cases import Case
from planner.cohort.content import TABLES_FOLDER as FOLDER
from planner.cohort.content import table_hashes
from planner.cohort.dictionary import COVARIATE, KEYS, TABLES, Column, Kind, dictionary_rows
from planner.cohort.manifest import OUTCOMES
from planner.cohort.rows import case_row
from planner.cohort.task import Record
from planner.errors import ConfigurationError, OutputError
from planner.export.atomic import write_folder
from planner.export.cells import inert
from planner.export.disclaimer import DISCLAIMER

DICTIONARY = "dictionary.csv"
PART_CASES = 500
"""Cases of one part: some MB of rows."""
ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "whole": pa.int64(),
    "number": pa.float64(),
    "yes_no": pa.bool_(),
}
PANDAS: dict[Kind, Any] = {
    "text": pd.StringDtype("pyarrow"),
    "whole": pd.Int64Dtype(),
    "number": pd.Float64Dtype(),
    "yes_no": pd.BooleanDtype(),
}


def manifest_columns(cases: Iterable[Case]) -> tuple[Column, ...]:
    """Describe the columns that a manifest's covariates and outcomes make in `cases`."""
    kinds: dict[str, Kind] = {}
    told: dict[str, str] = {}
    for case in cases:
        for name, value in case.covariates.items():
            key = f"{COVARIATE}{name}"
            kind: Kind = "text" if isinstance(value, str) else "number"
            kinds[key] = kind if kinds.get(key, kind) == kind else "text"
            told[key] = f"Covariate {name} of the manifest."
        for name in case.outcomes:
            kinds[name] = "number"
            told[name] = f"Outcome of the manifest: {OUTCOMES[name]}"
    return tuple(Column(name, kinds[name], told[name]) for name in sorted(kinds))


def write_tables(
    root: Path, cases: Sequence[Case], record_of: Callable[[str], Record]
) -> dict[str, str]:
    """Write every table that has rows; returns the hash of each file by its name below the root.

    record_of: finds the record of a case by its name.
    Raises OutputError; what stood there before is unchanged then.
    """
    extra = manifest_columns(cases)
    done = sorted(cases, key=lambda case: case.id)
    write_folder(
        root,
        {FOLDER: partial(_write_all, done, extra, record_of)},
        (FOLDER,),
        overwrite=True,
    )
    return table_hashes(root)


def read_table(root: Path, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read one table of a cohort; without any row where the cohort has none of it.

    Raises ConfigurationError for a name that is no table, and where the folder is no cohort.
    """
    if name not in TABLES:
        raise ConfigurationError(f"{name!r} is no table of a cohort; there are {', '.join(TABLES)}")
    folder = Path(root) / FOLDER / name
    if not (Path(root) / FOLDER / DICTIONARY).is_file():
        raise ConfigurationError(
            f"{root} holds no tables of a cohort. Give the folder that `planner cohort run` wrote."
        )
    if not folder.is_dir():
        names = [column.name for column in TABLES[name]]
        return pd.DataFrame(columns=list(columns or names))
    try:
        table = pq.read_table(folder, columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ConfigurationError(
            f"the table {name} of {root} cannot be read: {error}. Run the cohort again; it makes "
            "the tables anew."
        ) from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _write_all(
    cases: Sequence[Case],
    extra: tuple[Column, ...],
    record_of: Callable[[str], Record],
    folder: Path,
) -> None:
    folder.mkdir()
    for number, part in enumerate(_parts(cases)):
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        for case in part:
            for name, row in _rows_of(case, record_of(case.id)):
                rows[name].append(row)
        for name, values in rows.items():
            if values:
                columns = (*TABLES[name], *(extra if name == "cases" else ()))
                _write_part(name, columns, values, folder / name / f"part-{number:05d}.parquet")
    with (folder / DICTIONARY).open("w", encoding="utf-8", newline="") as file:
        lines = dictionary_rows(extra)
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows({name: inert(cell) for name, cell in line.items()} for line in lines)


def _parts(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    for first in range(0, len(cases), PART_CASES):
        yield cases[first : first + PART_CASES]


def _rows_of(case: Case, record: Record) -> Iterator[tuple[str, dict[str, Any]]]:
    yield (
        "cases",
        case_row(
            case,
            record.status,
            record.reason,
            input_sha256=record.input_sha256,
            result_key=record.result_key,
            **record.values,
        ),
    )
    yield "timings", {"case_id": case.id, **record.timings}
    for name, rows in record.rows.items():
        for row in rows:
            yield name, {"case_id": case.id, **row}


def check_record(case: Case, record: Record) -> None:
    """Hold a record's rows against the dictionary, so that one odd case cannot keep all others
    from the tables (OutputError)."""
    plain = Case(case.subject, case.ct, case.session)
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, row in _rows_of(plain, record):
        rows.setdefault(name, []).append(row)
    for name, values in rows.items():
        if name not in TABLES:
            raise OutputError(f"there is no table {name} for {len(values)} rows of {case.id}.")
        _frame(name, TABLES[name], values)


def _frame(name: str, columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make a part of a table; OutputError where its dictionary does not allow it."""
    known = {column.name for column in columns}
    strange = sorted({(key, row["case_id"]) for row in rows for key in row if key not in known})
    if strange:
        raise OutputError(
            f"the table {name} was not written, because its dictionary does not know "
            f"{len({key for key, _ in strange})} columns; the first is {strange[0][0]} of "
            f"{strange[0][1]}. This is a defect of the program."
        )
    frame = pd.DataFrame({column.name: _array(name, column, rows) for column in columns})
    _check(name, columns, frame)
    return frame


def _write_part(
    name: str, columns: tuple[Column, ...], rows: list[dict[str, Any]], path: Path
) -> None:
    frame = _frame(name, columns, rows)
    fields = [
        pa.field(
            column.name,
            ARROW[column.kind],
            metadata={"unit": column.unit, "definition": column.definition},
        )
        for column in columns
    ]
    schema = pa.schema(fields, metadata={"disclaimer": DISCLAIMER, "frame": "patient LPS, mm"})
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    path.parent.mkdir(exist_ok=True)
    # The frame's own metadata names this machine's pandas, which is no part of the result.
    pq.write_table(table.replace_schema_metadata(schema.metadata), path, compression="zstd")


def _array(name: str, column: Column, rows: list[dict[str, Any]]) -> Any:
    """Return a column's values; OutputError for one that is of another type."""
    values = [_typed(column, row.get(column.name)) for row in rows]
    try:
        return pd.array(values, dtype=PANDAS[column.kind])
    except (TypeError, ValueError, OverflowError) as error:
        pairs = zip(values, rows, strict=True)
        value, row = next((pair for pair in pairs if not _fits(column, pair[0])), (None, rows[0]))
        kind = column.kind.replace("_", " or ")
        raise OutputError(
            f"the table {name} was not written, because a value is of another type than its "
            f"dictionary says; the first is {column.name} of {row['case_id']}: {value!r} (no "
            f"{kind}). This is a defect of the program."
        ) from error


def _fits(column: Column, value: Any) -> bool:
    try:
        pd.array([value], dtype=PANDAS[column.kind])
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _typed(column: Column, value: Any) -> Any:
    if column.kind == "text" and value is not None:
        return str(value)
    return value


def _check(name: str, columns: tuple[Column, ...], frame: pd.DataFrame) -> None:
    """Hold a part against the dictionary (OutputError): types, bounds, words, keys."""
    try:
        _schema(name, columns).validate(frame, lazy=True)
    except pa_check.errors.SchemaErrors as error:
        cases = error.failure_cases
        first = cases.iloc[0]
        where = "" if pd.isna(first["index"]) else f" of {frame['case_id'].iloc[first['index']]}"
        raise OutputError(
            f"the table {name} was not written, because {len(cases)} values break its dictionary; "
            f"the first is {first['column']}{where}: {first['failure_case']} ({first['check']}). "
            "This is a defect of the program."
        ) from error


def _finite(values: pd.Series) -> pd.Series:
    return pd.Series(np.isfinite(values.to_numpy(float, na_value=0.0)), index=values.index)


def _schema(name: str, columns: tuple[Column, ...]) -> Any:
    checks: dict[str, Any] = {}
    for column in columns:
        rules = []
        if column.kind == "number":
            rules.append(pa_check.Check(_finite, error="finite"))
        if column.low is not None:
            rules.append(pa_check.Check.ge(column.low))
        if column.high is not None:
            rules.append(pa_check.Check.le(column.high))
        if column.allowed:
            rules.append(pa_check.Check.isin(list(column.allowed)))
        checks[column.name] = pa_check.Column(
            PANDAS[column.kind], rules, nullable=not column.needed
        )
    keys = list(KEYS[name]) if name in KEYS else None
    return pa_check.DataFrameSchema(checks, unique=keys, strict=True, ordered=True)
