"""Templates of captions, and captions that are said as they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight.datasets import Sample
from medimageinsight.errors import ConfigError
from medimageinsight.train.captions import UNSTATED, WHOLE, CaptionWriter
from medimageinsight.train.config import CaptionAugmentation
from medimageinsight.train.prompts import Template

TEXT = "{modality}[ of the {anatomy}][, {view} view,] showing {finding}"


def sample(**known: str) -> Sample:
    parts = " ".join(filter(None, (known.get(part, "") for part in ("modality", "anatomy", "view", "finding"))))
    return Sample(path=Path("x.png"), **({"caption": parts} | known))


def test_brackets_fall_away_with_their_field():
    template = Template.parse(TEXT)
    values = {"modality": "MRI", "anatomy": "brain", "view": "", "finding": "Glioma"}
    assert template.fill(values) == "MRI of the brain showing Glioma"
    assert template.said(values) == ["modality", "anatomy", "finding"]
    assert not template.fits(values | {"finding": ""})
    assert template.fill({"modality": "MRI", "finding": "Glioma"}) == "MRI showing Glioma"
    assert template.words() == ["of the", "view", "showing"]


@pytest.mark.parametrize(
    "text", ["", "no field", "{colour}", "{}", "{modality", "[{modality}", "a] {modality}", "[[{view}]]"]
)
def test_templates_that_are_none(text):
    with pytest.raises(ConfigError) as caught:
        Template.parse(text)
    assert caught.value.code == "template_invalid"


SAMPLES = [
    sample(modality="x-ray", anatomy="chest", view="frontal", finding="Edema", label="edema"),
    sample(modality="x-ray", anatomy="chest", finding="No Finding", label="normal"),
    sample(modality="x-ray", anatomy="hand"),
]
ALL = np.arange(3)


def test_one_of_the_templates_that_fit_is_drawn_and_only_what_it_says_is_stated():
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


def test_where_no_template_fits_the_parts_stand_in_a_row():
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(), ["showing {finding} in {view} view"])
    assert writer.write(ALL, np.random.default_rng(0)).texts == [
        "showing Edema in frontal view",
        "x-ray chest No Finding",
        "x-ray hand",
    ]


def test_templates_go_with_synonyms_and_parts_left_out():
    settings = CaptionAugmentation(synonym=1.0, synonyms={"chest": ("thorax",)}, drop_view=1.0)
    writer = CaptionWriter(SAMPLES[:1], settings, [TEXT])
    written = writer.write(ALL[:1], np.random.default_rng(0))
    assert written.texts == ["x-ray of the thorax showing Edema"]
    assert written.stated[0, 2] == UNSTATED


def test_a_caption_without_parts_is_said_as_it_stands_and_its_class_is_its_label_within_its_source():
    samples = [
        sample(caption="one wording", label="3", source="a"),
        sample(caption="other wording", label="3", source="a"),
        sample(caption="one wording", label="3", source="b"),
        sample(caption="no class"),
        sample(caption="no class either"),
        sample(caption="no class"),
        SAMPLES[0],
    ]
    writer = CaptionWriter(samples, CaptionAugmentation(drop_finding=1.0))
    all_ = np.arange(len(samples))
    written = writer.write(all_, np.random.default_rng(0))
    assert written.texts[:-1] == [one.caption for one in samples[:-1]]
    expected = np.eye(7, dtype=bool)
    expected[0, 1] = expected[1, 0] = expected[3, 5] = expected[5, 3] = True
    assert (writer.positives(all_, written.stated) == expected).all()


def test_a_class_that_only_the_caption_names_is_not_lost_in_the_parts():
    samples = [
        sample(caption="x-ray chest Edema", label="edema", modality="x-ray", anatomy="chest"),
        sample(caption="x-ray chest normal", label="normal", modality="x-ray", anatomy="chest"),
        sample(modality="x-ray", anatomy="chest"),
    ]
    writer = CaptionWriter(samples, CaptionAugmentation())
    written = writer.write(ALL, np.random.default_rng(0))
    assert written.texts == ["x-ray chest Edema", "x-ray chest normal", "x-ray chest"]
    truth = writer.positives(ALL, written.stated)
    assert truth[:2, :2].tolist() == np.eye(2, dtype=bool).tolist()
    assert truth[:, 2].all(), "what is said of the chest is true of all of them"
    assert not truth[2, :2].any()
    assert (writer.truth(writer.facts, written.stated) == truth).all()
    assert written.stated[:, WHOLE].tolist()[2] == UNSTATED
