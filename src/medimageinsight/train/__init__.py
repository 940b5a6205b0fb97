"""Train a model from scratch or fine-tune a checkpoint, from a YAML config.

    from medimageinsight.train import finetune

    best = finetune("configs/finetune-lora.yaml", "runs/mine")

Names are imported when they are first used: a config and its samples can be read without PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports

if TYPE_CHECKING:
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import (
        AzureMLData,
        CaptionAugmentation,
        DataConfig,
        DistillConfig,
        FinetuneConfig,
        ImageAugmentation,
        OptimizerConfig,
        ParallelConfig,
        RunConfig,
        StageConfig,
        StartConfig,
        TokenizerConfig,
        TrainConfig,
    )
    from medimageinsight.train.config_file import load_mapping, read_config, read_config_as
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.head import HEAD, head_to_adapter
    from medimageinsight.train.image_augmentation import PixelAugmentation, augment_image
    from medimageinsight.train.initialization import create_model
    from medimageinsight.train.memory_estimate import GPU_OVERHEAD, estimate_memory
    from medimageinsight.train.prefetch import create_batch_maker
    from medimageinsight.train.run import finetune, train
    from medimageinsight.train.samples import read_samples
    from medimageinsight.train.targets import TargetGroup
    from medimageinsight.train.teaching import TeacherOutput, write_targets

__all__ = [
    "GPU_OVERHEAD",
    "HEAD",
    "AzureMLData",
    "CaptionAugmentation",
    "CaptionWriter",
    "DataConfig",
    "DistillConfig",
    "FinetuneConfig",
    "ImageAugmentation",
    "OptimizerConfig",
    "ParallelConfig",
    "PixelAugmentation",
    "Processes",
    "RunConfig",
    "StageConfig",
    "StartConfig",
    "TargetGroup",
    "TeacherOutput",
    "TokenizerConfig",
    "TrainConfig",
    "augment_image",
    "create_batch_maker",
    "create_model",
    "estimate_memory",
    "finetune",
    "head_to_adapter",
    "load_mapping",
    "read_config",
    "read_config_as",
    "read_samples",
    "train",
    "write_targets",
]

_CONFIG = [name for name in __all__ if name.endswith(("Augmentation", "Config", "Data"))]
_MODULES = {
    "image_augmentation": ["augment_image"],
    "captions": ["CaptionWriter"],
    "config": _CONFIG,
    "config_file": ["load_mapping", "read_config", "read_config_as"],
    "prefetch": ["create_batch_maker"],
    "distributed": ["Processes"],
    "head": ["HEAD", "head_to_adapter"],
    "initialization": ["create_model"],
    "run": ["finetune", "train"],
    "memory_estimate": ["GPU_OVERHEAD", "estimate_memory"],
    "samples": ["read_samples"],
    "targets": ["TargetGroup"],
    "teaching": ["TeacherOutput", "write_targets"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, __all__, {name: module for module, names in _MODULES.items() for name in names}
)
