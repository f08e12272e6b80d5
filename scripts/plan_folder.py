"""Example: plan every CT of a folder, and look at the tables.

    python scripts/plan_folder.py FOLDER OUTPUT

FOLDER holds one folder per subject. Run it again after anything that stopped it: only what is
missing is computed. Needs the extra: pip install '.[cohort]'.
"""

import sys
from pathlib import Path

from planner import cohort


def main() -> None:
    folder, output = map(Path, sys.argv[1:3])
    report = cohort.run(cohort.read_manifest(folder), output)
    print(f"{report.cases} CTs: {dict(report.outcomes)}")

    cases = cohort.read_table(output, "cases")
    paths = cohort.read_table(output, "trajectories")
    failed = cases[cases["exit_status"] != 0]
    print(failed[["case_id", "outcome", "reason"]].to_string(index=False))

    best = paths[paths["rank"] == 1]
    print(best[["case_id", "technique", "side", "min_clearance_mm"]].to_string(index=False))
    print("Summary:", cohort.summarize(output))


# Workers import this file; without the guard each would start a run of its own.
if __name__ == "__main__":
    main()
