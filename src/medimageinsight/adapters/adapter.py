"""Adapters: small heads on frozen embeddings, trained in seconds for the labels of one's own images.

    settings = AdapterSettings(kind="linear")
    train, validation = split_by_patient(LabelledEmbeddings(vectors=vectors, labels=labels, patients=patients))
    identity = ModelIdentity.of(model.manifest, model.preprocessing)
    adapter = train_adapter(train, validation, model=identity, settings=settings)
    adapter.predict(model.embed_images(["new.dcm"]))                                # (1, L)

Prediction needs numpy only; training a linear adapter needs scikit-learn (the extra ``evaluate``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medimageinsight.adapters.figures import AdapterFigures, score_probabilities
from medimageinsight.adapters.fitting import AdapterSettings, FittingData, fit_linear, fit_mlp
from medimageinsight.adapters.labelled_embeddings import check_trainable
from medimageinsight.errors import InputError
from medimageinsight.metrics.calibration import fit_temperature
from medimageinsight.metrics.heads import activate, head_logits
from medimageinsight.metrics.patients import count_unknown, reject_shared_patients
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.adapters.labelled_embeddings import LabelledEmbeddings
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.metrics.heads import Layer, Outputs
    from medimageinsight.metrics.scores import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """A trained head.

    Attributes:
        labels: The L labels, in the order of the probabilities.
        kind: The kind of head.
        outputs: ``softmax``: labels exclude each other, rows sum to 1; ``sigmoid``: they do not.
        layers: Of the head, for embeddings of length 1.
        temperature: Divides the logits.
        model: The model whose embeddings it takes.
        figures: Its performance on one set of images or several.
        training: How it was trained, for people.
        fitted_patients: The patients of its training and validation images, '' for those that are not known; not in a
            file, so empty for an adapter that was read.
    """

    labels: tuple[str, ...]
    kind: Literal["linear", "mlp"]
    outputs: Outputs
    layers: tuple[Layer, ...]
    temperature: float
    model: ModelIdentity
    figures: tuple[AdapterFigures, ...]
    training: dict[str, Any]
    fitted_patients: frozenset[str] = frozenset()

    @property
    def embedding_dim(self) -> int:
        """Length D of the embeddings."""
        return int(self.layers[0].weight.shape[0])

    def predict(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return probabilities (N, L) float32 of embeddings (N, D), or (L,) of a single embedding (D,).

        Raises:
            InputError: Embeddings of another length (``embeddings_bad_shape``), or not finite
                (``embeddings_not_finite``).
        """
        is_single = np.ndim(vectors) == 1
        rows = unit_rows(np.asarray(vectors)[None] if is_single else vectors, dim=self.embedding_dim)
        probabilities: NDArray[np.float32] = self._probabilities(rows).astype(np.float32)
        return probabilities[0] if is_single else probabilities

    def score(
        self,
        data: LabelledEmbeddings,
        *,
        scored_on: str = "test",
        resamples: int = 1000,
        confidence: float = 0.95,
    ) -> AdapterFigures:
        """Compute figures on labelled images, of other patients than the adapter was fitted to.

        An adapter that was read from a file does not know its patients: ``patients_checked`` of the figures is False.

        Raises:
            InputError: A patient that it was fitted to (``patients_shared``), a label that the adapter does not have
                (``label_unknown``), labels of the other kind (``label_invalid``), embeddings of another model, or no
                images (``images_missing``).
        """
        if not len(data):
            raise InputError("expected labelled images to score, got none", code="images_missing")
        if others := sorted(set(data.names) - set(self.labels)):
            raise InputError(
                f"expected the adapter's labels, got {len(others)} others, the first {others[0]!r}: leave them out",
                code="label_unknown",
            )
        if data.exclusive != (self.outputs == "softmax"):
            kinds = "one label for each image", "sets of labels"
            expected, got = kinds if self.outputs == "softmax" else reversed(kinds)
            raise InputError(f"expected {expected}, as in the adapter's training, got {got}", code="label_invalid")
        reject_shared_patients(tuple(self.fitted_patients), data.patients, "training or validation, and test")
        unknown = count_unknown(data.patients, len(data))
        return score_probabilities(
            self._probabilities(unit_rows(data.rows, dim=self.embedding_dim)),
            data.truth(self.labels),
            self.labels,
            self.outputs,
            groups=data.groups,
            scored_on=scored_on,
            known=data.known(self.labels),
            unknown_patients=unknown,
            patients_checked=not unknown and bool(self.fitted_patients) and "" not in self.fitted_patients,
            resamples=resamples,
            confidence=confidence,
        )

    def with_figures(self, figures: AdapterFigures) -> Adapter:
        """Return the same adapter with additional figures."""
        return replace(self, figures=(*self.figures, figures))

    def _probabilities(self, rows: NDArray[np.float32]) -> Floats:
        """Return float64: confident predictions would round to ties in float32, which change the AUC."""
        return activate(head_logits(self.layers, rows) / self.temperature, self.outputs)


def train_adapter(
    train: LabelledEmbeddings,
    validation: LabelledEmbeddings,
    *,
    model: ModelIdentity,
    settings: AdapterSettings | None = None,
) -> Adapter:
    """Train a head on embeddings of ``model``; ``validation``, of other patients, is used to stop, calibrate and score.

    Raises:
        InputError: As `check_trainable`, or vectors of another length than the model's.
        MissingExtraError: A linear adapter without scikit-learn.
    """
    settings = settings or AdapterSettings()
    unit_rows(train.rows, name="training vectors", dim=model.embedding_dim)
    names = check_trainable(train, validation)
    outputs: Outputs = "softmax" if train.exclusive else "sigmoid"
    fit_data, validation_data = (
        FittingData.of(
            part.rows,
            part.truth(names).astype(np.float64),
            outputs,
            balanced=settings.balanced,
            known=part.known(names),
        )
        for part in (train, validation)
    )
    fit_head = {"linear": fit_linear, "mlp": fit_mlp}[settings.kind]
    layers = fit_head(fit_data, validation_data, outputs, settings)
    logits = head_logits(layers, validation_data.vectors)
    adapter = Adapter(
        labels=names,
        kind=settings.kind,
        outputs=outputs,
        layers=layers,
        temperature=fit_temperature(logits, validation_data.truth, validation_data.weights, outputs),
        model=model,
        figures=(),
        training={
            "training_images": len(train),
            "validation_images": len(validation),
            "images_by_label": dict(zip(names, map(int, fit_data.truth.sum(axis=0)), strict=True)),
            "balanced": settings.balanced,
        },
        fitted_patients=_patients(train),
    )
    figures = adapter.score(
        validation, scored_on="validation", resamples=settings.resamples, confidence=settings.confidence
    )
    return replace(adapter, figures=(figures,), fitted_patients=adapter.fitted_patients | _patients(validation))


def _patients(data: LabelledEmbeddings) -> frozenset[str]:
    return frozenset(data.patients or [""])
