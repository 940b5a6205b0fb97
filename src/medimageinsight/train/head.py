"""A linear classification head on the image embedding, trained together with the encoder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medimageinsight.adapters import Adapter, AdapterFigures
from medimageinsight.errors import ModelError
from medimageinsight.files import strict
from medimageinsight.metrics.heads import Layer
from medimageinsight.train.samples import LabelNames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.datasets import Sample

HEAD = "head.json"
# Embeddings have length 1: without a factor the weights would have to grow large.
SCALE = 20.0


class LabelHead(nn.Module):
    """Maps embeddings (N, D) to logits (N, labels) of the training labels, named by `LabelNames`.

    Attributes:
        names: The labels, in the order of the logits.
        temperature: The divisor that calibrates the logits, from the last validation.
        figures: The scores of the calibrated head in the last validation.
    """

    def __init__(self, samples: Sequence[Sample], dim: int) -> None:
        super().__init__()
        self.names = LabelNames(samples)
        class_ids = {label: index for index, label in enumerate(self.names.labels)}
        self.sample_classes = torch.tensor([class_ids[self.names.name(sample)] for sample in samples])
        self.linear = nn.Linear(dim, len(class_ids))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.temperature = 1.0
        self.figures: AdapterFigures | None = None

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (N, D) to logits (N, labels)."""
        logits: Tensor = self.linear(SCALE * embeddings)
        return logits

    def classes_of(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the classes of samples, (B,) int64."""
        return self.sample_classes[torch.from_numpy(indices)]

    def layer(self) -> Layer:
        """Return weight and bias for embeddings of length 1, without `SCALE`."""
        weight, bias = SCALE * self.linear.weight.detach(), self.linear.bias.detach()
        return Layer(weight=weight.T.cpu().numpy(), bias=bias.cpu().numpy())

    def validation_state(self) -> dict[str, Any]:
        """Return temperature and figures of the last validation as JSON values."""
        return {"temperature": self.temperature, "figures": None if self.figures is None else asdict(self.figures)}

    def load_validation_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `validation_state` returned."""
        figures = state["figures"]
        self.temperature = state["temperature"]
        self.figures = None if figures is None else strict.build(AdapterFigures, figures, "figures")

    def to_dict(self) -> dict[str, Any]:
        """Return the head as JSON values; weight (D, labels) and bias (labels,) are for embeddings of length 1."""
        layer = self.layer()
        return {
            "labels": list(self.names.labels),
            "weight": layer.weight.tolist(),
            "bias": layer.bias.tolist(),
            **self.validation_state(),
        }


def head_to_adapter(head: Mapping[str, Any], model: ModelIdentity, training: dict[str, Any]) -> Adapter:
    """Convert the content of ``head.json`` to an adapter for the bundle of the encoder that it was trained with.

    Raises:
        ModelError: The content is not that of `LabelHead.to_dict` (``head_invalid``).
    """
    try:
        weight, bias = np.array(head["weight"], np.float32), np.array(head["bias"], np.float32)
        labels, figures = tuple(head["labels"]), head["figures"]
        if weight.shape != (model.embedding_dim, len(labels)) or bias.shape != (len(labels),):
            raise ValueError(f"weight {weight.shape}, bias {bias.shape}")
        return Adapter(
            labels=labels,
            kind="linear",
            outputs="softmax",
            layers=(Layer(weight=weight, bias=bias),),
            temperature=float(head["temperature"]),
            model=model,
            figures=() if figures is None else (strict.build(AdapterFigures, figures, "figures"),),
            training=training,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"expected head.json as a run writes it, got a {type(error).__name__} while reading it: resume the run",
            code="head_invalid",
        ) from None
