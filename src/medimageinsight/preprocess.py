"""Convert a decoded image to the float32 tensor that the image encoder takes.

There are two variants. ``direct`` is the preprocessing of the model's training: RGB, Pillow's bicubic resize on 8-bit
values, division by 255, mean and standard deviation. ``azure`` is that of the hosted endpoint: before ``direct``, every
image is resized to a square in its own mode, converted to RGB and encoded and decoded as JPEG.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard, get_args

import numpy as np
from PIL import Image

from medimageinsight.errors import BundleError, InputError
from medimageinsight.files import strict
from medimageinsight.files.json import json_kind
from medimageinsight.images import parse_window
from medimageinsight.images.decoded import to_rgb
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.images.window import CenterWidth, Percentiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from medimageinsight.images import DecodedImage, WindowLike

Steps: TypeAlias = Literal["direct", "azure"]

MAX_IMAGE_SIZE = 4096  # pixels a side; a request's parameter must not reserve gigabytes
MAX_FRAME = 1_000_000  # of a request's parameter


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing of a model, stored in the manifest of its bundle.

        Preprocessing(image_size=(480, 480), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    Args:
        image_size: Height and width of the tensor, in pixels.
        mean: Mean of R, G and B, on the scale of 0 to 1.
        std: Standard deviation of R, G and B, on the same scale.
        default: The steps of a call that names none.
        standardization_size: Side of the square that ``azure`` resizes to first, in pixels.
        jpeg_quality: JPEG quality of ``azure``, 1 to 100.
        window: The window of images of more than 8 bits, a text of `images.parse_window`; None for the image's own.

    Raises:
        InputError: ``preprocessing_invalid`` for a value out of range, ``window_invalid``.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    default: Steps = "direct"
    standardization_size: int = 512
    jpeg_quality: int = 75
    window: str | None = None

    def __post_init__(self) -> None:
        for side in self.image_size:
            _check("an image size", side, 1, MAX_IMAGE_SIZE)
        if not all(deviation > 0 for deviation in self.std):
            raise _invalid(f"expected standard deviations above 0, got {self.std}")
        check_steps(self.default)
        _check("a standardization size", self.standardization_size, 1, MAX_IMAGE_SIZE)
        _check("a JPEG quality", self.jpeg_quality, 1, 100)
        if self.window is not None:
            object.__setattr__(self, "window", str(parse_window(self.window)))  # equal windows have equal texts

    def with_window(self, window: WindowLike | None) -> Preprocessing:
        """Return these settings with another window; None changes nothing."""
        return self if window is None else replace(self, window=str(parse_window(window)))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values, for a manifest; without the window if there is none."""
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        if self.window is None:
            del settings["window"]
        return settings

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Parse the settings of a manifest, strictly.

        Raises:
            BundleError: ``bundle_invalid`` for a missing or unknown key, or a value of a wrong type or range.
        """
        try:
            return strict.build(cls, values, "preprocessing")
        except strict.MappingError as error:
            raise BundleError(f"manifest.json.{error}: make the bundle again") from None
        except InputError as error:
            raise BundleError(f"manifest.json.preprocessing: {error.message}") from None


def preprocess(
    image: DecodedImage,
    settings: Preprocessing,
    *,
    steps: Steps | None = None,
    standardization_size: int | None = None,
    jpeg_quality: int | None = None,
) -> NDArray[np.float32]:
    """Return the image encoder's input for one image, (3, height, width) float32, C-contiguous, normalised.

    The image has at least 1 x 1 pixel; its aspect ratio is not preserved. Arguments that are not None override those of
    the settings; the last two are for ``azure`` only.

    Raises:
        InputError: ``preprocessing_invalid`` for unknown steps, a size outside 1..4096, a quality outside 1..100.
    """
    resized = to_model_image(
        image, settings, steps=steps, standardization_size=standardization_size, jpeg_quality=jpeg_quality
    )
    return normalize(np.asarray(resized), mean=settings.mean, std=settings.std)


def to_model_image(
    image: DecodedImage,
    settings: Preprocessing,
    *,
    steps: Steps | None = None,
    standardization_size: int | None = None,
    jpeg_quality: int | None = None,
) -> Image.Image:
    """Return the image as the network receives it, before normalisation; arguments and errors of `preprocess`.

    The mode is RGB, or L for values that equal R, G and B.
    """
    steps = settings.default if steps is None else steps
    check_steps(steps)
    if steps == "azure":
        size = settings.standardization_size if standardization_size is None else standardization_size
        quality = settings.jpeg_quality if jpeg_quality is None else jpeg_quality
        source = standardize(image.image, size=size, jpeg_quality=quality)
    else:
        source = _grey_or_rgb(image.upright())
    height, width = settings.image_size
    return source.resize((width, height), Image.Resampling.BICUBIC)


def standardize(image: Image.Image, *, size: int, jpeg_quality: int) -> Image.Image:
    """Apply the hosted endpoint's conversion, which precedes the model's own preprocessing.

    Resize to a square of `size` pixels a side in the image's own mode, with the default filter of Pillow's ``resize``
    (nearest for modes 1 and P, else bicubic); then RGB, or L for values that equal R, G and B; then encode and decode
    as JPEG. EXIF orientation is not applied.
    """
    _check("a standardization size", size, 1, MAX_IMAGE_SIZE)
    _check("a JPEG quality", jpeg_quality, 1, 100)
    with suppress_decoder_warnings():
        resized = _grey_or_rgb(image.resize((size, size)))
    encoded = io.BytesIO()
    resized.save(encoded, format="JPEG", quality=jpeg_quality)
    decoded = Image.open(encoded, formats=("JPEG",))
    decoded.load()
    return decoded


def normalize(
    pixels: NDArray[np.uint8], *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return ``(pixels / 255 - mean) / std``, (3, H, W) float32 and C-contiguous, of (H, W) grey or (H, W, 3) RGB."""
    tensor = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):  # one plane at a time and in place: ten times faster than (H, W, 3) at once
        plane = tensor[channel]
        np.divide(pixels if pixels.ndim == 2 else pixels[:, :, channel], np.float32(255), out=plane)
        np.subtract(plane, np.float32(mean[channel]), out=plane)
        np.divide(plane, np.float32(std[channel]), out=plane)
    return tensor


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB, or to mode L if the three channels are equal: the same result at a third of the work."""
    return image.convert("L") if image.mode in ("1", "L", "LA") else to_rgb(image)


def parse_json_window(value: object) -> str:
    """Return the canonical text of the window in a request: a text, an index, or a list of center and width.

    Raises:
        InputError: ``window_invalid``.
    """
    if _is_pair(value):
        return str(parse_window(CenterWidth(*map(float, value))))
    if isinstance(value, str) or (type(value) is int and value <= MAX_FRAME):
        return str(parse_window(value))
    raise InputError(
        f"expected a window as a text, an index or [center, width], got {json_kind(value)}", code="window_invalid"
    )


def parse_percentiles(value: object) -> str:
    """Return the canonical text of the window in a request that is a list of two percentiles.

    Raises:
        InputError: ``window_invalid``.
    """
    if _is_pair(value):
        return str(parse_window(Percentiles(*map(float, value))))
    raise InputError(f"expected percentiles as [low, high], got {json_kind(value)}", code="window_invalid")


def _is_pair(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)


def check_steps(steps: object) -> None:
    """Raise an `InputError` (``preprocessing_invalid``) for anything but ``direct`` or ``azure``."""
    if steps not in get_args(Steps):
        raise _invalid(f"expected the preprocessing 'direct' or 'azure', got {_describe(steps)}")


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _invalid(f"expected {name} from {low} to {high}, got {_describe(value)}")


def _describe(value: object) -> str:
    if isinstance(value, str):
        return f"a text of {len(value):,} characters"
    return str(value) if isinstance(value, int | float) else type(value).__name__


def _invalid(message: str) -> InputError:
    return InputError(message, code="preprocessing_invalid")
