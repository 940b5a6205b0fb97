"""Old public names, which work for one more release with a ``DeprecationWarning``.

`MOVED` maps each old dotted path to the new one. It holds strings only, so nothing is imported before an old name is
used. Names of packages are resolved by their ``__getattr__`` (see `_lazy`), names of modules that no longer exist by a
finder at the end of ``sys.meta_path``, methods by the base class `OldMethods`.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    P = ParamSpec("P")
    R = TypeVar("R")

REMOVED_IN = "0.3"

MOVED: dict[str, str] = {
    "medimageinsight.bench.machine.describe_machine": "medimageinsight.engine.describe_machine",
    "medimageinsight.bundle.lineage.tree": "medimageinsight.bundle.provenance_tree",
    "medimageinsight.datasets.OriginalConfig": "medimageinsight.datasets.AzureMLConfig",
    "medimageinsight.datasets.OriginalFiles": "medimageinsight.datasets.AzureMLFiles",
    "medimageinsight.datasets.Piece": "medimageinsight.datasets.ByteRange",
    "medimageinsight.datasets.count_training": "medimageinsight.datasets.count_azureml_images",
    "medimageinsight.datasets.known_part": "medimageinsight.files.strict.known_part",
    "medimageinsight.datasets.read_original": "medimageinsight.datasets.read_azureml",
    "medimageinsight.datasets.read_original_config": "medimageinsight.datasets.read_azureml_config",
    "medimageinsight.datasets.split_rest": "medimageinsight.datasets.assign_missing_splits",
    "medimageinsight.evaluate.Embedded": "medimageinsight.evaluate.EmbeddedTable",
    "medimageinsight.evaluate.retrieval.has_relevant": "medimageinsight.metrics.has_relevant",
    "medimageinsight.evaluate.retrieval.nearest": "medimageinsight.metrics.nearest",
    "medimageinsight.evaluate.retrieval.same_label": "medimageinsight.metrics.same_label",
    "medimageinsight.export.source.find_checkpoint": "medimageinsight.export.find_checkpoint",
    "medimageinsight.export.source.read_description": "medimageinsight.export.read_description",
    "medimageinsight.images.Picture": "medimageinsight.images.DecodedImage",
    "medimageinsight.search.Projection.place": "medimageinsight.search.Projection.transform",
    "medimageinsight.search.Store.duplicates": "medimageinsight.search.find_duplicates",
    "medimageinsight.search.Store.measure_recall": "medimageinsight.search.measure_recall",
    "medimageinsight.search.Store.tend": "medimageinsight.search.Store.maintain",
    "medimageinsight.search.StoreAnswer": "medimageinsight.search.StoreClassification",
    "medimageinsight.search.named_location": "medimageinsight.search.parse_named_location",
    "medimageinsight.search.picture_of": "medimageinsight.search.find_image",
    "medimageinsight.search.read_tags": "medimageinsight.search.read_dicom_metadata",
    "medimageinsight.search.shown_location": "medimageinsight.search.redact_location",
    "medimageinsight.serve.Answer": "medimageinsight.serve.ScoringResponse",
    "medimageinsight.tasks.adapter.Adapter": "medimageinsight.adapters.Adapter",
    "medimageinsight.tasks.adapter.train_adapter": "medimageinsight.adapters.train_adapter",
    "medimageinsight.tasks.adapter_figures.AdapterFigures": "medimageinsight.adapters.AdapterFigures",
    "medimageinsight.tasks.adapter_figures.score_probabilities": "medimageinsight.adapters.score_probabilities",
    "medimageinsight.tasks.adapter_file.load_adapter": "medimageinsight.adapters.load_adapter",
    "medimageinsight.tasks.adapter_file.save_adapter": "medimageinsight.adapters.save_adapter",
    "medimageinsight.tasks.fitting.AdapterSettings": "medimageinsight.adapters.AdapterSettings",
    "medimageinsight.tasks.fitting.Part": "medimageinsight.adapters.FittingData",
    "medimageinsight.tasks.fitting.fit_linear": "medimageinsight.adapters.fit_linear",
    "medimageinsight.tasks.identity.ModelIdentity": "medimageinsight.bundle.ModelIdentity",
    "medimageinsight.tasks.identity.VectorIdentity": "medimageinsight.bundle.VectorIdentity",
    "medimageinsight.tasks.labelled.Labelled": "medimageinsight.adapters.LabelledEmbeddings",
    "medimageinsight.tasks.labelled.check_trainable": "medimageinsight.adapters.check_trainable",
    "medimageinsight.tasks.labelled.split_by_patient": "medimageinsight.adapters.split_by_patient",
    "medimageinsight.tasks.prompts_file.read_prompts": "medimageinsight.tagging.read_prompts",
    "medimageinsight.tasks.similarity.cosine_similarity": "medimageinsight.tasks.cosine_similarity",
    "medimageinsight.tasks.similarity.normalize": "medimageinsight.tasks.normalize",
    "medimageinsight.tasks.tables.embed_labelled": "medimageinsight.adapters.embed_labelled",
    "medimageinsight.tasks.tables.labelled_samples": "medimageinsight.adapters.labelled_samples",
    "medimageinsight.tasks.tables.patients_of": "medimageinsight.datasets.patient_ids",
    "medimageinsight.tasks.tables.split_parts": "medimageinsight.adapters.split_embeddings",
    "medimageinsight.tasks.tagged.Tagged": "medimageinsight.tagging.TagResult",
    "medimageinsight.tasks.tagged.Tags": "medimageinsight.tagging.Tags",
    "medimageinsight.tasks.tagged.check_tags": "medimageinsight.tagging.check_tags",
    "medimageinsight.tasks.tagged.tag_vectors": "medimageinsight.tagging.tag_vectors",
    "medimageinsight.tasks.tagged.thresholds_of": "medimageinsight.tagging.tag_thresholds",
    "medimageinsight.tasks.tagger_file.load_tagger": "medimageinsight.tagging.load_tagger",
    "medimageinsight.tasks.tagger_file.save_tagger": "medimageinsight.tagging.save_tagger",
    "medimageinsight.tasks.tagging.Tag": "medimageinsight.tagging.Tag",
    "medimageinsight.tasks.tagging.TagEmbeddings": "medimageinsight.tagging.TagEmbeddings",
    "medimageinsight.tasks.tagging.TagFigures": "medimageinsight.tagging.TagFigures",
    "medimageinsight.tasks.tagging.TagPrompts": "medimageinsight.tagging.TagPrompts",
    "medimageinsight.tasks.tagging.Tagger": "medimageinsight.tagging.Tagger",
    "medimageinsight.tasks.tagging.adapter_scores": "medimageinsight.tagging.adapter_scores",
    "medimageinsight.tasks.tagging.embed_tags": "medimageinsight.tagging.embed_tags",
    "medimageinsight.tasks.tagging.fit_tagger": "medimageinsight.tagging.fit_tagger",
    "medimageinsight.tasks.tagging.prompt_scores": "medimageinsight.tagging.prompt_scores",
    "medimageinsight.tasks.tagging.tag_prompts": "medimageinsight.tagging.tag_prompts",
    "medimageinsight.tasks.text.Text": "medimageinsight.tasks.Text",
    "medimageinsight.tasks.thresholds.Criterion": "medimageinsight.metrics.Criterion",
    "medimageinsight.tasks.thresholds.Operation": "medimageinsight.metrics.ThresholdFigures",
    "medimageinsight.tasks.thresholds.choose_threshold": "medimageinsight.metrics.choose_threshold",
    "medimageinsight.tasks.thresholds.operate": "medimageinsight.metrics.score_threshold",
    "medimageinsight.tasks.thresholds.wilson": "medimageinsight.metrics.wilson_interval",
    "medimageinsight.tasks.vocabularies.ANATOMY": "medimageinsight.tagging.ANATOMY",
    "medimageinsight.tasks.vocabularies.MODALITY": "medimageinsight.tagging.MODALITY",
    "medimageinsight.tasks.vocabularies.VIEW": "medimageinsight.tagging.VIEW",
    "medimageinsight.tasks.vocabularies.VOCABULARIES": "medimageinsight.tagging.VOCABULARIES",
    "medimageinsight.tasks.vocabularies.term_probabilities": "medimageinsight.tagging.term_probabilities",
    "medimageinsight.tasks.vocabularies.vocabulary": "medimageinsight.tagging.vocabulary",
}


def resolve(module: str, name: str, *, stacklevel: int = 3) -> object:
    """Return what an old name of a module stands for now, with a ``DeprecationWarning``.

    Args:
        module: The dotted path of the module, package or class that was asked.
        name: The attribute that it does not have.
        stacklevel: As in `warnings.warn`.

    Raises:
        AttributeError: The module never had such a name.
    """
    new = MOVED.get(f"{module}.{name}")
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name} is now {new}", stacklevel + 1)
    package, _, attribute = new.rpartition(".")
    return getattr(importlib.import_module(package), attribute)


class OldMethods:
    """A base class whose subclasses answer to the old names of their methods."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Return the method that replaces an old one, or the function with this object as its first argument."""
            for cls in type(self).__mro__:
                owner = f"{cls.__module__.rpartition('.')[0]}.{cls.__qualname__}"
                if new := MOVED.get(f"{owner}.{name}"):
                    if not new.startswith(f"{owner}."):
                        return functools.partial(resolve(owner, name), self)
                    _warn(f"{owner}.{name} is now {new}", 3)
                    return getattr(self, new.rpartition(".")[2])
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that lets a function take a keyword argument by its old name."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                _warn(f"the argument {old} of {function.__name__} is now {new}", 3)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


# Asked for every import that nothing else finds, of any package.
_OLD_MODULES = frozenset(old.rpartition(".")[0] for old in MOVED)


class _OldModules(MetaPathFinder, Loader):
    """Finds modules that no longer exist but whose names `MOVED` contains."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return a spec for the module, or None for any other one."""
        return ModuleSpec(fullname, self) if fullname in _OLD_MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        """Let the module resolve names when they are used."""
        module.__getattr__ = functools.partial(resolve, module.__name__)  # type: ignore[method-assign]


def install() -> None:
    """Let imports find modules that moved; a second call changes nothing."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())


def _warn(message: str, stacklevel: int) -> None:
    warnings.warn(f"{message}; the old name will be removed in {REMOVED_IN}", DeprecationWarning, stacklevel + 1)
