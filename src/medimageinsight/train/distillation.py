"""Distillation: the losses between a network and the stored outputs of a teacher.

For an image's embedding e (L2-normalised), the teacher's features f and its probabilities p of the classes of a group:

- features: 1 - cos(W e, f), with a linear map W that is trained along and dropped at the end (FitNets, arXiv 1412.6550,
  with the cosine as distance).
- probabilities: T^2 KL(p_T || softmax(V e / T)) for each group, with a linear head V likewise; p_T is proportional to
  p^(1/T) (arXiv 1503.02531, section 2).
- texts: KL(p || softmax(s E e)), where E are the embeddings of the classes' texts by the network itself and s is its
  logit scale: the prediction by prompts becomes the teacher's.

The last two are summed over the groups that apply to an image; all are means over the images of a batch. Network and
teacher see the same augmented pixels (arXiv 2106.05237).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medimageinsight.train.head import SCALE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.config import DistillConfig
    from medimageinsight.train.targets import StoredTargets

_EPSILON = 1e-8  # of a probability, before its logarithm


@dataclass(frozen=True, slots=True)
class BatchTargets:
    """The teacher's outputs for the images of a batch.

    `positions` and `probabilities` have an entry for each group: the images (b,) to which it applies, and their (b, C).
    """

    features: Tensor | None  # (B, F)
    positions: tuple[Tensor, ...]
    probabilities: tuple[Tensor, ...]

    @classmethod
    def of(cls, stored: StoredTargets, rows: NDArray[np.int64], copies: NDArray[np.int64]) -> Self:
        """Return the targets of one copy each of images of the stored targets' table, by row."""
        features = stored.features_of(rows, copies)
        found = [stored.probabilities_of(group.name, rows, copies) for group in stored.header.groups]
        return cls(
            features=None if features is None else torch.from_numpy(features),
            positions=tuple(torch.from_numpy(positions) for positions, _ in found),
            probabilities=tuple(torch.from_numpy(values) for _, values in found),
        )

    def to(self, device: torch.device) -> Self:
        """Return the targets on a device."""

        def move(value: Tensor | tuple[Tensor, ...] | None) -> Tensor | tuple[Tensor, ...] | None:
            if isinstance(value, tuple):
                return tuple(part.to(device) for part in value)
            return None if value is None else value.to(device)

        return type(self)(**{field.name: move(getattr(self, field.name)) for field in fields(self)})  # type: ignore[arg-type]


class Distillation(nn.Module):
    """The trained maps of the losses, and the prompts of all groups, tokenised."""

    input_ids: Tensor
    attention_mask: Tensor

    def __init__(self, settings: DistillConfig, stored: StoredTargets, tokenizer: Tokenizer, dim: int) -> None:
        super().__init__()
        self.settings = settings
        groups = stored.header.groups
        self.sizes = [len(group.texts) for group in groups]
        self.features: nn.Linear | None = None
        if settings.features and stored.features is not None:
            self.features = nn.Linear(dim, stored.features.shape[2], bias=False)
            nn.init.orthogonal_(self.features.weight)
        heads = [nn.Linear(dim, size) for size in self.sizes if settings.probabilities]
        for parameter in (parameter for head in heads for parameter in head.parameters()):
            nn.init.zeros_(parameter)
        self.heads = nn.ModuleList(heads)
        texts = [text for group in groups for text in group.texts]
        self.with_texts = bool(settings.texts and texts)
        input_ids, attention_mask = tokenizer.pad(tokenizer.encode(texts or [""]))
        self.register_buffer("input_ids", torch.from_numpy(input_ids), persistent=False)
        self.register_buffer("attention_mask", torch.from_numpy(attention_mask), persistent=False)

    def forward(self, images: Tensor, texts: Tensor | None, log_scale: Tensor, targets: BatchTargets) -> Tensor:
        """Return the weighted sum of the losses.

        Args:
            images: (B, D), L2-normalised.
            texts: The embeddings of all groups' texts in order, (T, D); None without the loss ``texts``.
            log_scale: Scalar, logarithm of the inverse temperature.
            targets: Of these images.
        """
        loss = images.new_zeros(())
        if self.features is not None and targets.features is not None:
            loss = loss + self.settings.features * feature_loss(self.features(images), targets.features)
        prompts = [None] * len(self.sizes) if texts is None else torch.split(texts, self.sizes)
        heads = self.heads or [None] * len(self.sizes)
        for head, prompt, rows, probabilities in zip(
            heads, prompts, targets.positions, targets.probabilities, strict=True
        ):
            share = len(rows) / len(images)
            if not len(rows):
                continue
            if head is not None:
                distance = divergence(head(SCALE * images[rows]), probabilities, self.settings.temperature)
                loss = loss + self.settings.probabilities * share * distance
            if prompt is not None:
                distance = divergence(log_scale.exp() * images[rows] @ prompt.T, probabilities)
                loss = loss + self.settings.texts * share * distance
        return loss


def feature_loss(mapped: Tensor, features: Tensor) -> Tensor:
    """Return the mean of 1 - cos between mapped embeddings and the teacher's features, both (B, F)."""
    return 1 - F.cosine_similarity(mapped, features, dim=1).mean()


def divergence(logits: Tensor, probabilities: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T^2 times the mean Kullback-Leibler divergence from a teacher's probabilities to logits, both (b, C)."""
    soft = (probabilities.clamp_min(_EPSILON).log() / temperature).log_softmax(dim=1)
    ours = (logits / temperature).log_softmax(dim=1)
    return temperature**2 * F.kl_div(ours, soft, reduction="batchmean", log_target=True)
