"""Running a bundle's graphs and comparing their embeddings with PyTorch's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER, half_graph
from medimageinsight.engine import CPU, Session
from medimageinsight.evaluate.zero_shot import ensemble_prompts, prompt_membership
from medimageinsight.export.parity import BOUNDS, Agreement, EncoderParity, Parity, Reference
from medimageinsight.export.pytorch_encoders import PyTorchEncoders
from medimageinsight.tokenizer import pad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.export.sample_inputs import ComparisonInputs
    from medimageinsight.network.model import UniCLModel

    Embeddings = NDArray[np.float32]

NEAREST = 10
MIN_IMAGES = NEAREST + 2  # with fewer, the ten nearest images are all that remain


def compute_reference(model: UniCLModel, inputs: ComparisonInputs) -> Reference:
    """Embed each input by itself with the network in PyTorch."""
    encoders = PyTorchEncoders(model)
    image = np.concatenate([encoders.embed_pixels(pixels[np.newaxis]) for pixels in inputs.pixels])
    return Reference(image=image, text=encoders.embed_tokens(inputs.tokens))


def measure_parity(
    folder: Path,
    samples: ComparisonInputs,
    reference: Reference,
    precision: str,
    progress: Callable[[float], None] = lambda _: None,
) -> Parity:
    """Run a bundle's graphs and their float16 variants, if they exist, on the samples; compare with the reference.

    `progress` is called with the part that is done, 0 to 1.
    """
    image, image_embeddings = _measure_image_graph(folder / IMAGE_ENCODER, samples.pixels, reference.image)
    progress(0.8)
    text, text_embeddings = _measure_text_graph(folder / TEXT_ENCODER, samples, reference.text)
    progress(1.0)
    if (half := folder / half_graph(IMAGE_ENCODER)).exists():
        image = _combine(image, _measure_image_graph(half, samples.pixels, reference.image)[0])
        half = folder / half_graph(TEXT_ENCODER)
        text = _combine(text, _measure_text_graph(half, samples, reference.text)[0])
    pairs = (image_embeddings, reference.image), (text_embeddings, reference.text)
    agreement = compute_agreement(*pairs, samples.labels, real=False)
    return Parity(image=image, text=text, agreement=agreement, bounds=BOUNDS[precision])


def measure_agreement(folder: Path, inputs: ComparisonInputs, reference: Reference) -> Agreement:
    """Run a bundle's graphs on the user's images and prompts and compare with PyTorch's embeddings of them."""
    image, text = (Session(folder / graph, providers=[CPU]) for graph in (IMAGE_ENCODER, TEXT_ENCODER))
    images = np.concatenate(
        [image.run("image_embeddings", {"pixel_values": pixels[np.newaxis]}) for pixels in inputs.pixels]
    )
    prompts = np.concatenate([_run_text(text, [row]) for row in inputs.tokens])
    return compute_agreement((images, reference.image), (prompts, reference.text), inputs.labels, real=True)


def compute_agreement(
    image: tuple[Embeddings, Embeddings],
    text: tuple[Embeddings, Embeddings],
    labels: list[int],
    *,
    real: bool,
) -> Agreement:
    """Compare embeddings of the same inputs.

    Args:
        image: The bundle's and PyTorch's (N, D), N at least `MIN_IMAGES`.
        text: The bundle's and PyTorch's (P, D).
        labels: The label of each of the P prompts, from 0.
        real: As in `Agreement`.
    """
    distinct, classes = np.unique(labels, return_inverse=True)
    member = prompt_membership(np.arange(len(classes)), classes, shape=(len(classes), len(distinct)))[:, :-1]
    best, expected = (
        np.argmax(images @ ensemble_prompts(prompts, member).T, axis=1)
        for images, prompts in zip(image, text, strict=True)
    )
    nearest = zip(*(_nearest_rows(images).tolist() for images in image), strict=True)
    shared = [len(set(bundle) & set(pytorch)) / NEAREST for bundle, pytorch in nearest]
    return Agreement(
        images=len(best),
        labels=len(distinct),
        real=real,
        min_cosine=float((image[0].astype(np.float64) * image[1]).sum(axis=1).min()),
        top1=float((best == expected).mean()),
        nearest_ten=float(np.mean(shared)),
    )


def _nearest_rows(embeddings: Embeddings) -> NDArray[np.intp]:
    """Return the ten rows most similar to each row, itself excluded, (N, 10)."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]


def _measure_image_graph(
    graph: Path, pixels: NDArray[np.float32], expected: Embeddings
) -> tuple[EncoderParity, Embeddings]:
    """Embed each image alone, then batches of two and three; return the figures and the first embeddings."""
    session = Session(graph, providers=[CPU])

    def embed(rows: slice) -> Embeddings:
        return session.run("image_embeddings", {"pixel_values": pixels[rows]})

    alone = np.concatenate([embed(slice(row, row + 1)) for row in range(len(pixels))])
    batched = [(rows, embed(rows)) for rows in (slice(0, 2), slice(0, 3))]
    return _compare(alone, batched, expected, repeatable=np.array_equal(embed(slice(0, 1)), alone[:1])), alone


def _measure_text_graph(
    graph: Path, samples: ComparisonInputs, expected: Embeddings
) -> tuple[EncoderParity, Embeddings]:
    """Embed each text alone, padded to the context, and all as a batch; return the figures and the first embeddings."""
    session = Session(graph, providers=[CPU])
    context_length = max(map(len, samples.tokens))
    alone = np.concatenate([_run_text(session, [row]) for row in samples.tokens])
    padded = np.concatenate([_run_text(session, [row], context_length) for row in samples.tokens])
    together = _run_text(session, samples.tokens)
    repeatable = np.array_equal(_run_text(session, samples.tokens), together)
    all_rows = slice(0, len(alone))
    return _compare(alone, [(all_rows, padded), (all_rows, together)], expected, repeatable=repeatable), alone


def _run_text(session: Session, rows: list[list[int]], length: int = 0) -> Embeddings:
    """Embed texts as one batch, padded to at least `length` tokens."""
    ids, mask = pad(rows, rows[0][-1])
    missing = ((0, 0), (0, max(0, length - ids.shape[1])))
    ids = np.pad(ids, missing, constant_values=rows[0][-1])
    return session.run("text_embeddings", {"input_ids": ids, "attention_mask": np.pad(mask, missing)})


def _compare(
    alone: Embeddings, batched: list[tuple[slice, Embeddings]], expected: Embeddings, *, repeatable: bool
) -> EncoderParity:
    """Compute the figures of single inputs (N, D), and of rows with their embeddings as a batch."""
    pairs = [(alone, expected), *((embeddings, expected[rows]) for rows, embeddings in batched)]
    return EncoderParity(
        inputs=len(alone),
        max_abs_diff=max(float(np.abs(rows - reference).max()) for rows, reference in pairs),
        min_cosine=min(float((rows.astype(np.float64) * reference).sum(axis=-1).min()) for rows, reference in pairs),
        max_batch_diff=max(float(np.abs(embeddings - alone[rows]).max()) for rows, embeddings in batched),
        repeatable=repeatable,
    )


def _combine(full: EncoderParity, half: EncoderParity) -> EncoderParity:
    """Return the worse distance to the reference; a float16 batch may round differently, which has no bound."""
    return replace(
        full,
        max_abs_diff=max(full.max_abs_diff, half.max_abs_diff),
        min_cosine=min(full.min_cosine, half.min_cosine),
    )
