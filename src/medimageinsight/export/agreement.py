"""Agreement of two runtimes in what embeddings are used for: the best prompt and the nearest images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.zero_shot import ensemble_prompts, prompt_membership

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAREST = 10
MIN_IMAGES = NEAREST + 2  # with fewer, the ten nearest images are all that remain


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A bundle against its network in float32 PyTorch, on images and prompts."""

    images: int
    labels: int  # the prompts of a label are averaged
    real: bool  # the user's images; else the generated samples that every bundle is compared on
    min_cosine: float  # between the two embeddings of an image
    top1: float  # share of images with the same best label
    nearest_ten: float  # mean share of an image's ten nearest images that both have


def compute_agreement(
    image: tuple[NDArray[np.float32], NDArray[np.float32]],
    text: tuple[NDArray[np.float32], NDArray[np.float32]],
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


def _nearest_rows(embeddings: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the ten rows most similar to each row, itself excluded, (N, 10)."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
