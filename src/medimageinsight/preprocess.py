"""Pixels to tensor: a decoded picture to the float32 array that the image encoder takes.

Two ways, chosen by name. ``direct`` is what the model was trained with: RGB, Pillow's bicubic resize on 8-bit values,
division by 255, mean and standard deviation. ``azure`` is what the hosted endpoint does: before ``direct``, every image
is resized to a square in its own mode, turned to RGB and sent through a JPEG round trip.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from medimageinsight.errors import BundleError, InputError
from medimageinsight.files import strict
from medimageinsight.images.decoded import to_rgb
from medimageinsight.images.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from medimageinsight.images import DecodedImage

Steps: TypeAlias = Literal["direct", "azure"]

LARGEST_SIZE = 4096  # pixels a side; a request's parameter must not reserve gigabytes
# Their three RGB channels are equal, so that one of them says all.
_GREY_MODES = ("1", "L", "LA")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a model wants its images; a bundle's manifest stores it.

        Preprocessing(image_size=(480, 480), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    Args:
        image_size: Height and width of the tensor, in pixels.
        mean: Of R, G and B, on the scale of 0 to 1.
        std: Of R, G and B, on the same scale.
        default: The steps that are taken where nothing else is asked for.
        standardization_size: Side of the square that ``azure`` resizes to first, in pixels.
        jpeg_quality: Of the JPEG round trip of ``azure``, 1 to 100.

    Raises:
        InputError: ``preprocessing_invalid`` for a value out of range.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    default: Steps = "direct"
    standardization_size: int = 512
    jpeg_quality: int = 75

    def __post_init__(self) -> None:
        for side in self.image_size:
            _check("an image size", side, 1, LARGEST_SIZE)
        if not all(deviation > 0 for deviation in self.std):
            raise _invalid(f"expected standard deviations above 0, got {self.std}")
        _check_steps(self.default)
        _check("a standardization size", self.standardization_size, 1, LARGEST_SIZE)
        _check("a JPEG quality", self.jpeg_quality, 1, 100)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The settings from a manifest, strictly.

        Raises:
            BundleError: ``bundle_invalid`` for a missing or unknown key, or a value of another type or range.
        """
        try:
            return strict.build(cls, values, "preprocessing")
        except strict.MappingError as error:
            raise BundleError(f"manifest.json.{error}: make the bundle again") from None
        except InputError as error:
            raise BundleError(f"manifest.json.preprocessing: {error.message}") from None


def preprocess(
    picture: DecodedImage,
    settings: Preprocessing,
    *,
    steps: Steps | None = None,
    standardization_size: int | None = None,
    jpeg_quality: int | None = None,
) -> NDArray[np.float32]:
    """The encoder's input for one picture.

    Args:
        picture: Any decoded picture, from 1 x 1 pixel on; its aspect ratio is not kept.
        settings: The model's own.
        steps: ``direct`` or ``azure``; the settings' default where None.
        standardization_size: Instead of the settings', for ``azure``.
        jpeg_quality: Instead of the settings', for ``azure``.

    Returns:
        (3, height, width) float32, C-contiguous, normalised.

    Raises:
        InputError: ``preprocessing_invalid`` for unknown steps, a size outside 1..4096, a quality outside 1..100.
    """
    image = as_seen(
        picture, settings, steps=steps, standardization_size=standardization_size, jpeg_quality=jpeg_quality
    )
    return normalize(np.asarray(image), mean=settings.mean, std=settings.std)


def as_seen(
    picture: DecodedImage,
    settings: Preprocessing,
    *,
    steps: Steps | None = None,
    standardization_size: int | None = None,
    jpeg_quality: int | None = None,
) -> Image.Image:
    """The picture as the network sees it, before its pixels are normalised; arguments and errors of `preprocess`.

    Returns:
        An image of the model's size, of mode RGB, or L with the bits that each of R, G and B has.
    """
    steps = settings.default if steps is None else steps
    _check_steps(steps)
    if steps == "azure":
        size = settings.standardization_size if standardization_size is None else standardization_size
        quality = settings.jpeg_quality if jpeg_quality is None else jpeg_quality
        image = standardize(picture.image, size=size, jpeg_quality=quality)
    else:
        image = _grey_or_rgb(picture.upright())
    height, width = settings.image_size
    return image.resize((width, height), Image.Resampling.BICUBIC)


def standardize(image: Image.Image, *, size: int, jpeg_quality: int) -> Image.Image:
    """What the hosted endpoint does to an image before the model's own preprocessing.

    Resize to a square in the image's own mode, with the filter that Pillow's ``resize`` takes by itself (nearest for
    modes 1 and P, else bicubic); then RGB; then a JPEG round trip in memory. EXIF orientation is not applied.

    Args:
        image: 8 bits a channel, any mode.
        size: Side of the square, 1 to 4096 pixels.
        jpeg_quality: 1 to 100.

    Returns:
        An image of mode RGB, or of mode L with the bits that each of R, G and B would have.
    """
    _check("a standardization size", size, 1, LARGEST_SIZE)
    _check("a JPEG quality", jpeg_quality, 1, 100)
    with quiet():
        resized = _grey_or_rgb(image.resize((size, size)))
    encoded = io.BytesIO()
    resized.save(encoded, format="JPEG", quality=jpeg_quality)
    decoded = Image.open(encoded, formats=("JPEG",))
    decoded.load()
    return decoded


def normalize(
    pixels: NDArray[np.uint8], *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """``(pixels / 255 - mean) / std`` in float32, channels first.

    Args:
        pixels: (H, W) grey or (H, W, 3) RGB, uint8.
        mean: Of R, G and B.
        std: Of R, G and B.

    Returns:
        (3, H, W) float32, C-contiguous.
    """
    tensor = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):  # a plane at a time and in place: ten times faster than (H, W, 3) at once
        plane = tensor[channel]
        np.divide(pixels if pixels.ndim == 2 else pixels[:, :, channel], np.float32(255), out=plane)
        np.subtract(plane, np.float32(mean[channel]), out=plane)
        np.divide(plane, np.float32(std[channel]), out=plane)
    return tensor


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """RGB, or mode L where the three channels would be equal: the same result at a third of the work."""
    return image.convert("L") if image.mode in _GREY_MODES else to_rgb(image)


def _check_steps(steps: object) -> None:
    if steps not in get_args(Steps):
        raise _invalid(f"expected the preprocessing 'direct' or 'azure', got {_shown(steps)}")


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _invalid(f"expected {name} from {low} to {high}, got {_shown(value)}")


def _shown(value: object) -> str:
    return str(value) if isinstance(value, int | float) else f"another {type(value).__name__}"


def _invalid(message: str) -> InputError:
    return InputError(message, code="preprocessing_invalid")
