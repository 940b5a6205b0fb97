"""Whether two runtimes agree in what embeddings are used for: the best prompt, and the nearest pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.zeroshot import ensemble, membership

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.network.model import UniCLModel

NEAREST = 10
MIN_PICTURES = NEAREST + 2  # with fewer, the ten nearest are all the others there are


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A bundle against its network in float32 PyTorch, on pictures and prompts."""

    pictures: int
    labels: int  # a label's prompts are averaged
    real: bool  # the pictures were given; else they are the samples every bundle is compared on
    min_cosine: float  # of a picture's two embeddings
    top1: float  # share of pictures with the same best label
    nearest_ten: float  # share of a picture's ten nearest others that are the same, averaged


def agree(
    image: tuple[NDArray[np.float32], NDArray[np.float32]],
    text: tuple[NDArray[np.float32], NDArray[np.float32]],
    labels: list[int],
    *,
    real: bool,
) -> Agreement:
    """Compare embeddings of the same inputs.

    Args:
        image: The bundle's and PyTorch's (N, D), N at least `MIN_PICTURES`.
        text: The bundle's and PyTorch's (P, D).
        labels: The label of each of the P prompts, from 0.
        real: As in `Agreement`.
    """
    distinct, classes = np.unique(labels, return_inverse=True)
    member = membership(np.arange(len(classes)), classes, shape=(len(classes), len(distinct)))[:, :-1]
    best, wanted = (np.argmax(one @ ensemble(rows, member).T, axis=1) for one, rows in zip(image, text, strict=True))
    ours, theirs = (_nearest(one) for one in image)
    shared = [len(set(a) & set(b)) / NEAREST for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    return Agreement(
        pictures=len(best),
        labels=len(distinct),
        real=real,
        min_cosine=float((image[0].astype(np.float64) * image[1]).sum(axis=1).min()),
        top1=float((best == wanted).mean()),
        nearest_ten=float(np.mean(shared)),
    )


def embed_in_pytorch(
    model: UniCLModel, pixels: NDArray[np.float32], tokens: list[list[int]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The network's own embeddings of pictures (N, D) and texts (P, D), one after the other."""
    import torch

    with torch.inference_mode():
        images = [model.encode_image(torch.from_numpy(one[np.newaxis])) for one in pixels]
        ids = [torch.tensor([row]) for row in tokens]
        texts = [model.encode_text(row, torch.ones_like(row)) for row in ids]
    return torch.cat(images).numpy(), torch.cat(texts).numpy()


def _nearest(embeddings: NDArray[np.float32]) -> NDArray[np.intp]:
    """Each row's ten most similar others, (N, 10)."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
