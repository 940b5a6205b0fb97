"""A classification head on the picture's embedding, learned together with the encoder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medimageinsight.adapters.adapter import Adapter
from medimageinsight.adapters.figures import AdapterFigures
from medimageinsight.errors import ModelError
from medimageinsight.files import strict
from medimageinsight.metrics.heads import Layer
from medimageinsight.train.label_names import LabelNames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle.identity import ModelIdentity
    from medimageinsight.datasets import Sample

HEAD = "head.json"
# Embeddings have length 1: without a factor the weights would have far to go.
SCALE = 20.0


class LabelHead(nn.Module):
    """Embeddings (N, D) to logits (N, labels) of the training pictures, named as `LabelNames` does.

    Attributes:
        names: The labels, in the order of the logits.
        temperature: What its logits are divided by to be calibrated, and
        figures: how good it is then, both as of its last validation.
    """

    def __init__(self, samples: Sequence[Sample], dim: int) -> None:
        super().__init__()
        self.names = LabelNames(samples)
        places = {label: place for place, label in enumerate(self.names.labels)}
        self.of_sample = torch.tensor([places[self.names.of(sample)] for sample in samples])
        self.linear = nn.Linear(dim, len(places))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.temperature = 1.0
        self.figures: AdapterFigures | None = None

    def forward(self, embeddings: Tensor) -> Tensor:
        """(N, D) to (N, labels)."""
        logits: Tensor = self.linear(SCALE * embeddings)
        return logits

    def classes_of(self, indices: NDArray[np.int64]) -> Tensor:
        """The class of samples, (B,) int64."""
        return self.of_sample[torch.from_numpy(indices)]

    def layer(self) -> Layer:
        """For embeddings of length 1."""
        weight, bias = SCALE * self.linear.weight.detach(), self.linear.bias.detach()
        return Layer(weight=weight.T.cpu().numpy(), bias=bias.cpu().numpy())

    def validation(self) -> dict[str, Any]:
        """What the last validation found, for a run's state."""
        return {"temperature": self.temperature, "figures": None if self.figures is None else asdict(self.figures)}

    def restore(self, validation: Mapping[str, Any]) -> None:
        """The other way."""
        figures = validation["figures"]
        self.temperature = validation["temperature"]
        self.figures = None if figures is None else strict.build(AdapterFigures, figures, "figures")

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the weight (D, labels) and bias (labels,) are for embeddings of length 1."""
        layer = self.layer()
        return {
            "labels": list(self.names.labels),
            "weight": layer.weight.tolist(),
            "bias": layer.bias.tolist(),
            **self.validation(),
        }


def adapter_of_head(head: Mapping[str, Any], model: ModelIdentity, training: dict[str, Any]) -> Adapter:
    """The head as an adapter for the bundle of the encoder that it was learned with.

    Args:
        head: As ``head.json`` has it.
        model: The bundle's identity.
        training: How it came about, for people.

    Raises:
        ModelError: It is not as `LabelHead.to_dict` writes it (``head_invalid``).
    """
    try:
        weight, bias = np.array(head["weight"], np.float32), np.array(head["bias"], np.float32)
        labels, figures = tuple(head["labels"]), head["figures"]
        if weight.shape != (model.embedding_dim, len(labels)) or bias.shape != (len(labels),):
            raise ValueError("another shape")
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
            f"head.json is not as a run writes it ({type(error).__name__}): go on with the run", code="head_invalid"
        ) from None
