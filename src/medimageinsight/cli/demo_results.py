"""What a model makes of the demo's images: descriptions that fit best, and two searches, judged against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medimageinsight.bundle import warn_of_words
from medimageinsight.cli.examples import (
    CASE_QUERIES,
    EXAMPLES,
    KINDS,
    PROMPTS,
    TEXT_QUERIES,
    Example,
    example_path,
    shipped_examples,
)
from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.tasks import ZeroShotResult

    Word: TypeAlias = Literal["right", "half right", "wrong", "not judged"]
    Ranked: TypeAlias = list[tuple[str, float, float]]

SHOWN_PROMPTS = 2  # for each image
SHOWN_HITS = 3  # for each query


@dataclass(frozen=True)
class Verdict:
    """A result compared with the truth, and a reason in words, empty for results that are simply right or wrong."""

    word: Word
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An image with its result.

    Attributes:
        example: The image's truth.
        pixels: (H, W, 3) uint8.
        result: Probabilities of `examples.PROMPTS`, best cosine, mark of unlike images.
        cosines: Of the prompts.
        verdict: On the best prompt; of an image that is not medical, on its mark.
    """

    example: Example
    pixels: NDArray[np.uint8]
    result: ZeroShotResult
    cosines: dict[str, float]
    verdict: Verdict

    @property
    def expected(self) -> str:
        """The most similar of the right prompts; empty for an image that is not medical."""
        right = [prompt for prompt in PROMPTS if judge(self.example, prompt, None).word == "right"]
        return max(right, key=lambda prompt: self.cosines[prompt], default="")

    def ranked(self) -> Ranked:
        """Return the best prompts with probability and cosine."""
        order = sorted(self.result.probabilities.items(), key=lambda entry: -entry[1])[:SHOWN_PROMPTS]
        return [(prompt, probability, self.cosines[prompt]) for prompt, probability in order]

    def to_dict(self) -> dict[str, Any]:
        """Return the form of the JSON document."""
        example = self.example
        truth = {"modality": example.modality, "anatomy": example.anatomy, "finding": example.finding}
        origin = {
            "data_set": example.source,
            "file_there": example.file_there,
            "author": example.author,
            "licence": example.licence,
            "url": example.url,
        }
        return {
            "source": example.file,
            "what": example.title,
            "truth": truth,
            "verdict": self.verdict.word,
            "reason": self.verdict.reason,
            **self.result.to_dict(),
            "cosines": self.cosines,
            **(origin if example.licence else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search among the demo's images.

    Attributes:
        text: The query; empty if it is an image.
        query: Index of the query among the images; None if it is a text.
        hits: Indices of the best hits and their cosines, best first.
        verdict: On the first hit.
    """

    text: str = ""
    query: int | None = None
    hits: list[tuple[int, float]]
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class DemoResults:
    """Everything that the demo shows of one model."""

    model: str
    images: list[Judged]
    by_text: list[Search]
    by_image: list[Search]
    unknown_words: tuple[str, ...]

    def count(self, word: Word) -> int:
        """Return the number of images with a verdict."""
        return sum(image.verdict.word == word for image in self.images)

    def to_dict(self) -> dict[str, Any]:
        """Return the form of the JSON document; ``warnings`` is left out if there are none."""
        warning = warn_of_words(self.unknown_words)
        return {
            "images": [image.to_dict() for image in self.images],
            "text_search": [self._search(search) for search in self.by_text],
            "similar_cases": [self._search(search) for search in self.by_image],
        } | ({} if warning is None else {"warnings": [warning]})

    def _search(self, search: Search) -> dict[str, Any]:
        return {
            "query": search.text if search.query is None else self.images[search.query].example.file,
            "verdict": search.verdict.word,
            "reason": search.verdict.reason,
            "hits": [{"source": self.images[index].example.file, "cosine": cosine} for index, cosine in search.hits],
        }


def run_demo(model: MedImageInsight) -> DemoResults:
    """Embed the demo's images and texts once, and judge descriptions and searches against the truth.

    Raises:
        ImageError: Neither pydicom's nor this package's images are installed (``examples_missing``).
        ModelError: An encoder cannot be loaded or run.
    """
    from medimageinsight import images
    from medimageinsight.metrics import shortest_floats
    from medimageinsight.tasks import classify_vectors

    shipped = shipped_examples()
    medical = [example for example in shipped if example.modality]
    others = [example for example in shipped if not example.modality]
    wanted = [(example, example_path(example.file)) for example in (*medical, *EXAMPLES, *others)]
    available = [(example, path) for example, path in wanted if path is not None]
    if not available:
        raise ImageError(
            "expected the demo's images, got an installation without them: pip install --force medimageinsight-onnx",
            code="examples_missing",
        )
    examples = [example for example, _ in available]
    pixels = [images.load(path) for _, path in available]
    vectors = model.embed_images(pixels)
    texts = [*PROMPTS, *(text for text, _ in TEXT_QUERIES)]
    text_vectors = model.embed_texts(texts)
    prompts, queries = text_vectors[: len(PROMPTS)], text_vectors[len(PROMPTS) :]
    results = classify_vectors(vectors, prompts, PROMPTS, model.logit_scale, statistics=model.statistics)
    judged = [
        Judged(
            example=example,
            pixels=image,
            result=result,
            cosines=dict(zip(PROMPTS, row, strict=True)),
            verdict=judge(example, result.label, result.unlike_validation),
        )
        for example, image, result, row in zip(
            examples, pixels, results, map(shortest_floats, model.similarity(vectors, prompts)), strict=True
        )
    ]
    return DemoResults(
        model=model.name,
        images=judged,
        by_text=_search_texts(examples, [*map(shortest_floats, model.similarity(queries, vectors))]),
        by_image=_search_images(examples, [*map(shortest_floats, model.similarity(vectors, vectors))]),
        unknown_words=model.unknown_words(texts),
    )


def judge(example: Example, prompt: str, unlike: bool | None) -> Verdict:
    """Compare the best prompt with the modality and the anatomy of an image; findings are not judged.

    An image that is not medical fits no prompt: it has to be marked as unlike what the model was checked on, and is not
    judged if the model has no statistics.
    """
    if not example.modality:
        if unlike is None:
            return Verdict("not judged", "nothing fits; without validation statistics the model cannot mark it")
        if unlike:
            return Verdict("right", "marked as unlike anything this model was checked on")
        return Verdict("wrong", "nothing fits, and it is not marked")
    modality, anatomy = KINDS[PROMPTS.index(prompt)]
    return _compare(example, modality, anatomy, partly="right modality, wrong body part")


def judge_text_hit(expected: Example, hit: Example) -> Verdict:
    """Compare the first hit of a text with the image that the text describes."""
    if hit.file == expected.file:
        return Verdict("right")
    if hit.modality == expected.modality and hit.anatomy == expected.anatomy:
        return Verdict("half right", "right kind of image, other finding")
    return Verdict("wrong")


def judge_similar(query: Example, hit: Example) -> Verdict:
    """Compare the kind of the most similar image with that of the query."""
    return _compare(query, hit.modality, hit.anatomy, partly="same modality, other body part")


def _compare(truth: Example, modality: str, anatomy: str, *, partly: str) -> Verdict:
    if modality != truth.modality:
        return Verdict("wrong")
    return Verdict("right") if not truth.anatomy or anatomy == truth.anatomy else Verdict("half right", partly)


def _search_texts(examples: Sequence[Example], cosines: list[list[float]]) -> list[Search]:
    by_file = {example.file: example for example in examples}
    searches = []
    for (text, file), row in zip(TEXT_QUERIES, cosines, strict=True):
        hits = _best(row)
        searches.append(Search(text=text, hits=hits, verdict=judge_text_hit(by_file[file], examples[hits[0][0]])))
    return searches


def _search_images(examples: Sequence[Example], cosines: list[list[float]]) -> list[Search]:
    searches = []
    for query, example in enumerate(examples):
        if example.file in CASE_QUERIES:
            hits = _best(cosines[query], without=query)
            searches.append(Search(query=query, hits=hits, verdict=judge_similar(example, examples[hits[0][0]])))
    return searches


def _best(row: list[float], *, without: int | None = None) -> list[tuple[int, float]]:
    """Return the indices of the highest cosines, best first, and these cosines."""
    order = sorted((index for index in range(len(row)) if index != without), key=lambda index: -row[index])
    return [(index, row[index]) for index in order[:SHOWN_HITS]]
