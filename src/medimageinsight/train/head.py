"""A classification head on the picture's embedding, learned together with the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample

# Embeddings have length 1: without a factor the weights would have far to go.
SCALE = 20.0


class LabelHead(nn.Module):
    """Embeddings (N, D) to logits (N, labels).

    Labels are classes within their source: where there are several sources, "source: label".
    """

    def __init__(self, samples: Sequence[Sample], dim: int) -> None:
        super().__init__()
        several = len({sample.source for sample in samples}) > 1
        named = [(f"{sample.source}: {sample.label}" if several else sample.label) for sample in samples]
        if any(not sample.label for sample in samples):
            raise DatasetError(
                "expected a label for every picture of the training split, got some without: name them, or use "
                "objective unicl",
                code="labels_missing",
            )
        self.labels = tuple(sorted(set(named)))
        places = {label: place for place, label in enumerate(self.labels)}
        self.of_sample = torch.tensor([places[one] for one in named])
        self.linear = nn.Linear(dim, len(self.labels))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(N, D) to (N, labels)."""
        logits: Tensor = self.linear(SCALE * embeddings)
        return logits

    def classes_of(self, indices: NDArray[np.int64]) -> Tensor:
        """The class of samples, (B,) int64."""
        return self.of_sample[torch.from_numpy(indices)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: labels, and the weight (D, labels) and bias (labels,) for embeddings of length 1."""
        weight = (SCALE * self.linear.weight.detach()).T
        return {
            "labels": list(self.labels),
            "weight": weight.cpu().tolist(),
            "bias": self.linear.bias.detach().cpu().tolist(),
        }
