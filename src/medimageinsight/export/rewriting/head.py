"""The end of the image encoder, where only the mean over all tokens is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from medimageinsight.network.davit import DaViT
    from medimageinsight.network.model import UniCLModel


def average_before_last_layer(model: UniCLModel) -> None:
    """The last block's fc2 is linear and only its mean is used: it sees the mean of its inputs, one row a picture."""
    stages: Any = model.image_encoder.blocks
    last = stages[-1][-1].channel_block
    last.ffn = AveragedFeedForward(last.ffn)
    model.image_encoder = HeadOfMeans(model.image_encoder)  # type: ignore[assignment]  # the same face


class AveragedFeedForward(nn.Module):
    """(B, H, W, C) to the mean over H and W of x + fc2(GELU(fc1(norm(x)))), (B, C)."""

    def __init__(self, original: Any) -> None:  # noqa: ANN401 (a Residual around a FeedForward)
        super().__init__()
        self.norm: nn.LayerNorm = original.norm
        self.fc1, self.act, self.fc2 = original.fn.net

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.fc1(self.norm(x)))
        return x.mean(dim=(1, 2)) + self.fc2(hidden.mean(dim=(1, 2)))


class HeadOfMeans(nn.Module):
    """`DaViT` whose last block gives means."""

    def __init__(self, encoder: DaViT) -> None:
        super().__init__()
        self.convs, self.blocks, self.norms = encoder.convs, encoder.blocks, encoder.norms

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 2, 3, 1)  # (B, H, W, 3)
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            x = blocks(conv(x))
        return self.norms(x)
