"""The five classifiers of the adapter protocol, by scikit-learn, with the settings that validation images choose from.

The methods are those of arXiv 2505.10823: nearest neighbours, logistic regression, a support vector machine, a random
forest and a network with one hidden layer. The grids are this project's, not the paper's.
"""

from __future__ import annotations

import warnings
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.metrics.scores import Flags, Floats

Method: TypeAlias = Literal["knn", "logistic_regression", "svm", "random_forest", "mlp"]
Settings: TypeAlias = dict[str, Any]
"""Arguments of the scikit-learn estimator."""


def _grid(**values: Sequence[object]) -> tuple[Settings, ...]:
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))


# The simplest first: of equal settings the first is chosen.
GRIDS: dict[Method, tuple[Settings, ...]] = {
    "knn": _grid(n_neighbors=(50, 20, 10, 5, 1), weights=("uniform", "distance")),
    "logistic_regression": _grid(C=(0.001, 0.01, 0.1, 1.0, 10.0)),
    "svm": (*_grid(kernel=("linear",), C=(0.001, 0.01, 0.1)), *_grid(kernel=("rbf",), C=(0.1, 1.0, 10.0, 100.0))),
    "random_forest": _grid(min_samples_leaf=(5, 1), max_features=("sqrt", 0.2)),
    "mlp": _grid(hidden_layer_sizes=((64,), (256,)), alpha=(10.0, 1.0, 0.01)),
}
METHODS = tuple(GRIDS)
TREES = 300
MAX_EPOCHS = 100
_SEVERAL_OUTPUTS = ("knn", "random_forest", "mlp")  # methods that fit labels which do not exclude each other at once


def decision_threshold(method: Method) -> float:
    """Return the score from which a label is present, where labels do not exclude each other."""
    return 0.0 if method == "svm" else 0.5


def usable_settings(method: Method, images: int) -> tuple[Settings, ...]:
    """Return the grid of a method, without more neighbours than there are training images."""
    return tuple(settings for settings in GRIDS[method] if settings.get("n_neighbors", 1) <= images)


def fit_scores(
    method: Method,
    settings: Settings,
    vectors: NDArray[np.float32],
    truth: Flags,
    known: Flags,
    queries: Sequence[NDArray[np.float32]],
    *,
    exclusive: bool,
    seed: int,
) -> list[Floats]:
    """Fit one classifier and return the scores (n, L) of each set of query vectors.

    Vectors are (N, D), truth and ``known`` (N, L) bool; an image is not used for a label that is not known. Scores are
    probabilities, those of the support vector machine distances from the boundary between a label and all others. With
    ``exclusive`` the labels exclude each other and all are known.

    Raises:
        MissingExtraError: Without scikit-learn.
    """
    if exclusive and (method != "svm" or truth.shape[1] == 2):
        estimator = _fit(method, settings, vectors, truth.argmax(axis=1), seed)
        return [_class_scores(estimator, rows) for rows in queries]
    if method in _SEVERAL_OUTPUTS and known.all() and truth.shape[1] > 1:
        estimator = _fit(method, settings, vectors, truth.astype(np.int64), seed)
        return [_label_scores(estimator.predict_proba(rows)) for rows in queries]
    estimators = [
        _fit(method, settings, vectors[used], flags[used].astype(np.int64), seed)
        for flags, used in zip(truth.T, known.T, strict=True)
    ]
    return [np.stack([_class_scores(estimator, rows)[:, 1] for estimator in estimators], axis=1) for rows in queries]


def make_estimator(method: Method, settings: Settings, *, seed: int) -> Any:  # noqa: ANN401 - of any class
    """Return the scikit-learn estimator; all but neighbours and trees get values of mean 0 and variance 1.

    Raises:
        MissingExtraError: Without scikit-learn.
    """
    try:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC
    except ImportError:
        raise missing_extra("evaluate", "comparing adapters") from None
    if method == "knn":  # on vectors of length 1 the Euclidean order is that of the cosine
        return KNeighborsClassifier(algorithm="brute", **settings)
    if method == "random_forest":
        return RandomForestClassifier(n_estimators=TREES, n_jobs=-1, random_state=seed, **settings)
    if method == "logistic_regression":
        estimator: Any = LogisticRegression(max_iter=1000, **settings)
    elif method == "svm":
        estimator = SVC(random_state=seed, **settings)
    else:
        estimator = MLPClassifier(max_iter=MAX_EPOCHS, random_state=seed, **settings)
    return make_pipeline(StandardScaler(), estimator)


def _fit(method: Method, settings: Settings, vectors: NDArray[np.float32], target: NDArray[np.int64], seed: int) -> Any:  # noqa: ANN401 - of any class
    estimator = make_estimator(method, settings, seed=seed)
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the validation images judge the result
        return estimator.fit(vectors, target)


def _class_scores(estimator: Any, vectors: NDArray[np.float32]) -> Floats:  # noqa: ANN401 - of any class
    """Return the scores (n, classes) of one target; two classes have two columns."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(vectors), dtype=np.float64)
    decisions = np.asarray(estimator.decision_function(vectors), dtype=np.float64)
    return np.stack([-decisions, decisions], axis=1) if decisions.ndim == 1 else decisions


def _label_scores(probabilities: Any) -> Floats:  # noqa: ANN401 - an array, or one for each label
    """Return the probabilities (n, L) of the labels of a multi-output estimator."""
    if isinstance(probabilities, list):
        return np.stack([columns[:, 1] for columns in probabilities], axis=1).astype(np.float64)
    return np.asarray(probabilities, dtype=np.float64)
