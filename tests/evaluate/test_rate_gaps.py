"""Sensitivity and false-positive rate of groups at the operating points, and their gaps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess, read_groups, write_assessment
from tests.evaluate.sample_tables import make_embedded, make_table

pytest.importorskip("sklearn")
SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=40), permutations=20)


@pytest.fixture(scope="module")
def assessed():
    """Two sources; in the first, women's images of class `a` are replaced by noise, so that fewer are found."""
    table = make_table(count=40, per_patient=1)
    embedded = make_embedded(table, noise=1.0)
    generator = np.random.default_rng(0)
    sexes = ["female" if index % 2 else "male" for index in range(len(table))]
    for row, sample in enumerate(table):
        if sample.split == "test" and sexes[row] == "female" and (sample.source, sample.label) == ("chest", "a"):
            noise = generator.standard_normal(embedded.images.shape[1])
            embedded.images[row] = noise / np.linalg.norm(noise)
    rare = ["many" if index % 40 > 5 else "few" for index in range(len(table))]
    return assess(embedded, settings=SETTINGS, groups={"sex": sexes, "ward": rare}), sexes


def gaps_of(assessment, **wanted):
    return [gap for gap in assessment.rate_gaps if all(getattr(gap, key) == value for key, value in wanted.items())]


def test_rates_and_gap_by_hand(assessed):
    assessment, sexes = assessed
    scores = assessment.scores["zero-shot"]["chest"]
    column = scores.names.index("a")
    women = np.array([sexes[row] == "female" for row in scores.rows])
    truth = scores.truth == column
    chosen = {"method": "zero-shot", "source": "chest", "label": "a", "criterion": "youden", "column": "sex"}
    for measure, among in (("sensitivity", truth), ("false positive rate", ~truth)):
        (gap,) = gaps_of(assessment, measure=measure, **chosen)
        predicted = scores.probabilities[:, column] >= gap.threshold
        rates = {group.name: group for group in gap.groups}
        assert rates["female"].value.value == pytest.approx(predicted[among & women].mean())
        assert rates["male"].value.value == pytest.approx(predicted[among & ~women].mean())
        assert (rates["female"].images, rates["female"].patients) == ((among & women).sum(), (among & women).sum())
        expected = abs(predicted[among & women].mean() - predicted[among & ~women].mean())
        assert gap.gap.value == pytest.approx(expected)
        assert rates["female"].difference.value == pytest.approx(-rates["male"].difference.value)
        assert gap.gap.low < gap.gap.value < gap.gap.high
    (found,) = gaps_of(assessment, measure="sensitivity", **chosen)
    assert (found.highest, found.lowest) == ("male", "female")
    assert found.gap.low > 0


def test_interval_of_a_difference_equals_newcombes(assessed):
    binomtest = pytest.importorskip("scipy.stats").binomtest
    assessment, _ = assessed
    chosen = {"method": "kNN", "source": "knee", "label": "b", "criterion": "youden", "column": "sex"}
    (gap,) = gaps_of(assessment, measure="sensitivity", **chosen)
    groups = {group.name: group for group in gap.groups}
    first, second = groups[gap.highest], groups[gap.lowest]
    shares, limits = [], []
    for group in (first, second):
        hits = round(group.value.value * group.images)
        shares.append(hits / group.images)
        limits.append(binomtest(hits, group.images).proportion_ci(method="wilson"))
    difference = shares[0] - shares[1]
    low = difference - np.hypot(shares[0] - limits[0].low, limits[1].high - shares[1])
    expected = (low, difference + np.hypot(limits[0].high - shares[0], shares[1] - limits[1].low))
    assert (gap.gap.low, gap.gap.high) == pytest.approx(expected, abs=1e-6)


def test_groups_without_enough_patients_are_too_few(assessed, tmp_path):
    assessment, _ = assessed
    by_ward = gaps_of(assessment, column="ward", source="chest", method="zero-shot", criterion="youden")
    sensitivity = next(gap for gap in by_ward if gap.measure == "sensitivity")
    assert {group.name: group.images for group in sensitivity.groups} == {"few": 6, "many": 34}
    assert sensitivity.gap is not None  # six patients
    folder = write_assessment(assessment, tmp_path / "report")
    document = json.loads((folder / "report.json").read_text())
    assert len(document["rate_gaps"]) == len(assessment.rate_gaps)
    assert "Gaps by sex" in (folder / "report.md").read_text()


def test_few_positives_in_a_group_have_no_rate():
    table = make_table(count=30, per_patient=1, sources=("chest",))
    sites = ["a" if index % 30 > 3 else "b" for index in range(len(table))]
    assessment = assess(make_embedded(table), settings=SETTINGS, groups={"site": sites})
    for gap in gaps_of(assessment, method="zero-shot"):
        small = next(group for group in gap.groups if group.name == "b")
        if gap.measure == "sensitivity":  # four patients with the class
            assert small.images == 4
            assert small.value is None
            assert gap.gap is None
        else:
            assert small.images == 8
            assert small.value is not None


def test_columns_of_groups_are_found_in_any_case(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("Path,Patient Age,SEX,Ward No,Patient ID\na.png,44,F,1,p\nb.png,91,m,2,q\n")
    assert read_groups(table, 2) == {"age": ("40 to 64", "80 and over"), "sex": ("female", "male")}
    assert read_groups(table, 2, ["Sex", "ward_no"]) == {"Sex": ("female", "male"), "ward_no": ("1", "2")}
    assert read_groups(table, 2, ["PATIENT AGE"]) == {"PATIENT AGE": ("40 to 64", "80 and over")}
    nih = tmp_path / "nih.csv"
    nih.write_text("Image Index,Patient Gender\na.png,F\n")
    assert read_groups(nih, 1) == {"sex": ("female",)}
    with pytest.raises(ConfigError, match="names images or patients"):
        read_groups(table, 2, ["patient id"])
