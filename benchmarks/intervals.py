"""Coverage of the 95 % intervals that `mi2 evaluate` prints, by simulation with few positives.

    python benchmarks/intervals.py

Scores are normal, of equal spread or twice as wide for positives. Patients with three images have a common part in
their scores and all their images positive or negative. Percentile bootstrap is the earlier method, for comparison.
The true average precision is that of a population with the simulated share of positives. Prints Markdown.
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np

from medimageinsight.metrics import (
    MIN_POSITIVES,
    Figure,
    auc_figure,
    average_precision_figure,
    bootstrap_figure,
    draw_bootstrap_weights,
    share_figure,
)
from medimageinsight.metrics.scores import weighted_roc_auc

POSITIVES = (3, 5, 10, 15, 60)
AUCS = (0.6, 0.75, 0.85, 0.92, 0.97, 0.99)
NEGATIVES = 200
MANY_NEGATIVES = 2000  # a rare label
SHARES = np.linspace(0.5, 0.98, 13)
_PATIENT_SHARE = 0.7**0.5  # of the spread of scores that is common to the images of a patient


def simulate(
    auc: float,
    positives: int,
    spread: float,
    images: int,
    rng: np.random.Generator,
    *,
    negatives: int = NEGATIVES,
) -> tuple[np.ndarray, ...]:
    """Return scores, truth and patients with this true AUC; ``positives`` counts patients of ``images`` images."""
    truth = np.arange(positives + negatives) < positives
    width = np.where(truth, spread, 1.0)
    shift = NormalDist().inv_cdf(auc) * (1 + spread**2) ** 0.5
    common = rng.normal(size=len(truth)) if images > 1 else np.zeros(len(truth))
    part = _PATIENT_SHARE if images > 1 else 0.0
    own = rng.normal(size=(images, len(truth))) * (1 - part**2) ** 0.5
    scores = width * (part * common + own) + shift * truth
    return scores.ravel(), np.tile(truth, images), np.tile(np.arange(len(truth)), images)


def bootstrap_auc(scores: np.ndarray, truth: np.ndarray, patients: np.ndarray, seed: int) -> Figure | None:
    """Return the AUC with the percentile interval of resampled patients."""
    drawn = draw_bootstrap_weights(patients, np.zeros_like(patients), resamples=300, seed=seed)
    weights = np.concatenate([np.ones((1, len(scores)), np.float32), drawn])
    values = weighted_roc_auc(scores, truth, weights)
    return bootstrap_figure(values[0], values[1:], count=len(scores), confidence=0.95)


def coverage_of_aucs(positives: int, spread: float, images: int, runs: int, *, bootstrap: bool) -> str:
    """Return the lowest and the mean coverage over true AUCs, or ``too few``."""
    rates = []
    for index, auc in enumerate(AUCS):
        rng, covered = np.random.default_rng((positives, images, index)), 0
        for run in range(runs):
            scores, truth, patients = simulate(auc, positives, spread, images, rng)
            found = (
                bootstrap_auc(scores, truth, patients, run)
                if bootstrap
                else auc_figure(scores, truth, patients, confidence=0.95)
            )
            if found is None:
                return "too few"
            covered += found.low <= auc <= found.high
        rates.append(covered / runs)
    return f"{min(rates):.3f}, {np.mean(rates):.3f}"


def true_average_precision(auc: float, share: float, spread: float) -> float:
    """Return the average precision of a population with this AUC and share of positives."""
    shift = NormalDist().inv_cdf(auc) * (1 + spread**2) ** 0.5
    normal, grid = NormalDist(), np.linspace(-8, 8, 4001)
    density = np.array([normal.pdf(z) for z in grid])
    found = np.array([normal.cdf(-z) for z in grid])  # positives and negatives above each score
    false = np.array([normal.cdf(-(shift + spread * z)) for z in grid])
    precision = share * found / np.maximum(share * found + (1 - share) * false, 1e-300)
    return float(density @ precision / density.sum())


def coverage_of_average_precisions(positives: int, spread: float, images: int, negatives: int, runs: int) -> str:
    """Return the lowest and the mean coverage over true AUCs, or ``too few``."""
    rates = []
    for index, auc in enumerate(AUCS):
        rng, covered = np.random.default_rng((positives, images, negatives, index)), 0
        true = true_average_precision(auc, positives / (positives + negatives), spread)
        for _ in range(runs):
            scores, truth, patients = simulate(auc, positives, spread, images, rng, negatives=negatives)
            found = average_precision_figure(scores, truth, patients, confidence=0.95)
            if found is None:
                return "too few"
            covered += found.low <= true <= found.high
        rates.append(covered / runs)
    return f"{min(rates):.3f}, {np.mean(rates):.3f}"


def coverage_of_shares(count: int, images: int, runs: int) -> str:
    """Return the mean coverage of the interval of a share over true shares from 0.5 to 0.98."""
    rng, covered = np.random.default_rng((count, images)), 0
    for share in SHARES:
        for _ in range(runs):
            flags = rng.random(count) < share
            found = share_figure(np.tile(flags, images), np.tile(np.arange(count), images), confidence=0.95)
            covered += found is not None and found.low <= share <= found.high
    return f"{covered / runs / len(SHARES):.3f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="simulated tables for each number")
    runs = parser.parse_args().runs
    print(f"AUC: lowest and mean coverage over true AUCs {', '.join(map(str, AUCS))}; {NEGATIVES} negatives\n")
    print("| patients with positives | bootstrap | here | wider positives | three images a patient |")
    print("|---|---|---|---|---|")
    for count in POSITIVES:
        cells = (
            coverage_of_aucs(count, 1.0, 1, runs // 10, bootstrap=True),
            coverage_of_aucs(count, 1.0, 1, runs, bootstrap=False),
            coverage_of_aucs(count, 2.0, 1, runs, bootstrap=False),
            coverage_of_aucs(count, 1.0, 3, runs, bootstrap=False),
        )
        print(f"| {count} | {' | '.join(cells)} |", flush=True)
    print("\nAverage precision: lowest and mean coverage over the same AUCs\n")
    print(f"| positives | here | wider positives | three images a patient | {MANY_NEGATIVES:,} negatives |")
    print("|---|---|---|---|---|")
    for count in POSITIVES:
        cases = ((1.0, 1, NEGATIVES), (2.0, 1, NEGATIVES), (1.0, 3, NEGATIVES), (1.0, 1, MANY_NEGATIVES))
        found = [coverage_of_average_precisions(count, *case, runs) for case in cases]
        print(f"| {count} | {' | '.join(found)} |", flush=True)
    print(f"\nFewer than {MIN_POSITIVES}: no figure. Shares: mean coverage over true shares 0.5 to 0.98\n")
    print("| images | one a patient | three equal images a patient |\n|---|---|---|")
    for count in POSITIVES:
        print(f"| {count} | {coverage_of_shares(count, 1, runs)} | {coverage_of_shares(count, 3, runs)} |")


if __name__ == "__main__":
    main()
