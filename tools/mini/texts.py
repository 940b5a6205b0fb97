"""Write the free texts of the built-in model's training: sentences of this folder, and figure captions by their words.

python tools/mini/texts.py configs/mini2.yaml ../shared/data/medmix2/roco_captions.csv --work runs/mini2

A figure caption is used where its words name exactly one modality, and states that modality and, if they name exactly
one that the images have, the anatomy. It states no finding: the figure is not one of the images.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
from collections import Counter
from pathlib import Path

from medimageinsight.files.atomic import write_text
from medimageinsight.train import read_config, read_samples

FIELDS = ("text", "modality", "anatomy", "finding")
MAX_WORDS = 60
MODALITIES = {
    "computed tomography": r"\bct\b|computed tomogra|\bcbct\b|\bhrct\b",
    "magnetic resonance imaging": r"\bmri?\b|magnetic resonance|\bflair\b|\bt[12][- ]weighted",
    "ultrasound": r"ultraso|sonogra|echocardio|doppler|\bus\b",
    "x-ray": r"radiogra(?!phic (?:CT|MR))|x[- ]?ray|plain film",
    "positron emission tomography": r"\bpet\b|positron emission",
    "mammography": r"mammogra",
    "endoscopy": r"endoscop|colonoscop",
    "histopathology": r"histolog|histopath|hematoxylin|haematoxylin|h&e\b",
    "fundus photography": r"\bfundus\b",
    "dermoscopy": r"dermoscop|dermatoscop",
    "fluorescence microscopy": r"immunofluoresc|fluorescence micro",
}
ANATOMIES = {
    "chest": r"chest|thora|\blungs?\b|pulmon|mediast|pleura",
    "abdomen": r"abdom|liver|hepat|kidney|renal|pancrea|spleen|splen",
    "pelvis": r"pelvi|bladder|prostat",
    "brain": r"brain|cerebr|cerebell|intracranial",
    "head": r"\bhead\b|cranial|skull|brain|intracranial",
    "heart": r"cardiac|\bheart\b|ventric.*(?:left|right)|(?:left|right) ventric|atri(?:al|um)|mitral|aortic valve",
    "knee": r"\bknee|patell|tibiofem",
    "hand": r"\bhands?\b|\bwrist|finger|carpal",
    "breast": r"\bbreast|mammar",
    "cervical spine": r"cervical (?:spine|spinal|cord|vertebra)",
    "fetal head": r"f(?:o)?etal (?:head|brain|skull)",
    "colon": r"\bcolon|colorect|sigmoid",
    "retina": r"retina|macula|optic disc",
    "skin": r"\bskin\b|cutane",
}
ENGLISH = re.compile(r"\b(?:the|of|with|showing|shows|and)\b")


def read_sentences(path: Path, findings: set[str]) -> list[tuple[str, ...]]:
    """Return the sentences; a finding without a comma is also stated for the samples' findings that continue it."""
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            whole = [name for name in findings if name.split(", ")[0] == row["finding"]] if row["finding"] else [""]
            rows += [(row["text"], row["modality"], row["anatomy"], name) for name in sorted(whole)]
    return rows


def read_captions(path: Path, kinds: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return the usable figure captions with their kinds."""
    modalities = {name: re.compile(pattern, re.I) for name, pattern in MODALITIES.items()}
    anatomies = {name: re.compile(pattern, re.I) for name, pattern in ANATOMIES.items()}
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            text = " ".join(row["caption"].split())
            named = [name for name, pattern in modalities.items() if pattern.search(text)]
            if len(named) != 1 or len(text.split()) > MAX_WORDS or not ENGLISH.search(text):
                continue
            possible = [
                name for name, pattern in anatomies.items() if pattern.search(text) and (named[0], name) in kinds
            ]
            rows.append((text, named[0], possible[0] if len(possible) == 1 else "", ""))
    return rows


def write_texts(config_path: Path, captions_path: Path, out: Path) -> None:
    """Write the table of free texts."""
    data = read_config(config_path).data
    samples = read_samples(data, config_path.parent, check=False, log=print).of_split(data.train_split).samples
    kinds = {(sample.modality, sample.anatomy) for sample in samples}
    captions = read_captions(captions_path, kinds)
    sentences = read_sentences(Path(__file__).with_name("sentences.csv"), {sample.finding for sample in samples})
    # As many sentences as captions of a modality, by repetition: their findings are what the images show.
    counts, own = Counter(row[1] for row in captions), Counter(row[1] for row in sentences)
    repeated = [row for row in sentences for _ in range(max(1, counts[row[1]] // own[row[1]]))]
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([FIELDS, *repeated, *captions])
    write_text(out, lines.getvalue())
    print(f"{len(repeated)} sentences, {len(captions)} figure captions: {dict(counts)}", flush=True)


def main() -> None:
    """Parse the arguments and write ``texts.csv``."""
    parser = argparse.ArgumentParser(description="Write the free texts of the training.")
    parser.add_argument("config", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    write_texts(args.config, args.captions, args.work / "texts.csv")


if __name__ == "__main__":
    main()
