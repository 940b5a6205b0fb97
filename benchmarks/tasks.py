"""What a few hundred labels add to zero-shot: neighbours, adapters and tag thresholds, by source of a labelled table.

    python benchmarks/tasks.py ../shared/data/medmix/medmix.parquet

Everything is learned on the split `train`, chosen on `val` and scored on `test`. scikit-learn's logistic regression,
with its own settings, stands beside the linear adapter. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from medimageinsight import MedImageInsight
from medimageinsight.adapters.adapter import train_adapter
from medimageinsight.adapters.fitting import AdapterSettings
from medimageinsight.adapters.labelled import Labelled
from medimageinsight.adapters.tables import patients_of
from medimageinsight.bundle.identity import ModelIdentity
from medimageinsight.datasets import read_table
from medimageinsight.metrics.scores import mean_one_vs_rest_auc
from medimageinsight.metrics.thresholds import Criterion, wilson
from medimageinsight.tagging.tagger import TagPrompts, embed_tags, fit_tagger, prompt_scores
from medimageinsight.tagging.vocabularies import VOCABULARIES, term_probabilities, vocabulary
from medimageinsight.tasks.neighbours import classify_by_neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample

WAYS = ("zero-shot", "neighbours", "linear adapter", "mlp adapter", "scikit-learn")


def parts_of(samples: Sequence[Sample], vectors: NDArray[np.float32], source: str) -> dict[str, Labelled] | None:
    """The splits of one source, with those labels alone that can be learned, stopped and scored."""
    rows = {split: [] for split in ("train", "val", "test")}
    for place, sample in enumerate(samples):
        if sample.source == source and sample.label and sample.split in rows:
            rows[sample.split].append(place)
    counts = {split: [samples[place].label for place in places] for split, places in rows.items()}
    labels = {
        label
        for label in set(counts["train"])
        if counts["train"].count(label) > 1 and {label} <= {*counts["val"]} & {*counts["test"]}
    }
    if len(labels) < 2:
        return None
    kept = {split: [place for place in places if samples[place].label in labels] for split, places in rows.items()}
    return {
        split: Labelled(
            vectors=vectors[places],
            labels=[samples[place].label for place in places],
            patients=patients_of([samples[place] for place in places]),
        )
        for split, places in kept.items()
    }


def prompts_of(samples: Sequence[Sample], source: str, names: Sequence[str]) -> dict[str, TagPrompts]:
    """The captions of each label, as the zero-shot evaluation has them."""
    return {
        name: TagPrompts(
            positive=tuple(dict.fromkeys(one.caption for one in samples if one.source == source and one.label == name))
        )
        for name in names
    }


def probabilities_of(
    parts: dict[str, Labelled], prompts: dict[str, TagPrompts], model: MedImageInsight, identity: ModelIdentity
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """(N, L) on the test part by each way, and the seconds of what was trained."""
    train, test, names = parts["train"], parts["test"], list(prompts)
    texts = embed_tags(model.embed_texts, prompts)
    logits = np.exp(model.logit_scale) * (test.rows.astype(np.float64) @ texts.positive.T)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    answers = classify_by_neighbours(
        test.rows, train.rows, train.labels, query_patients=test.patients, reference_patients=train.patients
    )
    found = {
        "zero-shot": powers / powers.sum(axis=1, keepdims=True),
        "neighbours": np.array([[answer.probabilities[name] for name in names] for answer in answers]),
    }
    seconds = {}
    for kind in ("linear", "mlp"):
        start = time.perf_counter()
        adapter = train_adapter(train, parts["val"], model=identity, settings=AdapterSettings(kind=kind))
        seconds[f"{kind} adapter"] = time.perf_counter() - start
        found[f"{kind} adapter"] = adapter.predict(test.rows).astype(np.float64)
    found["scikit-learn"] = LogisticRegression(max_iter=1000).fit(train.rows, train.labels).predict_proba(test.rows)
    return found, seconds


def threshold_rows(
    source: str,
    parts: dict[str, Labelled],
    prompts: dict[str, TagPrompts],
    model: MedImageInsight,
    identity: ModelIdentity,
) -> list[str]:
    """Zero-shot tags: thresholds chosen on val for a sensitivity of 0.9, judged on test."""
    names, texts = tuple(prompts), embed_tags(model.embed_texts, prompts)
    scores = {split: prompt_scores(parts[split].rows, texts, model.logit_scale) for split in ("val", "test")}
    tagger = fit_tagger(
        prompts,
        scores["val"],
        parts["val"].truth(names),
        model=identity,
        criterion=Criterion.parse("sensitivity:0.9"),
        patients=parts["val"].patients,
    ).tested(scores["test"], parts["test"].truth(names), patients=parts["test"].patients)
    return [
        f"| {source} | {tag.name} | {tag.validation.operation.sensitivity.value:.3f} "
        f"| {tag.validation.operation.specificity.value:.3f} | {tag.test.operation.sensitivity} "
        f"| {tag.test.operation.specificity} | {tag.test.auc} |"
        for tag in tagger.tags
        if tag.test is not None
    ]


def vocabulary_rows(samples: Sequence[Sample], vectors: NDArray[np.float32], model: MedImageInsight) -> list[str]:
    """How often the best term of each vocabulary is the table's, on the test images that the table has a term for."""
    rows = []
    for name in VOCABULARIES:
        terms = vocabulary(name, model=model.name)
        known = [place for place, one in enumerate(samples) if one.split == "test" and getattr(one, name) in terms]
        chances = term_probabilities(vectors[known], terms, model.embed_texts, model.logit_scale)
        best = np.array(list(terms))[chances.argmax(axis=1)]
        right = sum(term == getattr(samples[place], name) for term, place in zip(best, known, strict=True))
        rows.append(f"| {name} | {len(terms)} | {len(known):,} | {wilson(right, len(known))} |")
    return rows


