"""The gain of a few hundred labels over zero-shot: neighbours, adapters and tag thresholds, by source of a table.

    python benchmarks/tasks.py ../shared/data/medmix/medmix.parquet

Everything is trained on the split `train`, chosen on `val` and scored on `test`. scikit-learn's logistic regression
with its default settings is compared with the linear adapter. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from medimageinsight import MedImageInsight
from medimageinsight.adapters import AdapterSettings, LabelledEmbeddings, train_adapter
from medimageinsight.bundle import ModelIdentity
from medimageinsight.datasets import patient_ids, read_table
from medimageinsight.metrics import Criterion, one_vs_rest_auc, wilson_interval
from medimageinsight.tagging import (
    VOCABULARIES,
    TagPrompts,
    embed_tags,
    fit_tagger,
    prompt_scores,
    term_probabilities,
    vocabulary,
)
from medimageinsight.tasks import classify_by_neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample

METHODS = ("zero-shot", "neighbours", "linear adapter", "mlp adapter", "scikit-learn")


def split_source(
    samples: Sequence[Sample], vectors: NDArray[np.float32], source: str
) -> dict[str, LabelledEmbeddings] | None:
    """Return the splits of one source, with the labels that have images in every split; None if fewer than two have."""
    rows = {split: [] for split in ("train", "val", "test")}
    for index, sample in enumerate(samples):
        if sample.source == source and sample.label and sample.split in rows:
            rows[sample.split].append(index)
    counts = {split: [samples[index].label for index in indices] for split, indices in rows.items()}
    labels = {
        label
        for label in set(counts["train"])
        if counts["train"].count(label) > 1 and {label} <= {*counts["val"]} & {*counts["test"]}
    }
    if len(labels) < 2:
        return None
    rows = {split: [index for index in indices if samples[index].label in labels] for split, indices in rows.items()}
    return {
        split: LabelledEmbeddings(
            vectors=vectors[indices],
            labels=[samples[index].label for index in indices],
            patients=patient_ids([samples[index] for index in indices]),
        )
        for split, indices in rows.items()
    }


def make_prompts(samples: Sequence[Sample], source: str, names: Sequence[str]) -> dict[str, TagPrompts]:
    """Return the captions of each label as its prompts, as in the zero-shot evaluation."""
    return {
        name: TagPrompts(
            positive=tuple(
                dict.fromkeys(item.caption for item in samples if item.source == source and item.label == name)
            )
        )
        for name in names
    }


def compare_methods(
    parts: dict[str, LabelledEmbeddings],
    prompts: dict[str, TagPrompts],
    model: MedImageInsight,
    identity: ModelIdentity,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Return probabilities (N, L) on the test split by each method, and the training time in seconds."""
    train, test, names = parts["train"], parts["test"], list(prompts)
    texts = embed_tags(model.embed_texts, prompts)
    logits = np.exp(model.logit_scale) * (test.rows.astype(np.float64) @ texts.positive.T)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    results = classify_by_neighbours(
        test.rows, train.rows, train.labels, query_patients=test.patients, reference_patients=train.patients
    )
    probabilities = {
        "zero-shot": exponentials / exponentials.sum(axis=1, keepdims=True),
        "neighbours": np.array([[result.probabilities[name] for name in names] for result in results]),
    }
    seconds = {}
    for kind in ("linear", "mlp"):
        start = time.perf_counter()
        adapter = train_adapter(train, parts["val"], model=identity, settings=AdapterSettings(kind=kind))
        seconds[f"{kind} adapter"] = time.perf_counter() - start
        probabilities[f"{kind} adapter"] = adapter.predict(test.rows).astype(np.float64)
    regression = LogisticRegression(max_iter=1000).fit(train.rows, train.labels)
    probabilities["scikit-learn"] = regression.predict_proba(test.rows)
    return probabilities, seconds


