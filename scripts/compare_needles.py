"""Example: what does a thinner needle gain? The same cohort with two gauges, patient by patient.

    python scripts/compare_needles.py MANIFEST OUTPUT [11G 13G]

Needs the extra: pip install '.[cohort]'.
"""

import sys
from pathlib import Path

from scipy.stats import wilcoxon

import planner
from planner import cohort


def main() -> None:
    manifest, output = map(Path, sys.argv[1:3])
    gauges = sys.argv[3:5] or ["11G", "13G"]
    cases = cohort.read_manifest(manifest)
    rooms = {}
    for gauge in gauges:
        folder = output / gauge
        cohort.run(cases, folder, planner.Configuration(needle=gauge))
        table = cohort.read_table(folder, "feasibility")
        # Patients, not CTs: of one with several sessions the first counts.
        patients = cohort.patients_of(cohort.read_table(folder, "cases"))
        mine = table[table["case_id"].isin(patients["case_id"])]
        rooms[gauge] = mine.set_index(["case_id", "technique", "side"])["best_clearance_mm"]

    for technique in planner.Technique:
        a, b = (rooms[gauge].unstack("side").xs(technique, level="technique") for gauge in gauges)
        # One value per patient: two sides of one sacrum are not two patients.
        gain = (b.max(axis=1) - a.max(axis=1)).dropna()
        text = f"{technique}: {len(gain)} patients with a path for both needles"
        if len(gain) > 5 and gain.abs().max() > 0:
            p = wilcoxon(gain).pvalue
            text += f", {gauges[1]} gains {gain.median():.2f} mm in the median (p {p:.2g})"
        print(text)


if __name__ == "__main__":
    main()
