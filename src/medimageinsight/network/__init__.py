"""The network in PyTorch: its architecture as data, its checkpoints, and the operations it takes.

Only names that need PyTorch import it, and only when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports
from medimageinsight.network.config import (
    RELEASED,
    EfficientNetConfig,
    ImageEncoderConfig,
    ModelConfig,
    TextEncoderConfig,
)
from medimageinsight.network.flops import image_flops, text_flops

if TYPE_CHECKING:
    from medimageinsight.network.checkpoint import (
        canonical_name,
        create_meta_model,
        load_model,
        load_state_dict,
        read_shapes,
    )
    from medimageinsight.network.model import UniCLModel

__all__ = [
    "RELEASED",
    "EfficientNetConfig",
    "ImageEncoderConfig",
    "ModelConfig",
    "TextEncoderConfig",
    "UniCLModel",
    "canonical_name",
    "create_meta_model",
    "image_flops",
    "load_model",
    "load_state_dict",
    "read_shapes",
    "text_flops",
]

_CHECKPOINT = ("canonical_name", "create_meta_model", "load_model", "load_state_dict", "read_shapes")
__getattr__, __dir__ = lazy_exports(
    __name__, __all__, dict.fromkeys(_CHECKPOINT, "checkpoint") | {"UniCLModel": "model"}
)
