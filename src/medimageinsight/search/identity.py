"""The model and preprocessing of a store's vectors; vectors of others cannot be compared with them."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from medimageinsight.bundle import IMAGE_ENCODER, VectorIdentity, image_checksums
from medimageinsight.errors import BundleError, InputError, StoreError
from medimageinsight.files import strict
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.images import WindowLike

FORMAT = 1  # of a store, both kinds


@dataclass(frozen=True, kw_only=True)
class Identity(VectorIdentity):
    """The model and the preprocessing of a store."""

    model: str  # bundle's name, for messages only: bundles with the same name may differ, and a bundle may be renamed
    precision: str  # of the image encoder
    # Hexadecimal digits, chosen at random for each store: the key of hashed patient ids. Not compared.
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False, compare=False)

    @classmethod
    def of(cls, model: MedImageInsight) -> Self:
        """Return the identity of the vectors that a model computes."""
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
        """Read the identity that `to_json` wrote into a store.

        Raises:
            StoreError: A newer version wrote it (``store_too_new``), or it is malformed (``store_invalid``).
        """
        try:
            document = json.loads(content or "null")
            version = int(document["format"])
        except (ValueError, TypeError, KeyError):
            raise StoreError(
                "expected a store of this program, got a database without its identity: choose another"
            ) from None
        if version > FORMAT:
            raise StoreError(
                f"expected a store of format {FORMAT} or older, got format {version}: upgrade medimageinsight-onnx",
                code="store_too_new",
            )
        try:
            identity = strict.build(cls, document.get("identity"), "identity")
            identity.settings()
        except (strict.MappingError, BundleError):
            raise StoreError(
                "expected a store of this program, got a damaged identity in it: index the images again"
            ) from None
        return identity

    def to_json(self) -> str:
        """Return the JSON text that a store holds."""
        return json.dumps({"format": FORMAT, "identity": asdict(self)})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields except the salt."""
        return {name: value for name, value in asdict(self).items() if name != "salt"}

    def settings(self, *, window: WindowLike | None = None) -> Preprocessing:
        """Return the preprocessing for query images, and refuse a call that asks for another window.

        Raises:
            InputError: ``store_other_preprocessing``, ``window_invalid``.
        """
        settings = Preprocessing.from_dict(self.preprocessing)
        wanted = settings.with_window(window)
        if wanted != settings:
            raise InputError(
                f"expected no window or the store's ({settings.window or 'that of each image'}), got {wanted.window}: "
                "leave it out, or index the images again in a new store",
                code="store_other_preprocessing",
            )
        return settings

    def check_model(self, other: Identity) -> None:
        """Refuse a model that is not the store's.

        Raises:
            InputError: ``store_other_model``.
        """
        if not self.same_encoder(other) or self.precision != other.precision:
            raise InputError(
                f"expected the store's model, {self._describe()}, got {other._describe()}: "
                "choose the store's with --model, or index the images again in a new store",
                code="store_other_model",
            )

    def check_preprocessing(self, other: Identity) -> None:
        """Refuse a preprocessing that is not the store's.

        Raises:
            InputError: ``store_other_preprocessing``.
        """
        if differing := self.preprocessing_differences(other):
            expected, got = (
                ", ".join(f"{name} {identity.preprocessing.get(name)}" for name in differing)
                for identity in (self, other)
            )
            raise InputError(
                f"expected the store's preprocessing ({expected}), got {got}: "
                "use the store's, or index the images again in a new store",
                code="store_other_preprocessing",
            )

    def _describe(self) -> str:
        checksum = self.image_encoder.get(IMAGE_ENCODER, "")[:12]
        return f"{self.model} {self.precision} of {self.embedding_dim} numbers ({checksum})"
