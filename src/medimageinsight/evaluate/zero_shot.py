"""Zero-shot classification: each class is the mean of its prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.heads import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.metrics.scores import Flags, Floats, Integers

_MIN_LENGTH = 1e-12  # the mean of opposite directions has length 0


def prompt_membership(prompts: Integers, classes: Integers, *, shape: tuple[int, int]) -> Flags:
    """Return which of P prompts name which of L classes, from the prompt and the class (-1 for none) of N prompt rows.

    Returns:
        (P, L + 1) bool. The last column is false, so that class -1, used as an index, has no prompt.
    """
    member = np.zeros((shape[0], shape[1] + 1), dtype=bool)
    member[prompts, classes] = True
    member[:, -1] = False
    return member


def ensemble_prompts(prompt_embeddings: NDArray[np.float32], member: Flags) -> Floats:
    """Return the L2-normalised mean of each class's prompts, (L, D) (CLIP, arXiv 2103.00020, section 3.1.4).

    Prompts are (P, D), L2-normalised; ``member`` is (P, L), with at least one prompt per class.
    """
    means = (member.T.astype(np.float64) @ prompt_embeddings) / member.sum(axis=0)[:, None]
    length = np.linalg.norm(means, axis=1, keepdims=True)
    normalised: Floats = means / np.maximum(length, _MIN_LENGTH)
    return normalised


def zero_shot_probabilities(
    image_embeddings: NDArray[np.float32], class_embeddings: Floats, logit_scale: float
) -> Floats:
    """Return softmax(exp(logit_scale) * image . class) over the classes, (N, L), of L2-normalised (N, D) and (L, D)."""
    logits = np.exp(logit_scale) * (image_embeddings.astype(np.float64) @ class_embeddings.T)
    return softmax(logits)
