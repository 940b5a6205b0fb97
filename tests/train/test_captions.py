"""Training captions: wordings, and of which pictures they are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from medimageinsight.datasets.table import Sample
from medimageinsight.train.captions import UNSTATED, CaptionWriter
from medimageinsight.train.config import CaptionAugmentation


def sample(modality: str, anatomy: str, finding: str = "", label: str = "", view: str = "") -> Sample:
    caption = " ".join(filter(None, (modality, anatomy, view, finding)))
    return Sample(
        path=Path("x.png"), caption=caption, modality=modality, anatomy=anatomy, view=view, finding=finding, label=label
    )


SAMPLES = [
    sample("x-ray", "chest", "Bacterial Pneumonia", "bacterial", "anteroposterior"),
    sample("x-ray", "chest", "Viral Pneumonia", "viral", "anteroposterior"),
    sample("x-ray", "chest", "No Finding", "normal", "anteroposterior"),
    sample("x-ray", "hand"),
]
ALL = np.arange(len(SAMPLES))


def test_without_augmentation_a_text_is_the_caption_and_true_of_its_class_alone() -> None:
    writer = CaptionWriter(SAMPLES, CaptionAugmentation())
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts == [sample.caption for sample in SAMPLES]
    assert (writer.positives(ALL, written.stated) == np.eye(4, dtype=bool)).all()


def test_a_text_that_says_less_is_true_of_more_pictures() -> None:
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(drop_finding=1.0, drop_view=1.0))
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts == ["x-ray chest"] * 3 + ["x-ray hand"]
    assert (written.stated[:, 2:] == UNSTATED).all()
    positives = writer.positives(ALL, written.stated)
    assert positives[:3, :3].all()
    assert positives[3].tolist() == [False, False, False, True]


def test_a_broader_finding_is_true_of_all_it_covers() -> None:
    broader = {"Pneumonia": ("Bacterial Pneumonia", "Viral Pneumonia")}
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(broaden=1.0, broader=broader))
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts[0] == "x-ray chest anteroposterior Pneumonia"
    assert writer.positives(ALL, written.stated)[:, 0].tolist() == [True, True, False, False]


def test_every_text_is_true_of_the_picture_it_was_written_for() -> None:
    settings = CaptionAugmentation(
        synonym=0.5,
        shuffle=0.5,
        punctuate=0.5,
        sentence=0.5,
        drop_modality=0.5,
        drop_anatomy=0.5,
        drop_view=0.5,
        drop_finding=0.5,
        broaden=0.5,
        synonyms={"x-ray": ("radiograph", "XR"), "chest": ("thorax",)},
        broader={"Pneumonia": ("Bacterial Pneumonia", "Viral Pneumonia")},
    )
    writer = CaptionWriter(SAMPLES, settings)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(200):
        written = writer.write(ALL, rng)
        assert writer.positives(ALL, written.stated).diagonal().all()
        assert all(written.texts)
        seen.update(written.texts)
    assert {"thorax", "radiograph chest", "x-ray of the chest showing Pneumonia"} <= seen


def test_the_same_label_in_other_words_is_the_same_class() -> None:
    samples = [
        sample("fundus", "retina", "mild, low risk", "DR1"),
        sample("fundus", "retina", "mild, high risk", "DR1"),
    ]
    writer = CaptionWriter(samples, CaptionAugmentation())
    both = np.arange(2)
    assert writer.positives(both, writer.write(both, np.random.default_rng(0)).stated).all()


def test_a_finding_without_a_label_is_true_where_it_is_worded_so_and_nowhere_else() -> None:
    samples = [
        sample("x-ray", "chest", "Edema"),
        sample("x-ray", "chest", "Edema", "edema"),
        sample("x-ray", "chest", "Fracture"),
        sample("x-ray", "chest"),
    ]
    for shared in (False, True):
        writer = CaptionWriter(samples, CaptionAugmentation(shared_labels=shared))
        positives = writer.positives(ALL, writer.write(ALL, np.random.default_rng(0)).stated)
        assert positives[:, 0].tolist() == [True, not shared, False, False]
        assert positives[:, 2].tolist() == [False, False, True, False]


def test_a_label_is_its_sources_own_unless_it_is_shared() -> None:
    one, other = sample("x-ray", "chest", "Edema", "1"), sample("x-ray", "chest", "Fracture", "1")
    same_words = sample("x-ray", "chest", "Edema", "7")
    samples = [replace(one, source="a"), replace(other, source="b"), replace(same_words, source="b")]
    all_of = np.arange(3)

    def true_of(*, shared: bool) -> list[list[bool]]:
        writer = CaptionWriter(samples, CaptionAugmentation(shared_labels=shared))
        return writer.positives(all_of, writer.write(all_of, np.random.default_rng(0)).stated).tolist()

    assert true_of(shared=False) == [[True, False, True], [False, True, False], [True, False, True]]
    assert true_of(shared=True) == [[True, True, False], [True, True, False], [False, False, True]]
