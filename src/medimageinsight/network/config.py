"""The architecture as data, for the released size, the built-in model and test sizes alike.

Read from the release's ``config.yaml`` or from a bundle's manifest. This module does not import PyTorch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.network.release_settings import check_release_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGINAL_WINDOW = 7  # the original's default; the release sets 12


def _expect_counts(name: str, values: Sequence[int]) -> None:
    if min(values) < 1:
        raise ConfigError(f"{name}: expected numbers of at least 1, got {min(values)}")


def _expect_rate(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{name}: expected 0 to below 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig:
    """DaViT (arXiv 2204.03645). Every tuple has one entry per stage."""

    image_size: tuple[int, int]  # (height, width), pixels
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    groups: tuple[int, ...]
    window: int  # width of a square attention window, tokens
    patch_sizes: tuple[int, ...] = (7, 3, 3, 3)
    patch_strides: tuple[int, ...] = (4, 2, 2, 2)
    patch_paddings: tuple[int, ...] = (3, 1, 1, 1)
    patch_prenorm: tuple[bool, ...] = (False, True, True, True)
    mlp_ratio: int = 4
    drop_path: float = 0.0  # training only: stochastic depth at the last block, rising linearly from 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and field.name != "image_size" and len(value) != 4:
                raise ConfigError(f"{field.name}: expected 4 entries, one per stage, got {len(value)}")
        for name in ("image_size", "widths", "depths", "heads", "groups", "patch_sizes", "patch_strides"):
            _expect_counts(name, getattr(self, name))
        _expect_counts("window, mlp_ratio", (self.window, self.mlp_ratio))
        _expect_rate("drop_path", self.drop_path)
        if min(self.patch_paddings) < 0:
            raise ConfigError(f"patch_paddings: expected numbers of at least 0, got {min(self.patch_paddings)}")
        for width, heads, groups in zip(self.widths, self.heads, self.groups, strict=True):
            if width % heads or width % groups:
                raise ConfigError(f"widths: {width} is not divisible by its {heads} heads or {groups} channel groups")

    @property
    def features(self) -> int:
        """The number of features of an image."""
        return self.widths[-1]

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """The number of tokens at each stage, (height, width)."""
        height, width = self.image_size
        grids = []
        for kernel, stride, padding in zip(self.patch_sizes, self.patch_strides, self.patch_paddings, strict=True):
            height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
            grids.append((height, width))
        return tuple(grids)


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """EfficientNet-Lite, a convolutional network: EfficientNet (arXiv 1905.11946) without squeeze-and-excitation.

    Its activation is ReLU6, and stem and head have the same widths in all sizes. Every tuple has one entry per stage.
    """

    kind: Literal["efficientnet"] = "efficientnet"  # the key that distinguishes it from `ImageEncoderConfig`
    image_size: tuple[int, int]  # (height, width), pixels
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]  # of the depth-wise convolutions
    strides: tuple[int, ...]  # of a stage's first block
    expansions: tuple[int, ...]  # of a block's channels before its depth-wise convolution
    stem: int = 32  # channels
    head: int = 1280  # features of an image
    drop_path: float = 0.0  # training only: stochastic depth at the last block, rising linearly from 0

    def __post_init__(self) -> None:
        stages = len(self.widths)
        for name in ("widths", "depths", "kernels", "strides", "expansions"):
            values = getattr(self, name)
            if len(values) != stages or not values:
                raise ConfigError(f"{name}: expected an entry for each stage, as in widths, got {len(values)}")
            _expect_counts(name, values)
        _expect_counts("image_size", self.image_size)
        _expect_counts("stem, head", (self.stem, self.head))
        _expect_rate("drop_path", self.drop_path)
        if even := [kernel for kernel in self.kernels if kernel % 2 == 0]:
            raise ConfigError(f"kernels: expected odd numbers, got {even[0]}")

    @property
    def features(self) -> int:
        """The number of features of an image."""
        return self.head

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """The number of positions after the stem and after each stage, (height, width)."""
        height, width = self.image_size
        grids = []
        for stride in (2, *self.strides):
            height, width = -(-height // stride), -(-width // stride)
            grids.append((height, width))
        return tuple(grids)


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """A CLIP-style transformer that is not causal. The end-of-text token is the vocabulary's last id."""

    vocab_size: int = 49408
    context_length: int = 77
    width: int
    heads: int
    layers: int
    dropout: float = 0.0  # training only

    def __post_init__(self) -> None:
        _expect_counts(
            "text vocab_size, context_length, width, heads, layers",
            (self.vocab_size, self.context_length, self.width, self.heads, self.layers),
        )
        _expect_rate("text dropout", self.dropout)
        if self.width % self.heads:
            raise ConfigError(f"text width {self.width} is not divisible by its {self.heads} heads")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Both encoders and the dimension of their common embedding space."""

    image: ImageEncoderConfig | EfficientNetConfig
    text: TextEncoderConfig
    embedding_dim: int

    def __post_init__(self) -> None:
        _expect_counts("embedding_dim", (self.embedding_dim,))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Read the plain form that `to_dict` returns and a manifest contains.

        Raises:
            ConfigError: A key is missing, unknown or of a wrong type; the message names it.
        """
        try:
            return strict.build(cls, data, "architecture")
        except strict.MappingError as error:
            raise ConfigError(str(error)) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings, ready for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_release(cls, config: Mapping[str, Any]) -> ModelConfig:
        """Read the mapping of the public release's ``config.yaml``.

        Settings of the original's trainer are ignored; those that shape the network are used, or rejected by name.

        Raises:
            ConfigError: A required key is missing, or a setting makes a network that is not supported.
        """
        try:
            image, text = config["IMAGE_ENCODER"], config["LANG_ENCODER"]
            spec = image["SPEC"]
            check_release_settings(config)
            size = image["IMAGE_SIZE"]
            height, width = (size, size) if isinstance(size, int) else size
            return cls(
                image=ImageEncoderConfig(
                    image_size=(int(height), int(width)),
                    widths=tuple(spec["DIM_EMBED"]),
                    depths=tuple(spec["DEPTHS"]),
                    heads=tuple(spec["NUM_HEADS"]),
                    groups=tuple(spec["NUM_GROUPS"]),
                    window=int(spec.get("WINDOW_SIZE", ORIGINAL_WINDOW)),
                    patch_sizes=tuple(spec["PATCH_SIZE"]),
                    patch_strides=tuple(spec["PATCH_STRIDE"]),
                    patch_paddings=tuple(spec["PATCH_PADDING"]),
                    patch_prenorm=tuple(spec["PATCH_PRENORM"]),
                    drop_path=float(spec.get("DROP_PATH_RATE", 0.0)),
                ),
                text=TextEncoderConfig(
                    context_length=int(text["CONTEXT_LENGTH"]),
                    width=int(text["WIDTH"]),
                    heads=int(text["HEADS"]),
                    layers=int(text["LAYERS"]),
                ),
                embedding_dim=int(config["UNICL_MODEL"]["DIM_PROJECTION"]),
            )
        except KeyError as error:
            raise ConfigError(f"config.yaml: expected the key {error.args[0]!r}, got a file without it") from None
        except (TypeError, AttributeError):
            raise ConfigError(
                "config.yaml: expected the release's layout (IMAGE_ENCODER, LANG_ENCODER, UNICL_MODEL), "
                "got a value of a wrong type in one of them"
            ) from None


RELEASED = ModelConfig(
    image=ImageEncoderConfig(
        image_size=(480, 480),
        widths=(256, 512, 1024, 2048),
        depths=(1, 1, 9, 1),
        heads=(8, 16, 32, 64),
        groups=(8, 16, 32, 64),
        window=12,
        drop_path=0.2,
    ),
    text=TextEncoderConfig(width=1024, heads=16, layers=16),
    embedding_dim=1024,
)
"""The architecture of the public release, as in its ``config.yaml``; a checkpoint's own config takes precedence."""