def threshold_rows(
    source: str,
    parts: dict[str, LabelledEmbeddings],
    prompts: dict[str, TagPrompts],
    model: MedImageInsight,
    identity: ModelIdentity,
) -> list[str]:
    """Choose thresholds of zero-shot tags on val for a sensitivity of 0.9, and score them on test."""
    names, texts = tuple(prompts), embed_tags(model.embed_texts, prompts)
    scores = {split: prompt_scores(parts[split].rows, texts, model.logit_scale) for split in ("val", "test")}
    tagger = fit_tagger(
        prompts,
        scores["val"],
        parts["val"].truth(names),
        model=identity,
        criterion=Criterion.parse("sensitivity:0.9"),
        patients=parts["val"].patients,
    ).with_test_figures(scores["test"], parts["test"].truth(names), patients=parts["test"].patients)
    return [
        f"| {source} | {tag.name} | {tag.validation.operation.sensitivity.value:.3f} "
        f"| {tag.validation.operation.specificity.value:.3f} | {tag.test.operation.sensitivity} "
        f"| {tag.test.operation.specificity} | {tag.test.auc} |"
        for tag in tagger.tags
        if tag.test is not None
    ]


def vocabulary_rows(samples: Sequence[Sample], vectors: NDArray[np.float32], model: MedImageInsight) -> list[str]:
    """Compute how often the best term of each vocabulary is the table's, on test images with a term in the table."""
    rows = []
    for name in VOCABULARIES:
        terms = vocabulary(name, model=model.name)
        known = [i for i, sample in enumerate(samples) if sample.split == "test" and getattr(sample, name) in terms]
        probabilities = term_probabilities(vectors[known], terms, model.embed_texts, model.logit_scale)
        best = np.array(list(terms))[probabilities.argmax(axis=1)]
        correct = sum(term == getattr(samples[index], name) for term, index in zip(best, known, strict=True))
        rows.append(f"| {name} | {len(terms)} | {len(known):,} | {wilson_interval(correct, len(known))} |")
    return rows


def main() -> None:
    """Embed, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="a table with medmix's columns")
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    samples = read_table(arguments.table).samples
    accuracy_rows, auc_rows, tag_rows, seconds = [], [], [], []
    with MedImageInsight.load(arguments.model) as model:
        identity = ModelIdentity.of(model.manifest, model.preprocessing)
        vectors = model.embed_images(
            track([sample.path for sample in samples], "embedding", disable=None), batch_size=8
        )
        term_rows = vocabulary_rows(samples, vectors, model)
        for source in dict.fromkeys(sample.source for sample in samples):
            parts = split_source(samples, vectors, source)
            if parts is None:
                continue
            prompts = make_prompts(samples, source, parts["train"].names)
            probabilities, duration = compare_methods(parts, prompts, model, identity)
            seconds.append(duration)
            truth = parts["test"].truth(list(prompts)).argmax(axis=1)
            head = f"| {source} | {len(prompts)} | {len(parts['train']):,} | {len(truth):,} |"
            accuracies = [np.mean(probabilities[method].argmax(axis=1) == truth) for method in METHODS]
            accuracy_rows.append(f"{head} " + " | ".join(f"{value:.3f}" for value in accuracies) + " |")
            areas = [np.nanmean(one_vs_rest_auc(probabilities[method], truth)) for method in METHODS]
            auc_rows.append(f"{head} " + " | ".join(f"{value:.3f}" for value in areas) + " |")
            tag_rows += threshold_rows(source, parts, prompts, model, identity)
    for title, rows in (("accuracy", accuracy_rows), ("mean AUC", auc_rows)):
        print(f"\n{title} on test\n\n| source | labels | train | test | {' | '.join(METHODS)} |")
        print(f"|{'---|' * (4 + len(METHODS))}")
        print("\n".join(rows))
    print("\nzero-shot tags, thresholds chosen on val for a sensitivity of 0.9\n")
    print("| source | tag | val sensitivity | val specificity | test sensitivity | test specificity | test AUC |")
    print(f"|{'---|' * 7}\n" + "\n".join(tag_rows))
    print("\nthe best term of a vocabulary, on test images with a term in the table\n")
    print("| vocabulary | terms | images | correct |\n|---|---|---|---|\n" + "\n".join(term_rows))
    for method in ("linear adapter", "mlp adapter"):
        print(f"\n{method}: {max(times[method] for times in seconds):.1f} s to train at most, its figures included")


if __name__ == "__main__":
    main()
