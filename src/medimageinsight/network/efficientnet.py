"""The other image encoder: EfficientNet-Lite, a convolutional network (arXiv 1905.11946).

The Lite variant has no squeeze-and-excitation, ReLU6 as activation, and a stem and a head of fixed width. A block is an
inverted residual (arXiv 1801.04381): channels are expanded, filtered one by one, and projected. Convolutions with a
stride are padded as in TensorFlow, where it was trained: the odd row and column of zeros are on the right and at the
bottom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.network.config import EfficientNetConfig

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01  # the weight of a batch in the running statistics
STATISTICS = ("running_mean", "running_var")


class EfficientNet(nn.Module):
    """Pixels (B, 3, H, W) to one feature vector per image, (B, head)."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.stem = ConvNorm(3, config.stem, kernel=3, stride=2)
        rates = iter(torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist())
        stages, inputs = [], config.stem
        for width, depth, kernel, stride, expansion in zip(
            config.widths, config.depths, config.kernels, config.strides, config.expansions, strict=True
        ):
            blocks = []
            for number in range(depth):
                step = stride if number == 0 else 1
                blocks.append(
                    InvertedResidual(
                        inputs, width, kernel=kernel, stride=step, expansion=expansion, drop_path=next(rates)
                    )
                )
                inputs = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.ModuleList(stages)
        self.head = ConvNorm(inputs, config.head)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.relu6(self.stem(pixels))
        for stage in self.blocks:
            x = stage(x)
        return F.relu6(self.head(x)).mean(dim=(2, 3), dtype=torch.float32)


class InvertedResidual(nn.Module):
    """Expansion, depth-wise convolution and projection; added to the input where shapes allow it.

    In training, the branch is dropped for a whole sample at the given rate (stochastic depth).
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int, drop_path: float
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden) if expansion > 1 else None
        self.dw = ConvNorm(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs)
        self.residual = stride == 1 and inputs == outputs
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        branch = x if self.expand is None else F.relu6(self.expand(x))
        branch = self.project(F.relu6(self.dw(branch)))
        if not self.residual:
            return branch
        if self.training and self.drop_path:
            keep = 1.0 - self.drop_path
            branch = branch * (torch.rand(len(x), 1, 1, 1, device=x.device) < keep).to(branch.dtype) / keep
        return x + branch


class ConvNorm(nn.Module):
    """A convolution without bias, and BatchNorm; the result has ceil(size / stride) rows and columns."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        # Without a stride the padding is the same on all sides; with one it depends on the image's size.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = BatchNorm(outputs)
        nn.init.normal_(self.conv.weight, std=(2 * groups / (outputs * kernel**2)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        return self.norm(self.conv(x if stride == 1 else pad_same(x, kernel, stride)))


class BatchNorm(nn.Module):
    """Batch normalisation (arXiv 1502.03167) with the statistics of the batch only while its weight is trained.

    A frozen norm has fixed statistics, in training too. Unlike PyTorch's, it has no counter of batches, so that all
    tensors of a checkpoint are floats.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        batch = self.training and self.weight.requires_grad
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, batch, NORM_MOMENTUM, NORM_EPS
        )


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad an image (B, C, H, W) with zeros, so that a convolution gives ceil(size / stride) rows and columns."""
    padding: list[int] = []
    for size in (x.shape[3], x.shape[2]):  # F.pad begins with the last axis
        missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        padding += [missing // 2, missing - missing // 2]
    return F.pad(x, padding) if any(padding) else x


def running_statistics(model: nn.Module, trained: set[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the running means and variances, by name, of the norms whose weights are in `trained`."""
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm) and f"{name}.weight" in trained:
            for statistic in STATISTICS:
                yield f"{name}.{statistic}", getattr(module, statistic)
