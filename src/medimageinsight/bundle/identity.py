"""What made vectors: those of another model, or of images prepared in another way, cannot be compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle.bundle import IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER
from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from medimageinsight.bundle.manifest import Manifest
    from medimageinsight.preprocess import Preprocessing

_OF_AZURE = ("standardization_size", "jpeg_quality")  # settings that change nothing where the steps are ``direct``


@dataclass(frozen=True, kw_only=True)
class VectorIdentity:
    """What the vectors of images depend on: the base of whatever keeps vectors, or what was learned from them.

    Attributes:
        embedding_dim: Length D of an embedding.
        image_encoder: File name to SHA-256 of the image encoder's graph and, where they lie beside it, its weights.
        preprocessing: As `Preprocessing.to_dict()`.
    """

    embedding_dim: int
    image_encoder: dict[str, str]
    preprocessing: dict[str, Any]

    def same_encoder(self, other: VectorIdentity) -> bool:
        """Whether the same network makes the vectors, whatever its bundle is called."""
        return (self.image_encoder, self.embedding_dim) == (other.image_encoder, other.embedding_dim)

    def other_steps(self, other: VectorIdentity) -> list[str]:
        """The settings by which images are prepared otherwise here than there; those without effect do not count."""
        mine, theirs = _effective(self.preprocessing), _effective(other.preprocessing)
        return [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]


@dataclass(frozen=True, kw_only=True)
class ModelIdentity(VectorIdentity):
    """The model that a file of learned numbers, an adapter or a tagger, was made for.

        identity = ModelIdentity.of(model.manifest, model.preprocessing)

    Attributes:
        name: The bundle's name, for people; a renamed bundle is the same model.
        text_encoder: SHA-256 of each file that a text's embedding depends on.
    """

    name: str
    text_encoder: dict[str, str]

    @classmethod
    def of(cls, manifest: Manifest, preprocessing: Preprocessing) -> ModelIdentity:
        """The identity of a bundle whose images are prepared in this way."""
        return cls(
            name=manifest.name,
            embedding_dim=manifest.embedding_dim,
            image_encoder=image_checksums(manifest),
            text_encoder=_checksums(manifest, TEXT_ENCODER, TOKENIZER),
            preprocessing=_effective(preprocessing.to_dict()),
        )

    def check(self, used: ModelIdentity, *, texts: bool = False) -> None:
        """Refuse vectors of another model.

        Args:
            used: The model at hand.
            texts: Whether texts are embedded too, so that their encoder has to be the same.

        Raises:
            ModelError: ``adapter_other_model``; the message says what differs.
        """
        differs = [
            *["its image encoder"] * (self.image_encoder != used.image_encoder),
            *["its text encoder"] * (texts and self.text_encoder != used.text_encoder),
            *["the preprocessing"] * bool(self.other_steps(used)),
        ]
        if differs or not self.same_encoder(used):
            raise ModelError(
                f"expected the model that this file was made for ({self.name}, {_steps(self)}), got {used.name}, "
                f"{_steps(used)}; {' and '.join(differs) or 'the length of its vectors'} differs: "
                "use that model, or make the file again with this one",
                code="adapter_other_model",
            )


def image_checksums(manifest: Manifest) -> dict[str, str]:
    """File name to SHA-256 of a bundle's image encoder."""
    return _checksums(manifest, IMAGE_ENCODER)


def _checksums(manifest: Manifest, *names: str) -> dict[str, str]:
    """Of the named files and their external data, which lies beside a graph and has its weights."""
    wanted = [file for file in sorted(manifest.files) for name in names if file in (name, f"{name}.data")]
    return {file: manifest.files[file].sha256 for file in wanted}


def _effective(preprocessing: dict[str, Any]) -> dict[str, Any]:
    if preprocessing.get("default") != "direct":
        return preprocessing
    return {name: value for name, value in preprocessing.items() if name not in _OF_AZURE}


def _steps(identity: ModelIdentity) -> str:
    return f"preprocessing {identity.preprocessing.get('default', 'unknown')}"
