"""Adapters: a small head on frozen embeddings, learned in seconds, for the labels of one's own images.

    settings = AdapterSettings(kind="linear")
    train, validation = split_by_patient(Labelled(vectors=vectors, labels=labels, patients=patients))
    adapter = train_adapter(train, validation, model=ModelIdentity.of(model.manifest, model.preprocessing))
    adapter.predict(model.embed_images(["new.dcm"]))                                # (1, L)

Predicting needs numpy alone; training a linear one needs scikit-learn (the extra ``evaluate``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medimageinsight.adapters.figures import AdapterFigures, score_probabilities
from medimageinsight.adapters.fitting import AdapterSettings, Part, fit_linear, fit_mlp
from medimageinsight.adapters.labelled import check_trainable
from medimageinsight.errors import InputError
from medimageinsight.metrics.calibration import fit_temperature
from medimageinsight.metrics.heads import activate, logits
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.adapters.labelled import Labelled
    from medimageinsight.bundle.identity import ModelIdentity
    from medimageinsight.metrics.heads import Layer, Outputs
    from medimageinsight.metrics.scores import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """A learned head.

    Attributes:
        labels: The L labels, in the order of the probabilities.
        kind: ``linear`` or ``mlp``.
        outputs: ``softmax``: labels exclude each other, rows sum to 1; ``sigmoid``: they do not.
        layers: Of the head, for embeddings of length 1.
        temperature: What logits are divided by.
        model: Whose embeddings it is for.
        figures: How good it was, by what it was scored on.
        training: How it came about, for people.
    """

    labels: tuple[str, ...]
    kind: Literal["linear", "mlp"]
    outputs: Outputs
    layers: tuple[Layer, ...]
    temperature: float
    model: ModelIdentity
    figures: tuple[AdapterFigures, ...]
    training: dict[str, Any]

    @property
    def embedding_dim(self) -> int:
        """Length D of the embeddings it takes."""
        return int(self.layers[0].weight.shape[0])

    def predict(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (N, L) float32 of embeddings (N, D); (L,) of one (D,).

        Raises:
            InputError: Embeddings of another length (``embeddings_bad_shape``), or not finite
                (``embeddings_not_finite``).
        """
        single = np.ndim(vectors) == 1
        rows = unit_rows(np.asarray(vectors)[None] if single else vectors, dim=self.embedding_dim)
        probabilities = self._probabilities(rows).astype(np.float32)
        found: NDArray[np.float32] = probabilities[0] if single else probabilities
        return found

    def score(
        self,
        data: Labelled,
        *,
        scored_on: str = "test",
        resamples: int = 1000,
        confidence: float = 0.95,
    ) -> AdapterFigures:
        """Figures on labelled images.

        Raises:
            InputError: A label that the adapter does not know (``label_unknown``), labels of the other kind
                (``label_invalid``), embeddings of another model, or no images (``images_missing``).
        """
        if not len(data):
            raise InputError("expected labelled images to score, got none", code="images_missing")
        if unknown := sorted(set(data.names) - set(self.labels)):
            raise InputError(
                f"expected the adapter's labels, got {len(unknown)} others, the first {unknown[0]!r}: leave them out",
                code="label_unknown",
            )
        if data.exclusive != (self.outputs == "softmax"):
            raise InputError(
                "expected labels of the adapter's kind, one an image or sets of them", code="label_invalid"
            )
        return score_probabilities(
            self._probabilities(unit_rows(data.rows, dim=self.embedding_dim)),
            data.truth(self.labels),
            self.labels,
            self.outputs,
            groups=data.groups,
            scored_on=scored_on,
            resamples=resamples,
            confidence=confidence,
        )

    def with_figures(self, figures: AdapterFigures) -> Adapter:
        """The same adapter with one more set of figures."""
        return replace(self, figures=(*self.figures, figures))

    def _probabilities(self, rows: NDArray[np.float32]) -> Floats:
        """float64: sure predictions would round to ties in float32, and AUC sees ties."""
        return activate(logits(self.layers, rows) / self.temperature, self.outputs)


def train_adapter(
    train: Labelled,
    validation: Labelled,
    *,
    model: ModelIdentity,
    settings: AdapterSettings | None = None,
) -> Adapter:
    """Learn a head on the training part; the validation part stops it, calibrates it and scores it.

    Args:
        train: Labelled vectors.
        validation: Others, of other patients.
        model: Whose embeddings they are.
        settings: The kind of head and how it is learned.

    Raises:
        InputError: What `check_trainable` refuses, or vectors of another length than the model's.
        MissingExtraError: A linear adapter without scikit-learn.
    """
    settings = settings or AdapterSettings()
    unit_rows(train.rows, what="training vectors", dim=model.embedding_dim)
    names = check_trainable(train, validation)
    outputs: Outputs = "softmax" if train.exclusive else "sigmoid"
    fitted, judged = (
        Part.of(part.rows, part.truth(names).astype(np.float64), outputs, balanced=settings.balanced)
        for part in (train, validation)
    )
    fit = {"linear": fit_linear, "mlp": fit_mlp}[settings.kind]
    layers = fit(fitted, judged, outputs, settings)
    adapter = Adapter(
        labels=names,
        kind=settings.kind,
        outputs=outputs,
        layers=layers,
        temperature=fit_temperature(logits(layers, judged.vectors), judged.truth, judged.weights, outputs),
        model=model,
        figures=(),
        training={
            "training_images": len(train),
            "validation_images": len(validation),
            "images_by_label": dict(zip(names, map(int, fitted.truth.sum(axis=0)), strict=True)),
            "balanced": settings.balanced,
        },
    )
    return adapter.with_figures(
        adapter.score(validation, scored_on="validation", resamples=settings.resamples, confidence=settings.confidence)
    )
