"""The choice of the text encoder's precision in an int8 bundle: int8 where every text stays close, else float32.

Texts have no common scale as images have: a rare word or an unusual length gives activations beyond those of the
prompts that determined the scales. So the encoder is judged on texts that did not, and one of them decides.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from medimageinsight.bundle import EXTERNAL_DATA_SUFFIX
from medimageinsight.engine import CPU, Session
from medimageinsight.export.sample_inputs import random_tokens
from medimageinsight.tokenizer import pad

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.tokenizer import Tokenizer

HELD_OUT_SEED = 2025
RANDOM_LENGTHS = (2, 3, 4, 5, 8, 14, 30, 50, 77)  # tokens
RANDOM_PER_LENGTH = 40

# What people write besides prompts of the calibration's form: nothing, a word, a sentence, a report, other languages.
HELD_OUT_TEXTS = (
    *(
        "",
        "a",
        "x",
        "?",
        "...",
        "CT",
        "MRI",
        "x-ray",
        "normal",
        "chest",
        "knee",
        "left",
        "axial",
        "T2",
        "5 mm",
        "T1 FLAIR",
    ),
    *(
        "no finding",
        "pneumonia",
        "melanoma.",
        "head ct",
        "pleural effusion",
        "Fracture of the distal radius",
        "BI-RADS 4",
    ),
    *(
        "blood smear, eosinophil",
        "x-ray chest anteroposterior Cardiomegaly",
        "ultrasound breast malignant",
        "photo of a cat",
    ),
    *("magnetic resonance imaging brain glioma", "fundus photography retina diabetic retinopathy grade 3", "a banana"),
    "dermatoscopy skin melanocytic nevus with irregular borders, blue-white veil and atypical pigment network",
    "There is no focal consolidation, pleural effusion or pneumothorax. The cardiomediastinal silhouette is normal.",
    "A 63 year old man with cough and fever. " * 5,
    "lesion " * 40,
    *(
        "Les poumons sont clairs.",
        "Kein Nachweis einer Fraktur.",
        "Sin hallazgos patológicos.",
        "胸部X线 肺炎",
        "Лёгкие чистые",
    ),
)


@dataclass(frozen=True, kw_only=True)
class TextPrecision:
    """The judgement of an int8 text encoder on texts that were not used to calibrate it."""

    chosen: Literal["int8", "fp32"]
    held_out: int  # number of texts
    min_cosine: float  # between int8 and float32, of the worst text


def held_out_tokens(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Return token ids of texts to judge by: the given prompts, `HELD_OUT_TEXTS`, and random tokens of all lengths."""
    rows = [list(row) for row in tokenizer.encode([*prompts, *HELD_OUT_TEXTS])]
    lengths = sorted({min(length, tokenizer.context_length) for length in RANDOM_LENGTHS})
    return rows + random_tokens(tokenizer.vocab_size, lengths * RANDOM_PER_LENGTH, seed=HELD_OUT_SEED)


def choose_text_precision(full: Path, quantised: Path, rows: list[list[int]], *, bound: float) -> TextPrecision:
    """Compare both graphs on each of the texts alone and choose int8 if no cosine is below the bound.

    Args:
        full: The float32 graph.
        quantised: The int8 graph. If it is not chosen, the float32 graph and its data replace it.
        rows: Unpadded token ids.
        bound: The smallest cosine that is accepted.
    """
    sessions = [Session(graph, providers=[CPU]) for graph in (full, quantised)]
    cosines = []
    for row in rows:
        ids, mask = pad([row], row[-1])
        expected, got = (
            session.run("text_embeddings", {"input_ids": ids, "attention_mask": mask})[0] for session in sessions
        )
        cosines.append(float(np.dot(expected.astype(np.float64), got)))
    del sessions
    lowest = min(cosines)
    chosen: Literal["int8", "fp32"] = "int8" if lowest >= bound else "fp32"
    if chosen == "fp32":
        for suffix in ("", EXTERNAL_DATA_SUFFIX):
            source, target = (graph.with_name(graph.name + suffix) for graph in (full, quantised))
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
    return TextPrecision(chosen=chosen, held_out=len(rows), min_cosine=lowest)
