"""Figures by age, sex, site and device."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess, read_groups
from medimageinsight.evaluate.group_columns import group_of
from medimageinsight.metrics.scores import roc_auc
from tests.evaluate.sample_tables import make_embedded, make_table, unit

SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=60))


@pytest.mark.parametrize(
    ("name", "cell", "group"),
    [
        ("age", "17", "0 to 17"),
        ("age", "18.9", "18 to 39"),
        ("age", "045Y", "40 to 64"),
        ("age", "009M", "0 to 17"),
        ("age", "93", "80 and over"),
        ("age", "-3", ""),
        ("age", "old", ""),
        ("age", "90+", "80 and over"),
        ("age", ">89", "80 and over"),
        ("age", "≥ 90", "80 and over"),
        ("age", ">= 80 years", "80 and over"),
        ("age", "90 and over", "80 and over"),
        ("age", "65+", ""),
        ("age", "<18", "0 to 17"),
        ("age", "<40", ""),
        ("age", "34 y", "18 to 39"),
        ("age", "NaN", ""),
        ("age", "999", ""),
        ("sex", "F", "female"),
        ("sex", "Male", "male"),
        ("sex", "O", "O"),
        ("sex", "unknown", ""),
        ("site", " north ", "north"),
        ("site", "", ""),
    ],
)
def test_cell_becomes_group(name, cell, group):
    assert group_of(name, cell) == group


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_known_columns_are_default_and_others_can_be_named(tmp_path):
    rows = [{"path": f"{n}.png", "patient_sex": "FM"[n % 2], "age": 30 + n, "ward": n % 2} for n in range(4)]
    table = write_csv(tmp_path / "table.csv", rows)
    assert read_groups(table, 4) == {
        "age": ("18 to 39",) * 4,
        "sex": ("female", "male", "female", "male"),
    }
    assert read_groups(table, 4, ["ward"]) == {"ward": ("0", "1", "0", "1")}
    with pytest.raises(ConfigError, match=r"bed.*it has path, patient_sex, age, ward") as caught:
        read_groups(table, 4, ["bed"])
    assert caught.value.code == "group_column_unknown"
    many = write_csv(tmp_path / "many.csv", [{"path": f"{n}.png", "bed": n} for n in range(40)])
    with pytest.raises(ConfigError, match="at most 30"):
        read_groups(many, 40, ["bed"])
    assert read_groups(many, 40) == {}


def test_parquet_is_read_like_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "table.parquet"
    parquet.write_table(
        pyarrow.table({"path": ["a", "b", "c"], "sex": ["F", None, "M"], "age": [3.0, 44.0, None]}), path
    )
    assert read_groups(path, 3) == {"age": ("0 to 17", "40 to 64", ""), "sex": ("female", "", "male")}


def make_biased(table, sexes):
    """Return embeddings where images of men are noise."""
    embedded = make_embedded(table, noise=1.5)
    images = embedded.images.copy()
    men = np.array(sexes) == "male"
    images[men] = unit(np.random.default_rng(0).standard_normal((men.sum(), images.shape[1])))
    return dataclasses.replace(embedded, images=images)


def test_gap_is_within_sources_and_unknown_values_are_counted():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = make_table(count=40, per_patient=1)
    sexes = ["" if n % 10 == 0 else "female" if n % 2 else "male" for n in range(len(table))]
    embedded = make_biased(table, sexes)
    found = assess(embedded, settings=SETTINGS, groups={"sex": sexes})
    grouping = next(
        grouping for grouping in found.groups if (grouping.method, grouping.measure) == ("zero-shot", "mean AUC")
    )
    female, male = grouping.groups
    assert (female.name, male.name) == ("female", "male")
    assert female.sources == 2
    assert female.value.value > 0.8
    assert male.value.low < 0.5 < male.value.high + 0.1
    assert grouping.gap.low > 0.2
    assert female.difference.value == pytest.approx(grouping.gap.value)
    assert male.difference.value == pytest.approx(-grouping.gap.value)
    assert grouping.unknown == sum(not sexes[row] for row in embedded.rows_of("test"))
    aucs = []
    for scores in found.scores["zero-shot"].values():
        women = np.array(sexes)[scores.rows] == "female"
        aucs += [roc_auc(scores.probabilities[women, label], scores.truth[women] == label) for label in range(3)]
    assert female.value.value == pytest.approx(np.mean(aucs))


def test_groups_of_few_patients_are_counted_but_not_scored():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = make_table(count=40, per_patient=1)
    sites = ["rare" if n % 40 == 0 else "north" for n in range(len(table))]
    found = assess(make_embedded(table), settings=SETTINGS, groups={"site": sites})
    assert all(
        grouping.too_few == 1 and len(grouping.groups) == 1 and grouping.gap is None for grouping in found.groups
    )


def test_column_of_unknown_values_makes_no_groups():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = make_table()
    found = assess(make_embedded(table), settings=SETTINGS, groups={"age": [""] * len(table)})
    assert all(grouping.groups == () and grouping.unknown == 120 for grouping in found.groups)
