"""Descriptions of the server and of each tool, for agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.mcp.tools import Tools

CLASSIFY = """Classify medical images, in one of two ways.
- By labels, without training: give `labels`, best findings together with a `template` such as
  'x-ray chest anteroposterior {}'. Probabilities of an image sum to 1 whatever the labels are: choose labels that
  exclude each other (at least two), include 'No Finding', and ask label_examples for wording that the model knows.
  `cosine` is that of the best label, `unlike_validation` marks images unlike anything that the model was checked on,
  and `warnings` name words that it never learned: there, report no probability as a finding.
- By a store's labelled images: give `label_column` (and `store`). The k most similar stored images vote; they come
  back as evidence in `neighbours`. Prefer this where a store has the label.
A folder, volume or archive is one study: `select` chooses its images ('even:16', 'all'), whose vectors are pooled.
A file that cannot be used has an `error` in its place; the others are answered."""

SEARCH = """Find the stored images most similar to exactly one of `image`, `text` or `id` in a store of this server.
Scores are cosine similarities, best first: they rank, they are no probabilities. Narrow with `where`. To see the hits,
set `pictures`. A text finds most in the form of a caption ('ultrasound breast Benign Lesion')."""

COMPARE = """Cosine similarities between images and texts, every row with every column. Of two images they show how
alike they are for the model; of an image and several texts, which text fits best. They are no probabilities and no
measure of disease: compare cells of one row, not single values with a fixed limit."""

TAG = """Find which tags images have: give a `vocabulary` (modality, anatomy or view of any image) or the name of a
`tagger` of this server, whose tags have thresholds chosen on labelled images. A file that cannot be used has an `error`
in its place; the others are answered."""

LABEL_EXAMPLES = """Example prompts in the form that the model was trained with, 'modality anatomy view finding', to
word labels, templates and texts for classify, search and compare. No image is needed. Ask for them before the first
classification of a kind of image."""


def instructions(tools: Tools) -> str:
    """Describe the server: its tools, stores and taggers, and what it is not for."""
    return "\n".join(
        [
            f"Classification of medical images, search for similar cases, comparison and tags, by the model "
            f"{tools.model.name}. DICOM, PNG, JPEG, TIFF and other files; they are read where they are stored.",
            DISCLAIMER,
            f"Images may be read below: {', '.join(map(str, tools.folders))}.",
            stores(tools),
            taggers(tools),
        ]
    )


def stores(tools: Tools) -> str:
    """List the stores with their columns."""
    if not tools.stores:
        return "Stores of this server: none."
    lines = [f"- {name}: {_columns(store.columns)}" for name, store in tools.stores.items()]
    return "\n".join(["Stores of this server and their columns:", *lines])


def taggers(tools: Tools) -> str:
    """List the taggers with their tags."""
    if not tools.taggers:
        return "Taggers of this server: none."
    lines = [f"- {name}: {', '.join(tagger.names)}" for name, tagger in tools.taggers.items()]
    return "\n".join(["Taggers of this server and their tags:", *lines])


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "no columns"
