"""Score a model on real files whose modality a reader can name, and on paraphrases of its captions.

python tools/mini/judge.py --model runs/mini2/student/bundle --files ../shared/data/samples/dicom

A file is right if its best term of the vocabulary `modality` is the reader's; echocardiography is ultrasound. A
paraphrase is right if the caption with the most similar text embedding is its own. The half `final` is scored once,
with --final.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np

from medimageinsight import MedImageInsight
from medimageinsight.tagging import term_probabilities, vocabulary

FOLDER = Path(__file__).parent
SAME = {"echocardiography": "ultrasound"}


def read_rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV in this folder."""
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def judge_files(model: MedImageInsight, folder: Path) -> None:
    """Print the fraction of files with the right modality, and the wrong ones."""
    rows = read_rows("sample_files.csv")
    terms = vocabulary("modality", model=model.name)
    vectors = model.embed_images([folder / row["file"] for row in rows])
    probabilities = term_probabilities(vectors, terms, model.embed_texts, model.logit_scale)
    wrong = []
    for row, scores in zip(rows, probabilities, strict=True):
        best = list(terms)[int(scores.argmax())]
        if SAME.get(best, best) != row["modality"]:
            wrong.append(f"{row['file']}: {row['modality']}, got {best} {scores.max():.0%}")
    print(f"files: {len(rows) - len(wrong)} of {len(rows)} right", *wrong, sep="\n  ")


def judge_paraphrases(model: MedImageInsight, use: str) -> None:
    """Print the fraction of paraphrases whose nearest caption is their own."""
    rows = read_rows("paraphrases.csv")
    captions = sorted({row["caption"] for row in rows})
    asked = [row for row in rows if row["use"] == use]
    cosines = np.asarray(model.embed_texts([row["text"] for row in asked])) @ np.asarray(model.embed_texts(captions)).T
    nearest = [captions[index] for index in cosines.argmax(axis=1)]
    wrong = [(row, got) for row, got in zip(asked, nearest, strict=True) if got != row["caption"]]
    print(f"paraphrases ({use}): {len(asked) - len(wrong)} of {len(asked)} right, of {len(captions)} captions")
    kinds = Counter(_kind(row["caption"]) == _kind(got) for row, got in wrong)
    print(f"  of the wrong ones {kinds[True]} have the right modality")
    if use != "final":
        for row, got in wrong:
            print(f"  {row['text']}: {got}")


def _kind(caption: str) -> str:
    return " ".join(caption.split()[:2])


def main() -> None:
    """Parse the arguments and score."""
    parser = argparse.ArgumentParser(description="Score a model on real files and paraphrases.")
    parser.add_argument("--model", default="mini", help="a model's name or bundle folder")
    parser.add_argument("--files", type=Path, help="the folder of the sample files")
    parser.add_argument("--final", action="store_true", help="score the final half of the paraphrases")
    args = parser.parse_args()
    with MedImageInsight.load(args.model) as model:
        if args.files is not None:
            judge_files(model, args.files)
        judge_paraphrases(model, "final" if args.final else "tune")


if __name__ == "__main__":
    main()