def main() -> None:
    """Embed, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="a table with medmix's columns")
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    samples = read_table(given.table).samples
    accuracy_rows, auc_rows, tag_rows, seconds = [], [], [], []
    with MedImageInsight.load(given.model) as model:
        identity = ModelIdentity.of(model.manifest, model.preprocessing)
        vectors = model.embed_images(track([one.path for one in samples], "embedding", disable=None), batch_size=8)
        term_rows = vocabulary_rows(samples, vectors, model)
        for source in dict.fromkeys(one.source for one in samples):
            parts = parts_of(samples, vectors, source)
            if parts is None:
                continue
            prompts = prompts_of(samples, source, parts["train"].names)
            found, took = probabilities_of(parts, prompts, model, identity)
            seconds.append(took)
            truth = parts["test"].truth(list(prompts)).argmax(axis=1)
            head = f"| {source} | {len(prompts)} | {len(parts['train']):,} | {len(truth):,} |"
            accuracies = [np.mean(found[way].argmax(axis=1) == truth) for way in WAYS]
            accuracy_rows.append(f"{head} " + " | ".join(f"{one:.3f}" for one in accuracies) + " |")
            areas = [mean_one_vs_rest_auc(found[way], truth)[0] for way in WAYS]
            auc_rows.append(f"{head} " + " | ".join(f"{one:.3f}" for one in areas) + " |")
            tag_rows += threshold_rows(source, parts, prompts, model, identity)
    for title, rows in (("accuracy", accuracy_rows), ("mean AUC", auc_rows)):
        print(
            f"\n{title} on test\n\n| source | labels | train | test | {' | '.join(WAYS)} |\n|{'---|' * (4 + len(WAYS))}"
        )
        print("\n".join(rows))
    print("\nzero-shot tags, thresholds chosen on val for a sensitivity of 0.9\n")
    print("| source | tag | val sensitivity | val specificity | test sensitivity | test specificity | test AUC |")
    print(f"|{'---|' * 7}\n" + "\n".join(tag_rows))
    print("\nthe best term of a vocabulary, on the test images that the table has a term for\n")
    print("| vocabulary | terms | images | right |\n|---|---|---|---|\n" + "\n".join(term_rows))
    for way in ("linear adapter", "mlp adapter"):
        print(f"\n{way}: {max(one[way] for one in seconds):.1f} s to train at most, its figures included")


if __name__ == "__main__":
    main()
