"""Batch normalisation with fixed statistics as part of the convolution before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from medimageinsight.export.rewriting.attention import fixed
from medimageinsight.network.efficientnet import NORM_EPS, ConvNorm

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel


def fold_batch_norm(model: UniCLModel) -> None:
    """Scale the filters of each convolution by the norm after it, and give the convolution the norm's shift as bias."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            norm = module.norm
            scale = norm.weight.double() * (norm.running_var.double() + NORM_EPS).rsqrt()
            bias = norm.bias.double() - norm.running_mean.double() * scale
            weight = module.conv.weight.double() * scale[:, None, None, None]
            module.conv.weight, module.conv.bias = fixed(weight.float()), fixed(bias.float())
            module.norm = nn.Identity()  # type: ignore[assignment]  # same interface
