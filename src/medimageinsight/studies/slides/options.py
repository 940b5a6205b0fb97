"""How a slide is cut into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medimageinsight.errors import InputError

MAX_TILE_PIXELS = 4096
_NAMES = {"mpp": "microns_per_pixel", "tile": "tile_pixels", "overlap": "overlap", "tissue": "min_tissue"}


@dataclass(frozen=True, kw_only=True)
class SlideOptions:
    """The resolution and size of a slide's tiles, and how much tissue a tile must have.

        SlideOptions(microns_per_pixel=1.0, tile_pixels=480)
        SlideOptions.parse("mpp=1,tile=480,overlap=48,tissue=0.5")

    Args:
        microns_per_pixel: The resolution of the tiles; the slide's level with at least this resolution is read, and
            reduced to it where they differ. The default is that of a 20x objective.
        tile_pixels: Width and height of a tile, 16 to 4,096. The default has 128 µm, a convention.
        overlap: Pixels that neighbouring tiles share, less than `tile_pixels`.
        min_tissue: The part of a tile that must be tissue, 0 to 1; 0 uses every tile and looks for no tissue.

    Raises:
        InputError: ``slide_options_invalid``.
    """

    microns_per_pixel: float = 0.5
    tile_pixels: int = 256
    overlap: int = 0
    min_tissue: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.microns_per_pixel) and 0.01 <= self.microns_per_pixel <= 1000):
            raise _invalid("0.01 to 1000 microns per pixel (mpp)", f"{self.microns_per_pixel:g}")
        if not 16 <= self.tile_pixels <= MAX_TILE_PIXELS:
            raise _invalid(f"tiles of 16 to {MAX_TILE_PIXELS:,} pixels (tile)", f"{self.tile_pixels:,}")
        if not 0 <= self.overlap < self.tile_pixels:
            raise _invalid("an overlap from 0 to less than the size of a tile", f"{self.overlap:,}")
        if not 0 <= self.min_tissue <= 1:
            raise _invalid("a part of tissue from 0 to 1 (tissue)", f"{self.min_tissue:g}")
        # An origin states six digits: the same tile is read again from it.
        object.__setattr__(self, "microns_per_pixel", float(f"{self.microns_per_pixel:g}"))

    def __str__(self) -> str:
        tiles = f"mpp={self.microns_per_pixel:g},tile={self.tile_pixels},overlap={self.overlap}"
        return f"{tiles},tissue={self.min_tissue:g}"

    @classmethod
    def parse(cls, text: str) -> SlideOptions:
        """Return the options of a text as `str` writes it, such as ``mpp=1,tile=480``; each may be left out.

        Raises:
            InputError: ``slide_options_invalid``.
        """
        values: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            try:
                values[_NAMES[name.strip()]] = float(value)
            except (KeyError, ValueError):
                raise _invalid("mpp=0.5,tile=256,overlap=32,tissue=0.25 or some of these", "another text") from None
        microns_per_pixel, min_tissue = values.pop("microns_per_pixel", None), values.pop("min_tissue", None)
        if not all(value.is_integer() for value in values.values()):
            raise _invalid("whole numbers of pixels (tile, overlap)", "others")
        default = cls()
        return cls(
            microns_per_pixel=default.microns_per_pixel if microns_per_pixel is None else microns_per_pixel,
            min_tissue=default.min_tissue if min_tissue is None else min_tissue,
            **{name: int(value) for name, value in values.items()},
        )


def _invalid(expected: str, got: str) -> InputError:
    return InputError(f"expected {expected}, got {got}: correct the options of slides", code="slide_options_invalid")
