"""Random augmentation of one training image at a time, as pure functions on uint8 arrays.

The changes of an image depend only on the seed, the step and the image's id, so they are the same after a resume, with
any number of processes and with any number of workers.

The changes imitate differences between scanners and technicians: framing, tilt, exposure, sharpness, noise. Changes
that affect a finding are left out:

- flips: off unless a kind of image is named. The heart is on one side, and so is a stroke.
- hue, saturation, colour balance: the colour of a lesion, a stain or a retina is the finding.
- solarise and invert: white becomes black, bone becomes air.
- posterise and equalise: fewer grey levels remove a faint nodule, or make noise look like one.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from medimageinsight.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Flip = Literal["horizontal", "vertical", "transpose"]
# Limits at strength 1, in both directions; TrivialAugment "wide" (arXiv 2103.10158) goes about four times as far.
_DEGREES = 15.0
_SHEAR = 0.1  # as a fraction of the side
_SHIFT = 0.08  # as a fraction of the side
_BRIGHTNESS = 0.2  # added, as a fraction of the full range
_CONTRAST = 0.3  # log of the factor
_GAMMA = 0.3  # log of the exponent
_SHARPNESS = 0.7  # of the difference to a blurred image, added or subtracted
_NOISE = 0.04  # standard deviation, as a fraction of the full range
_ERASE_RATIO = (0.3, 3.3)  # height to width, as in arXiv 1708.04896
_ATTEMPTS = 10
_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_BLACK, _WHITE = (-0.15, 0.3), (0.6, 1.2)  # range of the ends of a random display window, of the full range


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelAugmentation:
    """The strength of the random changes to a training image. Everything is off by default.

    PixelAugmentation(crop_area=(0.8, 1.0), crop_ratio=(0.9, 1.11), trivial=True, erase=0.25)
    """

    crop_area: tuple[float, float] = (1.0, 1.0)  # minimum and maximum of a crop, as a fraction of the image
    crop_ratio: tuple[float, float] = (1.0, 1.0)  # width / height of a crop, relative to the image's own
    # Probability of a square of `native_side` pixels of the file instead: a part of a finer image.
    native: float = 0.0
    native_side: tuple[int, int] = (56, 140)
    # Probability of reducing the crop to `coarse_side` pixels before it is resized: an image of lower resolution.
    coarse: float = 0.0
    coarse_side: tuple[int, int] = (48, 112)
    # Probability, for grey images, of another display window: levels below and above become black and white.
    window: float = 0.0
    trivial: bool = False  # one random change of `CHANGES`, of random strength (TrivialAugment, arXiv 2103.10158)
    trivial_strength: float = 1.0  # maximum, 0 to 1
    erase: float = 0.0  # probability of replacing one rectangle by one grey value
    erase_area: tuple[float, float] = (0.02, 0.2)  # of the rectangle, as a fraction of the image
    # That keep an image valid, by "modality anatomy"; "*" applies to all other kinds.
    flips: dict[str, tuple[Flip, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("crop_area", "erase_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ConfigError(f"{name}: expected 0 < minimum <= maximum <= 1, got {low}, {high}")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ConfigError(f"crop_ratio: expected 0 < minimum <= maximum, got {self.crop_ratio}")
        for name in ("native_side", "coarse_side"):
            first, last = getattr(self, name)
            if not 1 <= first <= last:
                raise ConfigError(f"{name}: expected 1 <= minimum <= maximum, got {first}, {last}")
        for name in ("erase", "trivial_strength", "native", "coarse", "window"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0 to 1, got {getattr(self, name)}")


def image_rng(seed: int, step: int, sample_id: str) -> np.random.Generator:
    """Return the random generator of one image in one step."""
    digest = hashlib.blake2b(sample_id.encode(), digest_size=16).digest()
    return np.random.default_rng([seed, step, *np.frombuffer(digest, "<u4").tolist()])


def augment_image(
    pixels: Pixels, size: int, settings: PixelAugmentation, rng: np.random.Generator, *, kind: str = ""
) -> Pixels:
    """Crop, change, flip and erase part of one image, (H, W, 3) uint8; ``kind`` is its key in ``settings.flips``.

    Returns:
        (size, size, 3) uint8. With the default settings, the image resized as for inference.
    """
    left, top, width, height = crop_box(pixels.shape[1], pixels.shape[0], settings, rng)
    image, box = Image.fromarray(pixels), (left, top, left + width, top + height)
    if settings.coarse and rng.random() < settings.coarse:
        side = int(rng.integers(settings.coarse_side[0], settings.coarse_side[1] + 1))
        image = image.resize((side, side), _FILTERS[rng.integers(len(_FILTERS))], box)
        box = (0.0, 0.0, float(side), float(side))
    x = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box))
    if settings.window and rng.random() < settings.window and _is_grey(x):
        x = _window(x, rng)
    if settings.trivial:
        change = CHANGES[list(CHANGES)[rng.integers(len(CHANGES))]]
        x = change(x, settings.trivial_strength * rng.uniform(-1, 1), rng)
    for flip in settings.flips.get(kind, settings.flips.get("*", ())):
        if rng.random() < 0.5:
            x = _FLIPS[flip](x)
    return erase(x, settings, rng)


def crop_box(
    width: int, height: int, settings: PixelAugmentation, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Return left, top, width and height of a random crop; the whole image if crops are off or none fits."""
    if settings.native and rng.random() < settings.native:
        side = min(width, height, int(rng.integers(settings.native_side[0], settings.native_side[1] + 1)))
        left, top = rng.integers(width - side + 1), rng.integers(height - side + 1)
        return float(left), float(top), float(side), float(side)
    if settings.crop_area == (1.0, 1.0) and settings.crop_ratio == (1.0, 1.0):
        return 0.0, 0.0, float(width), float(height)
    for _ in range(_ATTEMPTS):
        area = rng.uniform(*settings.crop_area)
        ratio = math.exp(rng.uniform(math.log(settings.crop_ratio[0]), math.log(settings.crop_ratio[1])))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)  # as fractions of the sides
        if w <= 1 and h <= 1:
            return rng.uniform(0, 1 - w) * width, rng.uniform(0, 1 - h) * height, w * width, h * height
    return 0.0, 0.0, float(width), float(height)


