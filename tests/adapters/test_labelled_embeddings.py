from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight.adapters import LabelledEmbeddings, check_trainable, split_by_patient, split_embeddings
from medimageinsight.datasets import Sample
from medimageinsight.errors import InputError
from tests.adapters.sample_embeddings import make_clusters, make_multilabel


def test_split_has_no_patient_in_both_parts_and_every_label_in_each() -> None:
    data = make_clusters(101, shares=[0.8, 0.15, 0.05], seed=3)
    train, validation = split_by_patient(data, fraction=0.3, seed=1)
    assert len(train) + len(validation) == 101
    assert not set(train.patients) & set(validation.patients)
    assert train.names == validation.names == data.names
    assert 0.2 < len(validation) / 101 < 0.4


def test_seed_determines_the_split() -> None:
    data = make_clusters(60)
    first, repeated, other_seed = (split_by_patient(data, seed=seed)[1].patients for seed in (0, 0, 1))
    assert first == repeated != other_seed


def test_images_without_a_patient_are_split_individually() -> None:
    data = LabelledEmbeddings(vectors=np.eye(10), labels=["a"] * 5 + ["b"] * 5)
    train, validation = split_by_patient(data, fraction=0.4)
    assert sorted(validation.labels) == ["a", "a", "b", "b"]
    assert len(train) == 6


def test_label_of_one_patient_stays_in_training() -> None:
    data = LabelledEmbeddings(vectors=np.eye(6), labels=list("aaaabb"), patients=list("pqrtss"))
    train, validation = split_by_patient(data, fraction=0.5)
    assert train.labels.count("b") == 2
    with pytest.raises(InputError) as caught:
        check_trainable(train, validation)
    assert caught.value.code == "label_not_in_validation"
    assert "'b'" in caught.value.message


def test_sets_of_labels_become_flags() -> None:
    data = LabelledEmbeddings(vectors=np.eye(3), labels=[frozenset("ab"), frozenset(), frozenset("b")])
    assert data.names == ("a", "b")
    assert not data.exclusive
    assert data.truth(("a", "b")).tolist() == [[True, True], [False, False], [False, True]]
    train, validation = split_by_patient(make_multilabel(60))
    assert train.names == validation.names


@pytest.mark.parametrize(
    ("train", "validation", "code"),
    [
        (["a", "a", "a"], ["a"], "labels_too_few"),
        (["a", "a", "b"], ["a", "b"], "label_too_rare"),
        (["a", "a", "b", "b"], ["a"], "label_not_in_validation"),
        (["a", "a", "b", "b"], ["a", "b", "c"], "label_unknown"),
        ([frozenset("ab"), frozenset("a"), frozenset("ab")], [frozenset("ab")], "label_everywhere"),
        ([frozenset("a"), frozenset("a"), frozenset()], ["a"], "label_invalid"),
        ([frozenset(), frozenset()], [frozenset()], "labels_too_few"),
    ],
)
def test_rejects_untrainable_parts(train, validation, code: str) -> None:
    parts = [LabelledEmbeddings(vectors=np.eye(8)[: len(labels)], labels=labels) for labels in (train, validation)]
    with pytest.raises(InputError) as caught:
        check_trainable(*parts)
    assert caught.value.code == code


def test_rejects_a_patient_in_both_parts() -> None:
    part = LabelledEmbeddings(vectors=np.eye(4), labels=["a", "a", "b", "b"], patients=["p", "q", "r", "s"])
    with pytest.raises(InputError) as caught:
        check_trainable(part, part)
    assert caught.value.code == "patients_shared"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"vectors": np.full((2, 3), np.nan), "labels": ["a", "b"]}, "embeddings_not_finite"),
        ({"vectors": np.eye(2), "labels": ["a"]}, "labels_mismatched"),
        ({"vectors": np.eye(2), "labels": ["a", frozenset("b")]}, "label_invalid"),
        ({"vectors": np.eye(2), "labels": ["a", "b"], "patients": ["p"]}, "patients_mismatched"),
        ({"vectors": np.ones(2), "labels": ["a", "b"]}, "embeddings_bad_shape"),
    ],
)
def test_rejects_invalid_labelled_embeddings(values, code: str) -> None:
    with pytest.raises(InputError) as caught:
        LabelledEmbeddings(**values)
    assert caught.value.code == code


def test_rejects_a_test_patient_of_another_part_with_counts() -> None:
    splits = ["train", "train", "val", "val", "test", "test"]
    samples = [Sample(path=Path(f"{n}.png"), caption="", split=split) for n, split in enumerate(splits)]
    data = LabelledEmbeddings(vectors=np.eye(6), labels=list("ababab"), patients=["p", "q", "r", "s", "p", "r"])
    with pytest.raises(InputError, match="2 patients with 4 images") as caught:
        split_embeddings(data, samples)
    assert caught.value.code == "patients_shared"
