"""Comparison of images by their pixels: is one a copy of the other, re-encoded, resized or slightly cropped?

Both images are reduced to small grey ones. Scale and shift, which cropping changes, are fitted by least squares
(Lucas and Kanade, An iterative image registration technique, IJCAI 1981), first at half the size. The correlation of
the aligned images, without low frequencies and of one local contrast, then compares details: images of one body part
share the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medimageinsight import images

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 64  # of the small images, pixels
# The smallest correlation of copies; benchmarks/duplicates.py measures how many pairs it gets right.
MIN_CORRELATION = 0.86
MAX_SHIFT = 0.1  # of the side, and of the scale
_ITERATIONS = 5  # of the fit, for each of the two sizes
_DAMPING = 1e-3  # of the fit: images without details have no unique alignment
_NOISE = 2  # grey values, below which local contrast is not amplified
_PAIRS = 256  # compared together


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallImage:
    """A grey image of `SIDE` x `SIDE` pixels, and the size of the image that it was reduced from."""

    pixels: NDArray[np.uint8]
    width: int
    height: int

    @property
    def has_details(self) -> bool:
        """Whether the image had so many pixels that those of `SIDE` x `SIDE` are free of its noise."""
        return min(self.width, self.height) >= 1.5 * SIDE


def reduce_image(image: Image.Image) -> SmallImage:
    """Return an image in grey at the size that `correlate` compares."""
    grey = images.to_rgb(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return SmallImage(pixels=np.asarray(grey), width=image.width, height=image.height)


def correlate(pairs: list[tuple[SmallImage, SmallImage]]) -> NDArray[np.float32]:
    """Return the correlation of the details of each pair's aligned images, (N,) float32, -1 to 1.

    The larger image of a pair is aligned with the smaller one. Where one is small, both are compared at half the side.
    """
    ordered = [(a, b) if a.width * a.height >= b.width * b.height else (b, a) for a, b in pairs]
    found = [np.zeros(0, np.float32)]
    found += [_correlate(ordered[start : start + _PAIRS]) for start in range(0, len(ordered), _PAIRS)]
    return np.concatenate(found)


def _correlate(pairs: list[tuple[SmallImage, SmallImage]]) -> NDArray[np.float32]:
    a, b = (np.stack([pair[index].pixels for pair in pairs]).astype(np.float32) for index in (0, 1))
    half_a, half_b = _halve(a), _halve(b)
    fit = _align(half_a, half_b, np.zeros((len(pairs), 4), np.float32))
    correlations = _detail_correlation(_warp(half_a, fit), half_b)
    fine = np.flatnonzero([first.has_details and second.has_details for first, second in pairs])
    if len(fine):
        fit = _align(a[fine], b[fine], fit[fine])
        correlations[fine] = _detail_correlation(_warp(a[fine], fit), b[fine])
    correlations[(a == b).all(axis=(1, 2))] = 1  # also without any details
    return correlations


def _align(a: NDArray[np.float32], b: NDArray[np.float32], fit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scales and shifts (N, 4) that map the images `a` (N, S, S) to `b`, improved from `fit`."""
    side = a.shape[-1]
    position = _positions(side)
    target = _standardize(_inner(b))
    for _ in range(_ITERATIONS):
        warped = _warp(a, fit)
        inner = _inner(warped)
        scale = side / np.maximum(inner.std(axis=(1, 2), keepdims=True), 1)
        gradient_y, gradient_x = (_inner(np.asarray(part)) * scale for part in np.gradient(warped, axis=(1, 2)))
        x = _inner(np.broadcast_to(position, warped.shape))
        y = _inner(np.broadcast_to(position[:, np.newaxis], warped.shape))
        jacobian = np.stack([gradient_x * x, gradient_x, gradient_y * y, gradient_y], axis=-1).reshape(len(a), -1, 4)
        residual = (target - _standardize(inner)).reshape(len(a), -1, 1)
        normal = jacobian.transpose(0, 2, 1) @ jacobian
        damping = _DAMPING * np.trace(normal, axis1=1, axis2=2)[:, np.newaxis, np.newaxis] / 4 + 1e-6
        step = np.linalg.solve(normal + damping * np.eye(4, dtype=np.float32), jacobian.transpose(0, 2, 1) @ residual)
        fit = np.clip(fit + step[..., 0], -MAX_SHIFT, MAX_SHIFT).astype(np.float32)
    return fit


def _warp(a: NDArray[np.float32], fit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images (N, S, S), sampled with bilinear weights at scaled and shifted positions; edges are repeated."""
    side = a.shape[-1]
    columns = _weights(side, fit[:, 0], fit[:, 1])
    rows = _weights(side, fit[:, 2], fit[:, 3])
    warped: NDArray[np.float32] = np.matmul(np.matmul(rows, a), columns.transpose(0, 2, 1))
    return warped


def _weights(side: int, scale: NDArray[np.float32], shift: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return matrices (N, S, S) of the weights of each position along one axis."""
    position = _positions(side) * (1 + scale[:, np.newaxis]) + shift[:, np.newaxis]
    index = np.clip(position * side + (side - 1) / 2, 0, side - 1).astype(np.float32)
    weights: NDArray[np.float32] = np.maximum(0, 1 - np.abs(index[..., np.newaxis] - np.arange(side, dtype=np.float32)))
    return weights


def _positions(side: int) -> NDArray[np.float32]:
    """Return the pixels' positions along one axis from the centre, in parts of the side, (S,)."""
    return ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)


def _detail_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    left, right = (_standardize(_inner(_details(part))) for part in (a, b))
    correlations: NDArray[np.float32] = (left * right).mean(axis=(1, 2))
    return correlations


def _details(a: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images without low frequencies and of one local contrast: a mask's edge outweighs nothing within it."""
    details = a - _blur(a, 1 / 24)
    contrast = np.sqrt(_blur(details**2, 1 / 12))
    divided: NDArray[np.float32] = details / (contrast + _NOISE)
    return divided


def _blur(a: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Return Gaussian means; `width` is the standard deviation, in parts of the side."""
    positions = _positions(a.shape[-1])
    weights = np.exp(-0.5 * (np.subtract.outer(positions, positions) / width) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    blurred: NDArray[np.float32] = np.matmul(np.matmul(weights, a), weights.T)
    return blurred


def _inner(a: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images without their margin, which a crop does not have."""
    margin = a.shape[-1] // 16
    return a[:, margin:-margin, margin:-margin]


def _standardize(a: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = a - a.mean(axis=(1, 2), keepdims=True)
    standardized: NDArray[np.float32] = centred / np.maximum(centred.std(axis=(1, 2), keepdims=True), 1e-3)
    return standardized


def _halve(a: NDArray[np.float32]) -> NDArray[np.float32]:
    count, side, _ = a.shape
    halved: NDArray[np.float32] = a.reshape(count, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return halved
