from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import medimageinsight.evaluate
from medimageinsight.datasets import Sample, Table, read_table
from medimageinsight.errors import ConfigError, DatasetError, ImageError, InputError
from medimageinsight.evaluate import (
    MEDMIX_FINDING_SOURCES,
    EvaluationSettings,
    PromptSet,
    caption_prompts,
    choose_prompts,
    evaluate,
    score_table,
)

# Source, label, finding, modality, anatomy, captions.
CLASSES = (
    ("chest", "normal", "No Finding", "x-ray", "chest", ("x-ray chest normal",)),
    ("chest", "edema", "Edema", "x-ray", "chest", ("x-ray chest edema", "x-ray chest severe edema")),
    ("knee", "normal", "No Finding", "x-ray", "knee", ("x-ray knee normal",)),
    ("knee", "broken", "Fracture", "x-ray", "knee", ("x-ray knee fracture",)),
    ("plain", "head", "", "computed tomography", "head", ("computed tomography head",)),
    ("plain", "hand", "", "x-ray", "hand", ("x-ray hand",)),
)
SETTINGS = EvaluationSettings(resamples=100)


def build_table(per_class=12, splits=("train", "test")):
    samples = [
        Sample(
            path=Path(f"{source}/{label}/{split}{index}.png"),
            caption=captions[index % len(captions)],
            modality=modality,
            anatomy=anatomy,
            label=label,
            finding=finding,
            source=source,
            split=split,
            patient_id=f"{split}{label}{index // 2}" if source == "chest" else "",
        )
        for split in splits
        for source, label, finding, modality, anatomy, captions in CLASSES
        for index in range(per_class)
    ]
    return Table(samples=tuple(samples), root=Path())


class Oracle:
    """Embeds an image as the vector of its caption plus noise; without noise every figure is 1."""

    logit_scale = 4.5

    def __init__(self, table, noise=0.0):
        self.captions = {sample.path: sample.caption for sample in table}
        self.noise = noise

    def embed_texts(self, texts):
        return np.stack([unit_vector(text) for text in texts])

    def embed_images(self, sources, *, errors="raise", progress=None):
        generator = np.random.default_rng(len(sources))
        noise = self.noise * generator.standard_normal((len(sources), 64)) / 8
        vectors = self.embed_texts([self.captions[source] for source in sources]) + noise
        if progress is not None:
            progress(len(sources))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_unreadable_images_are_counted_and_named():
    table = build_table()
    oracle = Oracle(table)
    embed_all, broken = oracle.embed_images, [sample.path for sample in table.of_split("test")][:2]

    def embed_images(sources, **options):
        pairs = zip(sources, embed_all(sources, **options), strict=True)
        return [ImageError("expected more", code="image_empty") if path in broken else vector for path, vector in pairs]

    oracle.embed_images = embed_images
    with pytest.raises(DatasetError, match=f"2 images.*{broken[0].name}: image_empty") as caught:
        evaluate(oracle, table, settings=SETTINGS)
    assert caught.value.code == "dataset_broken_images"


