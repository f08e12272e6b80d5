"""Outcomes of a cohort: published summaries from made-up tables, and slow, obvious oracles."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pandas as pd
import pytest

from planner.cohort.association import associations
from planner.cohort.outcomes import (
    before_after,
    cement,
    leaks,
)
from tests.support.outcomes import cohort, only

NAN = math.nan
Z95 = 1.959963984540054


def repeated(**counts: int) -> list[float]:
    """Values by name: repeated(v3=2, v5=1) is 3, 3, 5."""
    return [float(name[1:]) for name, times in counts.items() for _ in range(times)]


# Published summaries, from tables made up to match them (no patient's data).


def anton_jimenez() -> pd.DataFrame:
    """31 patients, 5 treated on one side: 57 sites of 2 to 7 ml, 205.8 ml together."""
    sites = repeated(v2=12, v3=15, v4=17, v5=8, v6=1, v7=2) + [4.3, 4.5]
    left, right = sites[:31], [0.0] * 5 + sites[31:]
    leak = dict.fromkeys(["foramen", "vein", "disc", "canal", "joint"], [0.0] * 31)
    for site, times in {"foramen": 4, "vein": 6, "disc": 1}.items():
        leak[site] = [1.0] * times + [0.0] * (31 - times)
    columns = {f"leak_{site}": values for site, values in leak.items()}
    return pd.DataFrame({"cement_left_ml": left, "cement_right_ml": right, **columns})


def test_the_volumes_of_anton_jimenez_2025() -> None:
    # Semin Musculoskelet Radiol 2025;29(S1), 10.1055/s-0045-1809585: 3.61 mL per site, range 2-7.
    per_site = only(cement(anton_jimenez()), where="site")
    assert (per_site.volume.n, per_site.volume.unknown, per_site.untreated) == (57, 0, 5)
    assert per_site.volume.mean == pytest.approx(3.61, abs=0.005)
    assert (per_site.volume.low, per_site.volume.high) == (2, 7)
    # The printed SD of 2.5 is not asked for: with that mean and range it can't be. Bhatia & Davis
    # 2000 (Am Math Mon 107:353): variance <= (max - mean)(mean - min) = 5.46, so SD <= 2.34, or
    # 2.36 with n - 1 over 57 sites (2.38 over 31 patients).
    bound = math.sqrt((7 - 3.61) * (3.61 - 2))
    assert bound * math.sqrt(31 / 30) < 2.45
    assert per_site.volume.sd is not None and per_site.volume.sd < bound * math.sqrt(57 / 56)


@pytest.mark.parametrize(("site", "leaking"), [("foramen", 4), ("vein", 6), ("disc", 1)])
def test_the_leaks_of_anton_jimenez_2025(site: str, leaking: int) -> None:
    found = only(leaks(anton_jimenez()), site=site)
    assert (found.known, found.unknown, found.leaking, found.leaks) == (31, 0, leaking, leaking)
    assert found.share is not None
    assert found.share.value == leaking / 31


def gupta() -> pd.DataFrame:
    """53 patients, 27 with recorded scores, 26 of them after treatment too.

    26 because of the printed quartiles: with whole scores and type 7, .25 and .75 need n = 4k + 2,
    which 27 pairs can't give (nor can SPSS's type 6). Mobility counts from 0, or 0.25 can't be.
    """
    scores = {
        "vas_before": repeated(v5=1, v6=1, v7=1, v8=7, v9=7, v10=9),
        "vas_after": repeated(v0=8, v1=1, v2=2, v3=4, v4=2, v5=2, v6=2, v7=2, v8=2, v9=1),
        "fms_before": repeated(v1=3, v2=8, v3=15),
        "fms_after": repeated(v0=7, v1=8, v2=4, v3=7),
        "analgesic_before": repeated(v2=4, v3=13, v4=9),
        "analgesic_after": repeated(v1=3, v2=7, v3=9, v4=7),
    }
    extra = {name: [3.0 if "before" in name else NAN] + [NAN] * 26 for name in scores}
    return pd.DataFrame({name: values + extra[name] for name, values in scores.items()})


@pytest.mark.parametrize(
    ("scale", "before", "after", "below"),
    [
        ("vas", (8.0, 9.0, 10.0), (0.0, 3.0, 5.8), 0.001),
        ("fms", (2.0, 3.0, 3.0), (0.25, 1.0, 2.8), 0.001),
        ("analgesic", (3.0, 3.0, 4.0), (2.0, 3.0, 3.8), 0.01),
    ],
)
def test_the_medians_and_quartiles_of_gupta_2014(
    scale: str, before: tuple, after: tuple, below: float
) -> None:
    # AJNR 2014;35:2202, abstract: 53 patients, 27 with data; median [IQR] and P as printed.
    found = {p.scale.name: p for p in before_after(gupta())}[scale]
    assert (found.pairs, found.before_only, found.neither, found.unknown) == (26, 1, 26, 27)
    for spread, printed in ((found.before, before), (found.after, after)):
        # 5.75 is printed 5.8, and 0.25 in full.
        assert (spread.q1, spread.median, spread.q3) == pytest.approx(printed, abs=0.0501)
    assert found.test is not None
    assert 0 < found.test.p < below and found.test.effect > 0


@pytest.mark.parametrize(
    ("before", "after", "printed"),
    [
        (
            repeated(v10=108, v9=57, v8=22, v7=10, v6=4, v5=3),
            repeated(v0=54, v1=46, v2=40, v3=28, v4=19, v5=10, v6=5, v7=2),
            (204, 9.2, 1.1, 1.9, 1.7),
        ),
        (
            repeated(v10=13, v9=15, v8=9, v7=2),
            repeated(v0=10, v1=6, v2=6, v3=5, v4=4, v5=2, v6=2, v7=3, v8=1),
            (39, 9.0, 0.9, 2.6, 2.4),
        ),
    ],
)
def test_the_means_of_kortman_2013(before: list, after: list, printed: tuple) -> None:
    # J NeuroIntervent Surg 2013;5:461, abstract: fractures 9.2±1.1 to 1.9±1.7, lesions 9.0±0.9 to
    # 2.6±2.4, both P < .001.
    (found,) = before_after(pd.DataFrame({"vas_before": before, "vas_after": after}))
    spreads = (found.before.mean, found.before.sd, found.after.mean, found.after.sd)
    assert (found.pairs, *(round(v or 0, 1) for v in spreads)) == printed
    assert found.test is not None and found.test.p < 0.001


# Leaks and cement.


def test_the_share_is_wilson_s() -> None:
    share = only(leaks(pd.DataFrame({"leak_vein": [1] * 6 + [0] * 25})), site="vein").share
    n, p, z2 = 31, 6 / 31, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    assert (share.low, share.high) == pytest.approx((centre - half, centre + half), rel=1e-9)


def test_any_leak_counts_only_patients_whose_sites_are_all_known() -> None:
    table = {
        "leak_foramen": [2, 0, 1, NAN, 0],
        "leak_vein": [1, 0, NAN, 0, 0],
        "leak_disc": [NAN] * 5,  # never recorded: not part of any
    }
    rows = leaks(pd.DataFrame(table))
    assert [r.site for r in rows] == ["foramen", "vein", "disc", "any"]
    found = rows[-1]
    assert found.over == ("foramen", "vein")
    assert (found.known, found.unknown, found.incomplete) == (3, 2, 1)
    assert (found.leaking, found.leaks) == (1, 3)
    assert rows[2].share is None and rows[2].reason == "no patient has it recorded"


def test_cement_is_counted_by_treated_site() -> None:
    table = {
        "cement_ml": [6, 3, NAN, 0],
        "cement_left_ml": [4, 3, NAN, 0],
        "cement_right_ml": [2, 0, 5, NAN],
    }
    rows = {r.where: r for r in cement(pd.DataFrame(table))}
    assert list(rows) == ["total", "site", "left", "right"]
    assert (rows["total"].volume.n, rows["total"].volume.unknown, rows["total"].untreated) == (
        *(3, 1, 0),
    )
    site = rows["site"]
    assert (site.volume.n, site.volume.unknown, site.untreated) == (4, 2, 2)
    assert (site.volume.mean, site.volume.median, site.volume.q1) == (3.5, 3.5, 2.75)
    assert site.volume.sd == pytest.approx(math.sqrt(5 / 3))


# Rows, repeats, faults.


def test_later_sessions_of_a_patient_are_left_out_and_counted() -> None:
    table = pd.DataFrame(cohort(60, 1))
    table["subject"] = [f"P{i:02d}" for i in range(60)]
    table["cement_ml"] = 4.0
    again = table.iloc[:7].assign(vas_after=10.0, leak_foramen=1.0, cement_ml=9.0)
    both = pd.concat([table, again], ignore_index=True)
    assert [replace(r, repeats=0) for r in leaks(both)] == list(leaks(table))
    assert [replace(r, repeats=0) for r in cement(both)] == list(cement(table))
    assert [replace(r, repeats=0) for r in before_after(both)] == list(before_after(table))
    found = associations(both, ["near"])
    assert replace(found, repeats=0) == associations(table, ["near"])
    counted = [*leaks(both), *cement(both), *before_after(both), found]
    assert {r.repeats for r in counted} == {7} and found.patients == 60


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(),
        pd.DataFrame({"subject": [], "m": [], "vas_before": [], "leak_vein": []}),
        pd.DataFrame({"m": [1.0], "vas_before": [7], "vas_after": [2], "leak_vein": [1]}),
        pd.DataFrame(NAN, range(20), ["m", "vas_before", "fms_after", "leak_vein", "cement_ml"]),
        pd.DataFrame(None, range(20), ["m", "vas_after", "cement_left_ml"], dtype=object),
        pd.DataFrame({"m": [pd.NA] * 9, "leak_disc": [pd.NA] * 9}, dtype="Float64"),
    ],
)
def test_empty_and_unknown_tables_give_reasons_and_no_warning(table: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = associations(table, [name for name in ("m",) if name in table.columns])
        pairs, leaking, volumes = before_after(table), leaks(table), cement(table)
    assert found.tests == 0
    assert all(r.reason and not r.estimable for r in found.rows)
    assert all(r.reason and r.test is None and r.shift is None for r in pairs)
    assert all(r.reason or r.known == 1 for r in leaking)
    assert all(r.reason and r.volume.n == 0 for r in volumes)
    assert all(r.pairs + r.unknown == len(table) for r in pairs)
    assert all(r.known + r.unknown == len(table) for r in leaking)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("vas_after", 10.5, "vas_after at row 'P2' is 10.5; allowed: 0 to 10, or empty"),
        ("vas_before", -1, "vas_before at row 'P2' is -1; allowed: 0 to 10"),
        ("vas_before", "8", "vas_before at row 'P2' is '8'; allowed: 0 to 10"),
        ("analgesic_after", 5, "analgesic_after at row 'P2' is 5; allowed: whole, 0 to 4"),
        ("pain_level_before", 2.5, "pain_level_before at row 'P2' is 2.5; allowed: whole, 1 to 4"),
        ("leak_canal", -1, "leak_canal at row 'P2' is -1; allowed: whole, 0 or more"),
        ("leak_canal", 0.5, "leak_canal at row 'P2' is 0.5; allowed: whole, 0 or more"),
        ("cement_ml", -0.1, "cement_ml at row 'P2' is -0.1; allowed: 0 or more"),
        ("m", math.inf, "m at row 'P2' is inf; allowed: any finite number"),
        ("subject", None, "subject is missing at row 'P2': every case needs one"),
    ],
)
def test_a_faulty_value_is_named_with_its_column_and_row(
    column: str, value: object, message: str
) -> None:
    # In a later session too: what is left out is still checked.
    table = pd.DataFrame({"subject": ["a", "a"], "m": [1.0, 2.0]}, index=["P1", "P2"], dtype=object)
    table[column] = [table[column].iloc[0] if column in table.columns else None, value]
    with pytest.raises(ValueError) as error:
        associations(table, ["m"])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["depth"], "metric 'depth' is not a column"),
        (["m", "m"], "metric 'm' is named twice"),
        (["vas_before"], "metric 'vas_before' is an outcome"),
        ("m", "metrics is the text 'm'"),
    ],
)
def test_metrics_that_are_none_are_refused(metrics: list, message: str) -> None:
    table = pd.DataFrame({"m": [1.0], "vas_before": [3]})
    with pytest.raises(ValueError, match=message):
        associations(table, metrics)


def test_a_column_given_twice_is_refused() -> None:
    table = pd.DataFrame([[1, 2]], columns=["vas_before", "vas_before"])
    with pytest.raises(ValueError, match="the column 'vas_before' more than once"):
        before_after(table)
