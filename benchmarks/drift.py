"""How often `find_drift` reports drift between halves of one population, with and without patient ids.

    python benchmarks/drift.py ../shared/data/medmix/medmix.csv --source kermany_cxr

Patients with three images or more are divided at random; up to eight images of each are used. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from medimageinsight import MedImageInsight
from medimageinsight.datasets import read_table
from medimageinsight.tasks import find_drift

MIN_IMAGES, MAX_IMAGES = 3, 8  # of a patient


def main() -> None:
    """Print the share of p-values up to 0.05."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    by_patient = defaultdict(list)
    for sample in read_table(arguments.table):
        if sample.source == arguments.source and sample.patient_id:
            by_patient[sample.patient_id].append(sample.path)
    used = {patient: paths[:MAX_IMAGES] for patient, paths in by_patient.items() if len(paths) >= MIN_IMAGES}
    vectors = MedImageInsight.load().embed_images([path for paths in used.values() for path in paths])
    patients = np.array([patient for patient, paths in used.items() for _ in paths])
    rng, alarms = np.random.default_rng(0), defaultdict(int)
    for draw in range(arguments.draws):
        in_a = np.isin(patients, rng.permutation(sorted(used))[: len(used) // 2])
        a, b = vectors[in_a], vectors[~in_a]
        single = [[f"{side}{index}" for index in range(len(rows))] for side, rows in (("a", a), ("b", b))]
        known = [list(patients[in_a]), list(patients[~in_a])]
        for name, ids in (("single images", single), ("unknown", [None, None]), ("known", known)):
            result = find_drift(a, b, permutations=199, seed=draw, a_patients=ids[0], b_patients=ids[1])
            alarms[name] += result.p_value <= 0.05
    print("| patients | alarms |\n|---|---|")
    for name, count in alarms.items():
        print(f"| {name} | {count / arguments.draws:.2f} |")


if __name__ == "__main__":
    main()
