"""The end of the image encoder, where only the mean over all tokens is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from medimageinsight.network.davit import DaViT

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel


def average_before_last_layer(model: UniCLModel) -> None:
    """Apply the last block's fc2, which is linear, to the mean of its inputs: one row per image."""
    if not isinstance(model.image_encoder, DaViT):
        return
    stages: Any = model.image_encoder.blocks
    last = stages[-1][-1].channel_block
    last.ffn = AveragedFeedForward(last.ffn)
    model.image_encoder = MeanPoolingEncoder(model.image_encoder)  # type: ignore[assignment]  # same interface


class AveragedFeedForward(nn.Module):
    """(B, H, W, C) to the mean over H and W of x + fc2(GELU(fc1(norm(x)))), (B, C)."""

    def __init__(self, original: Any) -> None:  # noqa: ANN401 (a Residual around a FeedForward)
        super().__init__()
        self.norm: nn.LayerNorm = original.norm
        self.fc1, self.act, self.fc2 = original.fn.net

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.fc1(self.norm(x)))
        return x.mean(dim=(1, 2)) + self.fc2(hidden.mean(dim=(1, 2)))


class MeanPoolingEncoder(nn.Module):
    """`DaViT` whose last block returns the mean over tokens."""

    def __init__(self, encoder: DaViT) -> None:
        super().__init__()
        self.convs, self.blocks, self.norms = encoder.convs, encoder.blocks, encoder.norms

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 2, 3, 1)  # (B, H, W, 3)
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            x = blocks(conv(x))
        return self.norms(x)
