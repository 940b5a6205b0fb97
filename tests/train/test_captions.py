"""Training captions: wording, and the images for which they are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medimageinsight.datasets import Sample
from medimageinsight.train.captions import UNSTATED, CaptionWriter
from medimageinsight.train.clip_templates import CLIP_TEMPLATES
from medimageinsight.train.config import CaptionAugmentation


def create_sample(modality: str, anatomy: str, finding: str = "", label: str = "", view: str = "") -> Sample:
    caption = " ".join(filter(None, (modality, anatomy, view, finding)))
    return Sample(
        path=Path("x.png"), caption=caption, modality=modality, anatomy=anatomy, view=view, finding=finding, label=label
    )


SAMPLES = [
    create_sample("x-ray", "chest", "Bacterial Pneumonia", "bacterial", "anteroposterior"),
    create_sample("x-ray", "chest", "Viral Pneumonia", "viral", "anteroposterior"),
    create_sample("x-ray", "chest", "No Finding", "normal", "anteroposterior"),
    create_sample("x-ray", "hand"),
]
ALL = np.arange(len(SAMPLES))


def test_without_augmentation_a_text_is_the_caption_and_true_of_its_class_only() -> None:
    writer = CaptionWriter(SAMPLES, CaptionAugmentation())
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts == [sample.caption for sample in SAMPLES]
    assert (writer.positives(ALL, written.stated) == np.eye(4, dtype=bool)).all()


def test_less_specific_text_is_true_of_more_images() -> None:
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(drop_finding=1.0, drop_view=1.0))
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts == ["x-ray chest"] * 3 + ["x-ray hand"]
    assert (written.stated[:, 2:] == UNSTATED).all()
    positives = writer.positives(ALL, written.stated)
    assert positives[:3, :3].all()
    assert positives[3].tolist() == [False, False, False, True]


def test_broader_finding_is_true_of_all_findings_it_covers() -> None:
    broader = {"Pneumonia": ("Bacterial Pneumonia", "Viral Pneumonia")}
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(broaden=1.0, broader=broader))
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts[0] == "x-ray chest anteroposterior Pneumonia"
    assert writer.positives(ALL, written.stated)[:, 0].tolist() == [True, True, False, False]


def test_every_text_is_true_of_its_own_image() -> None:
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


def test_same_label_in_other_words_is_the_same_class() -> None:
    samples = [
        create_sample("fundus", "retina", "mild, low risk", "DR1"),
        create_sample("fundus", "retina", "mild, high risk", "DR1"),
    ]
    writer = CaptionWriter(samples, CaptionAugmentation())
    both = np.arange(2)
    assert writer.positives(both, writer.write(both, np.random.default_rng(0)).stated).all()


def test_finding_without_label_is_true_of_the_same_wording_only() -> None:
    samples = [
        create_sample("x-ray", "chest", "Edema"),
        create_sample("x-ray", "chest", "Edema", "edema"),
        create_sample("x-ray", "chest", "Fracture"),
        create_sample("x-ray", "chest"),
    ]
    for shared in (False, True):
        writer = CaptionWriter(samples, CaptionAugmentation(shared_labels=shared))
        positives = writer.positives(ALL, writer.write(ALL, np.random.default_rng(0)).stated)
        assert positives[:, 0].tolist() == [True, not shared, False, False]
        assert positives[:, 2].tolist() == [False, False, True, False]


def test_labels_are_specific_to_their_source_unless_shared() -> None:
    samples = [
        replace(create_sample("x-ray", "chest", "Edema", "1"), source="a"),
        replace(create_sample("x-ray", "chest", "Fracture", "1"), source="b"),
        replace(create_sample("x-ray", "chest", "Edema", "7"), source="b"),
    ]
    indices = np.arange(3)

    def positives(*, shared: bool) -> list[list[bool]]:
        writer = CaptionWriter(samples, CaptionAugmentation(shared_labels=shared))
        return writer.positives(indices, writer.write(indices, np.random.default_rng(0)).stated).tolist()

    assert positives(shared=False) == [[True, False, True], [False, True, False], [True, False, True]]
    assert positives(shared=True) == [[True, True, False], [True, True, False], [False, False, True]]


def test_class_names_are_written_in_clip_templates_and_captions_are_not() -> None:
    name = "x-ray chest, Edema+Effusion"
    classes = [Sample(path=Path("x.png"), caption=text, label=text) for text in (name, "x-ray hand")]
    caption = Sample(path=Path("x.png"), caption="free text")
    writer = CaptionWriter([*classes, caption], CaptionAugmentation(clip_templates=True))
    rng, indices = np.random.default_rng(0), np.array([0, 1, 2])
    written = [writer.write(indices, rng) for _ in range(2000)]
    sentences = {template.format("x-ray chest Edema Effusion") for template in CLIP_TEMPLATES}
    assert len(CLIP_TEMPLATES) == len(sentences) == 81
    assert {texts.texts[0] for texts in written} == sentences
    assert {texts.texts[2] for texts in written} == {"free text"}
    assert (writer.positives(indices, written[0].stated) == np.eye(3, dtype=bool)).all()
    plain = CaptionWriter(classes, CaptionAugmentation()).write(np.array([0]), rng)
    assert plain.texts == [name]
