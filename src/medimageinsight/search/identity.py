"""What made a store's vectors: vectors of another model or of other preprocessing cannot be compared with them."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from medimageinsight.bundle import IMAGE_ENCODER
from medimageinsight.bundle.identity import VectorIdentity, image_checksums
from medimageinsight.errors import BundleError, InputError, StoreError
from medimageinsight.files import strict
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight

FORMAT = 1  # of a store, both kinds
_CHECKSUM_SHOWN = 12  # digits of a SHA-256, for people


@dataclass(frozen=True, kw_only=True)
class Identity(VectorIdentity):
    """The model and the preprocessing of a store.

    Args:
        model: The bundle's name, for people: two bundles of one name may differ, and one bundle have two names.
        precision: Of the image encoder.
        salt: Hexadecimal digits, chosen when the store is made: what ids of patients are hashed with. Not compared.
    """

    model: str
    precision: str
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False, compare=False)

    @classmethod
    def of(cls, model: MedImageInsight) -> Self:
        """The identity of the vectors that a model makes."""
        manifest = model.manifest
        return cls(
            model=manifest.name,
            image_encoder=image_checksums(manifest),
            precision=manifest.precision,
            embedding_dim=manifest.embedding_dim,
            preprocessing=model.preprocessing.to_dict(),
        )

    @classmethod
    def from_json(cls, content: str | bytes | None) -> Self:
        """From what a store kept.

        Raises:
            StoreError: A newer version wrote it (``store_too_new``), or it is not of the form (``store_invalid``).
        """
        try:
            about = json.loads(content or "null")
            version = int(about["format"])
        except (ValueError, TypeError, KeyError):
            raise StoreError("expected a store of this program, got another database: choose another") from None
        if version > FORMAT:
            raise StoreError(
                f"expected a store of format {FORMAT} or older, got a newer one: upgrade medimageinsight-onnx",
                code="store_too_new",
            )
        try:
            identity = strict.build(cls, about.get("identity"), "identity")
            identity.settings()
        except (strict.MappingError, BundleError):
            raise StoreError(
                "expected a store of this program, its description of itself is damaged: index the images again"
            ) from None
        return identity

    def to_json(self) -> str:
        """What a store keeps."""
        return json.dumps({"format": FORMAT, "identity": asdict(self)})

    def to_dict(self) -> dict[str, Any]:
        """For people and programs: all but the salt."""
        return {name: value for name, value in asdict(self).items() if name != "salt"}

    def settings(self) -> Preprocessing:
        """How an image that is searched for has to be prepared."""
        return Preprocessing.from_dict(self.preprocessing)

    def check_model(self, other: Identity) -> None:
        """Refuse another model than the store's.

        Raises:
            InputError: ``store_other_model``.
        """
        if not self.same_encoder(other) or self.precision != other.precision:
            raise InputError(
                f"expected the store's model, {self._shown()}, got {other._shown()}: "
                "choose the store's with --model, or index the images again in a new store",
                code="store_other_model",
            )

    def check_preprocessing(self, other: Identity) -> None:
        """Refuse vectors of images that were prepared in another way.

        Raises:
            InputError: ``store_other_preprocessing``.
        """
        if differing := self.other_steps(other):
            expected, got = (_shown(one.preprocessing, differing) for one in (self, other))
            raise InputError(
                f"expected the store's preprocessing ({expected}), got another ({got}): "
                "use the store's, or index the images again in a new store",
                code="store_other_preprocessing",
            )

    def _shown(self) -> str:
        checksum = self.image_encoder.get(IMAGE_ENCODER, "")[:_CHECKSUM_SHOWN]
        return f"{self.model} {self.precision} of {self.embedding_dim} numbers ({checksum})"


def _shown(preprocessing: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name} {preprocessing.get(name)}" for name in names)