def unit_vector(text):
    vector = np.random.default_rng(list(text.encode())).standard_normal(64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def test_perfect_model_scores_one():
    table, counts = build_table(), []
    report = evaluate(Oracle(table), table, settings=SETTINGS, name="oracle", progress=counts.append)
    assert counts == [72]
    assert (report.model, report.images, report.prompts) == ("oracle", 72, 7)
    assert report.patients == 12 + 4 * 12  # two images per patient in "chest", no patient ids elsewhere
    assert report.finding_sources == ("chest", "knee")
    figures = [report.modality_accuracy, report.anatomy_accuracy, report.mean_auc, report.image_to_text[1]]
    figures += [report.text_to_image[1], report.precision_at_k, report.sources["chest"].findings.mean_auc]
    assert [(figure.value, figure.high) for figure in figures] == [pytest.approx((1, 1))] * len(figures)
    assert all(0.4 < figure.low < 1 for figure in figures)
    assert report.sources["plain"].findings is None
    assert report.sources["plain"].labels == 2


def test_random_model_scores_chance():
    table = build_table(per_class=100)
    report = evaluate(Oracle(table, noise=1e6), table, settings=SETTINGS)
    assert report.mean_auc.low < 0.5 < report.mean_auc.high
    assert report.mean_auc.high - report.mean_auc.low < 0.2
    assert report.precision_at_k.value == pytest.approx(1 / 6, abs=0.05)
    assert report.image_to_text[10].value == 1.0  # the table has only seven captions


def test_same_label_in_two_sources_is_two_labels():
    table = build_table()
    oracle = Oracle(table)
    oracle.captions = {
        path: caption.replace("knee normal", "chest normal") for path, caption in oracle.captions.items()
    }
    report = evaluate(oracle, table, settings=SETTINGS)
    assert report.modality_accuracy.value == 1.0
    assert report.anatomy_accuracy.value == pytest.approx(60 / 72)
    assert report.sources["knee"].precision_at_k.value < 1.0


def test_label_without_scored_images_has_no_auc():
    table = build_table()
    others = tuple(sample for sample in table if (sample.label, sample.split) != ("broken", "test"))
    rare = Sample(
        path=Path("r.png"), caption="x-ray knee rare", label="rare", finding="Rare", source="knee", split="test"
    )
    table = Table(samples=(*others, rare), root=Path())
    findings = evaluate(Oracle(table), table, settings=SETTINGS).sources["knee"].findings
    assert findings.left_out == ("broken",)
    assert findings.too_few == ("normal", "rare")  # one against twelve
    assert (findings.label_auc, findings.mean_auc) == ({}, None)
    counted = evaluate(Oracle(table), table, settings=EvaluationSettings(resamples=10, min_positives=1))
    auc = counted.sources["knee"].findings.label_auc
    assert (auc["normal"].count, auc["rare"].count) == (12, 1)


def test_table_with_only_captions_has_few_figures():
    samples = tuple(Sample(path=Path(f"{n}.png"), caption=f"caption {n}") for n in range(4))
    table = Table(samples=samples, root=Path())
    report = evaluate(Oracle(table), table, settings=EvaluationSettings(split=None, resamples=10))
    assert report.modality_accuracy is report.mean_auc is report.precision_at_k is None
    assert report.image_to_text == report.text_to_image == {}
    assert report.images == 4


def test_captions_are_averaged_by_label():
    table = build_table()
    prompts = caption_prompts(table)
    oracle = Oracle(table)
    # The two captions of edema find no image of edema; the five other labels find all of theirs.
    replaced = {"x-ray chest edema": "x-ray hand", "x-ray chest severe edema": "x-ray hand"}
    vectors = oracle.embed_texts([replaced.get(prompt, prompt) for prompt in prompts])
    images = oracle.embed_images([sample.path for sample in table.of_split("test")])
    report = score_table(table, images, prompts, vectors, 4.5, settings=SETTINGS)
    assert report.text_to_image[1].value == pytest.approx(5 / 6)
    assert report.text_to_image_precision.value == pytest.approx(5 / 6)
    assert report.text_to_image[1].count == 6


def test_figures_are_reproducible_and_independent_of_prompt_order():
    table = build_table()
    oracle = Oracle(table, noise=4.0)
    images = oracle.embed_images([sample.path for sample in table.of_split("test")])
    prompts = caption_prompts(table)
    reports = [
        score_table(table, images, order, oracle.embed_texts(order), 4.5, settings=SETTINGS)
        for order in (prompts, prompts, prompts[::-1])
    ]
    assert reports[0] == reports[1]
    assert reports[0].mean_auc.value == pytest.approx(reports[2].mean_auc.value, abs=1e-9)
    assert reports[0].image_to_text == reports[2].image_to_text


def test_invalid_arguments_are_refused():
    table = build_table()
    oracle = Oracle(table)
    with pytest.raises(DatasetError, match="'val'"):
        evaluate(oracle, table, settings=EvaluationSettings(split="val"))
    with pytest.raises(ConfigError, match="out of chest, knee, got plain"):
        evaluate(oracle, table, settings=EvaluationSettings(finding_sources=("plain",), resamples=2))
    with pytest.raises(ConfigError, match="1 or more"):
        EvaluationSettings(neighbours=0)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        EvaluationSettings(confidence=95)

    prompts = caption_prompts(table)
    texts, images = oracle.embed_texts(prompts), np.zeros((72, 64), dtype=np.float32)
    with pytest.raises(InputError, match=r"shape \(72, dimensions\).*\(144, 64\)"):
        score_table(table, np.zeros((144, 64)), prompts, texts, 4.5)
    with pytest.raises(InputError, match="32 and 64"):
        score_table(table, images[:, :32], prompts, texts, 4.5)
    with pytest.raises(InputError, match="finite"):
        score_table(table, images * np.nan, prompts, texts, 4.5)
    with pytest.raises(InputError, match="caption_prompts"):
        score_table(table, images, prompts[1:], texts[1:], 4.5)


def test_medmix_averages_its_seven_sources(shared):
    table = read_table(shared / "data" / "medmix" / "medmix.csv")
    oracle = Oracle(table)
    generator = np.random.default_rng(5)
    images = generator.standard_normal((1661, 64))
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    prompts = caption_prompts(table)
    report = score_table(table, images, prompts, oracle.embed_texts(prompts), 4.5, settings=SETTINGS)
    assert report.finding_sources == MEDMIX_FINDING_SOURCES
    assert (report.images, report.prompts, report.mean_auc.count) == (1661, 229, 7)
    assert report.mean_auc.low < 0.5 < report.mean_auc.high
    assert report.sources["mednist"].findings is None
    assert report.sources["isic_uda1"].findings.left_out == ("benign",)


def test_mean_auc_of_a_source_equals_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    table = build_table(per_class=60)
    oracle = Oracle(table, noise=8.0)
    prompts = caption_prompts(table)
    scored = table.of_split("test")
    images = oracle.embed_images([sample.path for sample in scored])
    report = score_table(table, images, prompts, oracle.embed_texts(prompts), 4.5, settings=SETTINGS)
    chest = [index for index, sample in enumerate(scored) if sample.source == "chest"]
    edema = unit_vector("x-ray chest edema") + unit_vector("x-ray chest severe edema")
    classes = np.stack([unit_vector("x-ray chest normal"), edema / np.linalg.norm(edema)])
    logits = np.exp(4.5) * images[chest].astype(float) @ classes.T
    truth = [scored.samples[index].label == "edema" for index in chest]
    expected = sklearn.roc_auc_score(truth, logits[:, 1] - logits[:, 0])
    assert 0.55 < expected < 0.95
    assert report.sources["chest"].findings.mean_auc.value == pytest.approx(expected, abs=1e-6)


def test_public_functions_are_not_hidden_by_modules():
    for name in ("evaluate", "assess", "compare"):
        assert callable(getattr(medimageinsight.evaluate, name))


def reports_of_single_images(*, splits, count=30):
    """Return a table with a text for each image, near which its image is, and labels without information."""
    generator = np.random.default_rng(0)
    samples = tuple(
        Sample(path=Path(f"{i}.png"), caption=f"report number {i}", label=label, finding=label, split=split)
        for i, split in enumerate(split for split in splits for _ in range(count))
        for label in ("sick" if i % 2 else "well",)
    )
    images = np.stack([unit_vector(sample.caption) for sample in samples])
    images += 0.5 * np.stack([unit_vector(str(value)) for value in generator.random(len(samples))])
    return Table(samples=samples, root=Path()), images / np.linalg.norm(images, axis=1, keepdims=True)


def test_captions_of_scored_images_are_no_prompts():
    table, images = reports_of_single_images(splits=("train", "test"))
    prompts = caption_prompts(table)
    texts = np.stack([unit_vector(prompt) for prompt in prompts])
    report = score_table(table, images[30:], prompts, texts, 4.6, settings=SETTINGS)
    assert report.prompts == 30
    assert report.prompt_source == "the captions of the split train"
    own = score_table(
        table,
        images[30:],
        PromptSet(rows=table.samples[:30], source="train"),
        texts[:30],
        4.6,
        settings=SETTINGS,
    )
    assert report.mean_auc == own.mean_auc
    assert 0.2 < report.mean_auc.value < 0.8
    assert "60 captions for 60 images" in report.warnings[0]


def test_table_without_another_split_needs_prompts():
    table, images = reports_of_single_images(splits=("test",))
    prompts = caption_prompts(table)
    texts = np.stack([unit_vector(prompt) for prompt in prompts])
    with pytest.raises(InputError) as caught:
        score_table(table, images, prompts, texts, 4.6, settings=SETTINGS)
    assert caught.value.code == "prompts_of_scored_images"
    assert choose_prompts(table, "test").texts == ("well", "sick")
    report = evaluate(Oracle(table), table, settings=SETTINGS)
    assert report.prompts == 2
    assert "2 labels that no other split has" in report.prompt_source


def test_prompts_from_a_template_or_a_file():
    table = build_table()
    filled = choose_prompts(table, "test", template="{modality} of {anatomy}: {}")
    assert filled.texts[:2] == ("x-ray of chest: normal", "x-ray of chest: edema")
    labels = {sample.label for sample in table}
    given = choose_prompts(table, "test", prompts={label: [f"a {label}", label] for label in labels})
    assert given.texts[:2] == ("a normal", "normal")
    assert evaluate(Oracle(table), table, settings=SETTINGS, prompts=given).prompt_source == "a file of prompts"
    with pytest.raises(ConfigError) as caught:
        choose_prompts(table, "test", prompts={"edema": ["edema"]})
    assert caught.value.code == "prompts_incomplete"
    with pytest.raises(ConfigError, match="both"):
        choose_prompts(table, "test", template="{}", prompts={})


def test_labels_that_differ_by_case_or_spaces_are_warned_of():
    table = build_table()
    samples = tuple(
        replace(sample, label="Edema " if sample.label == "edema" and index % 2 else sample.label)
        for index, sample in enumerate(table)
    )
    report = evaluate(Oracle(table), Table(samples=samples, root=Path()), settings=SETTINGS)
    assert (
        "chest: labels that differ only by case or spaces are different classes: 'edema', 'Edema '" in report.warnings
    )
    assert evaluate(Oracle(table), table, settings=SETTINGS).warnings == ()
