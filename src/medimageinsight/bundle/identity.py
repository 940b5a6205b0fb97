"""Identity of the model that computed a set of vectors: vectors of different models cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle.bundle import EXTERNAL_DATA_SUFFIX, IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER
from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from medimageinsight.bundle.manifest import Manifest
    from medimageinsight.images import WindowLike
    from medimageinsight.preprocess import Preprocessing

_AZURE_ONLY = ("standardization_size", "jpeg_quality")  # settings without effect where the steps are ``direct``


@dataclass(frozen=True, kw_only=True)
class VectorIdentity:
    """The parts of a model that image vectors depend on; the base for files of vectors and of weights fitted to them.

    Attributes:
        embedding_dim: Length D of an embedding.
        image_encoder: File name to SHA-256 of the image encoder's graph and of its external weights, if any.
        preprocessing: As `Preprocessing.to_dict()`.
    """

    embedding_dim: int
    image_encoder: dict[str, str]
    preprocessing: dict[str, Any]

    def same_encoder(self, other: VectorIdentity) -> bool:
        """Return whether both have the same network; the names of their bundles may differ."""
        return (self.image_encoder, self.embedding_dim) == (other.image_encoder, other.embedding_dim)

    def embeds_alike(self, other: VectorIdentity) -> bool:
        """Return whether vectors of both can be compared: the same network, on images prepared in the same way."""
        return self.same_encoder(other) and not self.preprocessing_differences(other)

    def describe_preprocessing(self) -> str:
        """Return the steps and the window, if any, for people: ``preprocessing direct, window lung``."""
        window = self.preprocessing.get("window")
        steps = f"preprocessing {self.preprocessing.get('default', 'unknown')}"
        return steps if window is None else f"{steps}, window {window}"

    def preprocessing_differences(self, other: VectorIdentity) -> list[str]:
        """Return the names of the preprocessing settings that differ; settings without effect are ignored."""
        own, others = _effective(self.preprocessing), _effective(other.preprocessing)
        return [name for name in {**own, **others} if own.get(name) != others.get(name)]


@dataclass(frozen=True, kw_only=True)
class ModelIdentity(VectorIdentity):
    """The model that an adapter or a tagger was fitted for.

        identity = ModelIdentity.of(model.manifest, model.preprocessing)

    Attributes:
        name: The bundle's name, for people; a renamed bundle is the same model.
        text_encoder: File name to SHA-256 of each file that a text's embedding depends on.
    """

    name: str
    text_encoder: dict[str, str]

    @classmethod
    def of(cls, manifest: Manifest, preprocessing: Preprocessing) -> ModelIdentity:
        """Return the identity of a bundle used with this preprocessing."""
        return cls(
            name=manifest.name,
            embedding_dim=manifest.embedding_dim,
            image_encoder=image_checksums(manifest),
            text_encoder=text_checksums(manifest),
            preprocessing=_effective(preprocessing.to_dict()),
        )

    def with_window(self, window: WindowLike | None) -> ModelIdentity:
        """Return the identity of the vectors of a call with this window; None is the model's own."""
        if window is None:
            return self
        from medimageinsight.images import parse_window  # imports Pillow, which `mi2 --help` does without

        return replace(self, preprocessing={**self.preprocessing, "window": str(parse_window(window))})

    def check(self, used: ModelIdentity, *, texts: bool = False) -> None:
        """Refuse vectors of another model; with ``texts`` the text encoder has to be the same too.

        Raises:
            ModelError: ``adapter_other_model``; the message names the differing parts.
        """
        differences = [
            *["its image encoder"] * (self.image_encoder != used.image_encoder),
            *["its text encoder"] * (texts and self.text_encoder != used.text_encoder),
            *["the preprocessing"] * bool(self.preprocessing_differences(used)),
        ]
        if differences or not self.same_encoder(used):
            differing = " and ".join(differences) or "the length of its vectors"
            raise ModelError(
                f"expected the model that this file was made for ({self.name}, {self.describe_preprocessing()}), "
                f"got {used.name}, {used.describe_preprocessing()}; {differing} differs: "
                "use that model, or make the file again with this one",
                code="adapter_other_model",
            )


def image_checksums(manifest: Manifest) -> dict[str, str]:
    """Return file name to SHA-256 of a bundle's image encoder."""
    return _checksums(manifest, IMAGE_ENCODER)


def text_checksums(manifest: Manifest) -> dict[str, str]:
    """Return file name to SHA-256 of a bundle's text encoder and tokenizer."""
    return _checksums(manifest, TEXT_ENCODER, TOKENIZER)


def _checksums(manifest: Manifest, *names: str) -> dict[str, str]:
    """Return file name to SHA-256 of the named files and of their external weights."""
    wanted = {*names, *(name + EXTERNAL_DATA_SUFFIX for name in names)}
    return {file: manifest.files[file].sha256 for file in sorted(manifest.files) if file in wanted}


def _effective(preprocessing: dict[str, Any]) -> dict[str, Any]:
    if preprocessing.get("default") != "direct":
        return preprocessing
    return {name: value for name, value in preprocessing.items() if name not in _AZURE_ONLY}
