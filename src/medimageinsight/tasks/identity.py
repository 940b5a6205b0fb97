"""Which model a file of learned numbers belongs to: its vectors mean nothing to another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER
from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from medimageinsight.bundle import Manifest
    from medimageinsight.preprocess import Preprocessing


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """A model as far as its vectors depend on it.

        identity = ModelIdentity.of(model.manifest, model.preprocessing)

    Attributes:
        name: The bundle's name, for people; a renamed bundle is the same model.
        embedding_dim: Length D of an embedding.
        image_encoder: SHA-256 of each file of the image encoder.
        text_encoder: SHA-256 of each file that a text's embedding depends on.
        preprocessing: The settings of the steps that were taken.
    """

    name: str
    embedding_dim: int
    image_encoder: dict[str, str]
    text_encoder: dict[str, str]
    preprocessing: dict[str, Any]

    @classmethod
    def of(cls, manifest: Manifest, preprocessing: Preprocessing) -> ModelIdentity:
        """The identity of a bundle whose images are prepared in this way."""
        steps = preprocessing.to_dict()
        if preprocessing.default == "direct":  # then these two change nothing
            del steps["standardization_size"], steps["jpeg_quality"]
        return cls(
            name=manifest.name,
            embedding_dim=manifest.embedding_dim,
            image_encoder=_checksums(manifest, IMAGE_ENCODER),
            text_encoder=_checksums(manifest, TEXT_ENCODER, TOKENIZER),
            preprocessing=steps,
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
            *["the preprocessing"] * (self.preprocessing != used.preprocessing),
        ]
        if differs or self.embedding_dim != used.embedding_dim:
            raise ModelError(
                f"expected the model that this file was made for ({self.name}, {_steps(self)}), got {used.name}, "
                f"{_steps(used)}; {' and '.join(differs) or 'the length of its vectors'} differs: "
                "use that model, or make the file again with this one",
                code="adapter_other_model",
            )


def _checksums(manifest: Manifest, *names: str) -> dict[str, str]:
    """Of the named files and their external data, which lies beside a graph and has its weights."""
    wanted = [file for file in sorted(manifest.files) for name in names if file in (name, f"{name}.data")]
    return {file: manifest.files[file].sha256 for file in wanted}


def _steps(identity: ModelIdentity) -> str:
    return f"preprocessing {identity.preprocessing.get('default', 'unknown')}"
