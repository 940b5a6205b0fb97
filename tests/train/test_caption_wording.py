"""Caption templates, and captions that are used unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight.datasets import Sample
from medimageinsight.errors import ConfigError
from medimageinsight.train.caption_wording import Template
from medimageinsight.train.captions import UNSTATED, WHOLE, CaptionWriter
from medimageinsight.train.config import CaptionAugmentation

TEXT = "{modality}[ of the {anatomy}][, {view} view,] showing {finding}"


def create_sample(**attributes: str) -> Sample:
    parts = " ".join(filter(None, (attributes.get(part, "") for part in ("modality", "anatomy", "view", "finding"))))
    return Sample(path=Path("x.png"), **({"caption": parts} | attributes))


def test_brackets_are_omitted_with_an_empty_field():
    template = Template.parse(TEXT)
    values = {"modality": "MRI", "anatomy": "brain", "view": "", "finding": "Glioma"}
    assert template.fill(values) == "MRI of the brain showing Glioma"
    assert template.used_fields(values) == ["modality", "anatomy", "finding"]
    assert not template.fits(values | {"finding": ""})
    assert template.fill({"modality": "MRI", "finding": "Glioma"}) == "MRI showing Glioma"
    assert template.words() == ["of the", "view", "showing"]


@pytest.mark.parametrize(
    "text", ["", "no field", "{colour}", "{}", "{modality", "[{modality}", "a] {modality}", "[[{view}]]"]
)
def test_rejects_invalid_templates(text):
    with pytest.raises(ConfigError) as caught:
        Template.parse(text)
    assert caught.value.code == "template_invalid"


SAMPLES = [
    create_sample(modality="x-ray", anatomy="chest", view="frontal", finding="Edema", label="edema"),
    create_sample(modality="x-ray", anatomy="chest", finding="No Finding", label="normal"),
    create_sample(modality="x-ray", anatomy="hand"),
]
ALL = np.arange(3)


def test_draws_a_fitting_template_and_states_only_its_fields():
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(), ["{anatomy} with {finding}", "a {modality}[ ({view})]"])
    seen = set()
    for seed in range(30):
        written = writer.write(ALL, np.random.default_rng(seed))
        assert writer.positives(ALL, written.stated).diagonal().all()
        for text, stated in zip(written.texts, written.stated, strict=True):
            assert (stated[1] == UNSTATED) == text.startswith("a x-ray")
        seen.update(written.texts)
    assert seen == {"chest with Edema", "chest with No Finding", "a x-ray (frontal)", "a x-ray"}
    assert "with" in writer.vocabulary()


def test_parts_are_joined_if_no_template_fits():
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(), ["showing {finding} in {view} view"])
    assert writer.write(ALL, np.random.default_rng(0)).texts == [
        "showing Edema in frontal view",
        "x-ray chest No Finding",
        "x-ray hand",
    ]


def test_templates_combine_with_synonyms_and_dropped_parts():
    settings = CaptionAugmentation(synonym=1.0, synonyms={"chest": ("thorax",)}, drop_view=1.0)
    writer = CaptionWriter(SAMPLES[:1], settings, [TEXT])
    written = writer.write(ALL[:1], np.random.default_rng(0))
    assert written.texts == ["x-ray of the thorax showing Edema"]
    assert written.stated[0, 2] == UNSTATED


def test_caption_without_parts_is_unchanged_and_its_class_is_its_label_within_its_source():
    samples = [
        create_sample(caption="one wording", label="3", source="a"),
        create_sample(caption="other wording", label="3", source="a"),
        create_sample(caption="one wording", label="3", source="b"),
        create_sample(caption="no class"),
        create_sample(caption="no class either"),
        create_sample(caption="no class"),
        SAMPLES[0],
    ]
    writer = CaptionWriter(samples, CaptionAugmentation(drop_finding=1.0))
    indices = np.arange(len(samples))
    written = writer.write(indices, np.random.default_rng(0))
    assert written.texts[:-1] == [sample.caption for sample in samples[:-1]]
    expected = np.eye(7, dtype=bool)
    expected[0, 1] = expected[1, 0] = expected[3, 5] = expected[5, 3] = True
    assert (writer.positives(indices, written.stated) == expected).all()


def test_class_named_only_in_the_caption_is_preserved():
    samples = [
        create_sample(caption="x-ray chest Edema", label="edema", modality="x-ray", anatomy="chest"),
        create_sample(caption="x-ray chest normal", label="normal", modality="x-ray", anatomy="chest"),
        create_sample(modality="x-ray", anatomy="chest"),
    ]
    writer = CaptionWriter(samples, CaptionAugmentation())
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts == ["x-ray chest Edema", "x-ray chest normal", "x-ray chest"]
    positives = writer.positives(ALL, written.stated)
    assert positives[:2, :2].tolist() == np.eye(2, dtype=bool).tolist()
    assert positives[:, 2].all(), "a caption of the chest is true of every chest image"
    assert not positives[2, :2].any()
    assert written.stated[:, WHOLE].tolist()[2] == UNSTATED
