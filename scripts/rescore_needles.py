"""Example: a surgeon's own needles beside ours, measured on the same anatomy.

    python scripts/rescore_needles.py COHORT NEEDLES.csv

COHORT is a folder that `planner cohort run` wrote. NEEDLES.csv has one needle per row: case_id,
entry_x, entry_y, entry_z, tip_x, tip_y, tip_z (patient LPS, mm). Needs the extra: pip install
'.[cohort]'.
"""

import sys
from pathlib import Path

import pandas as pd

import planner
from planner import cohort


def main() -> None:
    folder, needles = Path(sys.argv[1]), pd.read_csv(sys.argv[2])
    ours = cohort.read_table(folder, "trajectories")
    for row in needles.to_dict("records"):
        entry, tip = ([row[f"{end}_{axis}"] for axis in "xyz"] for end in ("entry", "tip"))
        theirs = planner.score_needle(folder / "cases" / row["case_id"], entry, tip).scored
        side = theirs.trajectory.side
        best = ours[(ours["case_id"] == row["case_id"]) & (ours["side"] == side)].iloc[:1]
        room = theirs.measures["min_clearance_mm"]
        risk = 100 * theirs.breach_probability["any"]
        print(f"{row['case_id']} {side}: {room:.1f} mm, breach {risk:.1f} %", end="; ")
        for mine in best.to_dict("records"):
            chance = 100 * mine["breach_probability_any"]
            print(f"ours {mine['min_clearance_mm']:.1f} mm, {chance:.1f} % ({mine['id']})", end="")
        print("".join(f"\n  {warning}" for warning in theirs.warnings))


if __name__ == "__main__":
    main()