def erase(pixels: Pixels, settings: PixelAugmentation, rng: np.random.Generator) -> Pixels:
    """Replace one rectangle by one grey value, with probability ``settings.erase`` (arXiv 1708.04896)."""
    if rng.random() >= settings.erase:
        return pixels
    height, width = pixels.shape[:2]
    area = rng.uniform(*settings.erase_area) * height * width
    ratio = math.exp(rng.uniform(math.log(_ERASE_RATIO[0]), math.log(_ERASE_RATIO[1])))
    h = min(height, max(1, round(math.sqrt(area * ratio))))
    w = min(width, max(1, round(math.sqrt(area / ratio))))
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    x = pixels.copy()
    x[top : top + h, left : left + w] = rng.integers(256)
    return x


def _affine(pixels: Pixels, matrix: Sequence[float]) -> Pixels:
    """Apply a linear map about the centre; pixels from outside the image are black."""
    height, width = pixels.shape[:2]
    a, b, c, d, e, f = matrix
    x, y = (width - 1) / 2, (height - 1) / 2
    shifted = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y)
    return np.asarray(
        Image.fromarray(pixels).transform((width, height), Image.Transform.AFFINE, shifted, Image.Resampling.BILINEAR)
    )


def _rotate(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    angle = math.radians(_DEGREES * amount)
    return _affine(pixels, (math.cos(angle), math.sin(angle), 0, -math.sin(angle), math.cos(angle), 0))


def _apply_table(pixels: Pixels, levels: NDArray[np.floating]) -> Pixels:
    """Replace each value by its entry of a table (256,), the same for all channels, so that grey remains grey."""
    x: Pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[pixels]
    return x


def _is_grey(pixels: Pixels) -> bool:
    first = pixels[..., 0]
    return bool((first == pixels[..., 1]).all() and (first == pixels[..., 2]).all())


def _window(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    black, white = 255 * rng.uniform(*_BLACK), 255 * rng.uniform(*_WHITE)
    return _apply_table(pixels, (np.arange(256) - black) * (255 / (white - black)))


def _contrast(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    middle = float(pixels.mean())
    return _apply_table(pixels, (np.arange(256) - middle) * math.exp(_CONTRAST * amount) + middle)


def _gamma(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    return _apply_table(pixels, 255 * (np.arange(256) / 255) ** math.exp(_GAMMA * amount))


def _sharpness(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    from PIL import ImageFilter

    image = Image.fromarray(pixels)
    blurred = image.filter(ImageFilter.GaussianBlur(1))
    return np.asarray(Image.blend(image, blurred, -_SHARPNESS * amount))


def _noise(pixels: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    # Grain of its own generator: what follows is then the same at every size.
    own = np.random.default_rng(rng.integers(1 << 63))
    grain = own.standard_normal(pixels.shape[:2], dtype=np.float32)[:, :, None] * (255 * _NOISE * abs(amount))
    return np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8)


CHANGES: Mapping[str, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "none": lambda pixels, _amount, _rng: pixels,
    "rotate": _rotate,
    "shear_x": lambda pixels, amount, _rng: _affine(pixels, (1, _SHEAR * amount, 0, 0, 1, 0)),
    "shear_y": lambda pixels, amount, _rng: _affine(pixels, (1, 0, 0, _SHEAR * amount, 1, 0)),
    "shift_x": lambda pixels, amount, _rng: _affine(pixels, (1, 0, _SHIFT * amount * pixels.shape[1], 0, 1, 0)),
    "shift_y": lambda pixels, amount, _rng: _affine(pixels, (1, 0, 0, 0, 1, _SHIFT * amount * pixels.shape[0])),
    "brightness": lambda pixels, amount, _rng: _apply_table(pixels, np.arange(256) + 255 * _BRIGHTNESS * amount),
    "contrast": _contrast,
    "gamma": _gamma,
    "sharpness": _sharpness,
    "noise": _noise,
}
_FLIPS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "horizontal": lambda x: x[:, ::-1],
    "vertical": lambda x: x[::-1],
    "transpose": lambda x: x.transpose(1, 0, 2),
}
