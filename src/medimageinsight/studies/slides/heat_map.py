"""Scores of a slide's tiles as an image over the slide and as GeoJSON for QuPath."""

from __future__ import annotations

import json
import uuid
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import InputError, missing_extra
from medimageinsight.files.atomic import replace_file
from medimageinsight.studies.slides.tiles import SlideTiles
from medimageinsight.studies.slides.views import overview

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from PIL import Image

    from medimageinsight.studies.series import Series

_OVERVIEW_PIXELS = 1600
_COLOURS = "viridis"  # light to dark is the order also in grey and with colour blindness
_OPACITY = 0.55
_IDS = uuid.UUID("6f3d8b1e-7a52-4c55-9d0a-9f2c1f0f1c11")


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatMap:
    """Scores of tiles at their positions on a slide.

        scores = model.embed_images(series.images) @ model.embed_texts("tumour")
        heat_map = studies.HeatMap.of(series, scores, name="tumour")
        heat_map.save_png("map.png")
        heat_map.save_geojson("map.geojson")     # QuPath: File, Import objects from file

    Args:
        width: Of the slide's highest resolution, in pixels.
        height: Likewise.
        regions: x, y, width and height of each tile in these pixels, (N, 4).
        scores: One finite number for each tile, (N,).
        overview: The whole slide, reduced.
        name: Of the score, for the legend and the measurements.
    """

    width: int
    height: int
    regions: NDArray[np.int64]
    scores: NDArray[np.float64]
    overview: Image.Image
    name: str = "score"

    @classmethod
    def of(cls, series: Series, scores: ArrayLike, *, indices: ArrayLike | None = None, name: str = "score") -> HeatMap:
        """Return the heat map of a slide.

        Args:
            series: The slide.
            scores: One for each tile, (N,).
            indices: Of the tiles that the scores belong to; by default all.
            name: Of the score.

        Raises:
            InputError: Not a slide, or not one finite score for each tile (``heat_map_invalid``).
            ImageError: The slide cannot be read.
        """
        if not isinstance(series.images, SlideTiles):
            raise _invalid("the series of a slide", f"one of kind {series.kind}")
        chosen = series.images
        if indices is not None:
            chosen = replace(chosen, corners=chosen.corners[np.asarray(indices, dtype=np.int64)])
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != (len(chosen),) or not len(values) or not np.isfinite(values).all():
            raise _invalid(f"{len(chosen):,} finite scores, one for each tile", f"an array of shape {values.shape}")
        with chosen.handle.use() as pyramid:
            full = pyramid.levels[0]
            image = overview(pyramid, _OVERVIEW_PIXELS, damaged=[])
        regions = np.concatenate([chosen.corners, np.broadcast_to(chosen.size, (len(chosen), 2))], axis=1)
        return cls(width=full.width, height=full.height, regions=regions, scores=values, overview=image, name=name)

    def grid(self) -> NDArray[np.float64]:
        """Return the scores at the pixels of the overview, (H, W); the mean where tiles overlap, NaN without a tile."""
        columns, rows = self.overview.size
        sums, counts = np.zeros((rows + 1, columns + 1)), np.zeros((rows + 1, columns + 1))
        x, y, width, height = (self.regions[:, index] for index in range(4))
        left, right = _pixels(x, width, columns, self.width)
        top, bottom = _pixels(y, height, rows, self.height)
        for array, values in ((sums, self.scores), (counts, np.ones(len(self.scores)))):
            # The second differences of the sum of rectangles: the cost does not depend on their size.
            np.add.at(array, (top, left), values)
            np.add.at(array, (bottom, right), values)
            np.add.at(array, (top, right), -values)
            np.add.at(array, (bottom, left), -values)
        sums, counts = (array.cumsum(axis=0).cumsum(axis=1)[:rows, :columns] for array in (sums, counts))
        result = np.full((rows, columns), np.nan)
        covered = counts > 0.5
        result[covered] = sums[covered] / counts[covered]
        return result

    def save_png(self, path: Path) -> None:
        """Write the slide with the scores as colours and a colour bar that states their range.

        Raises:
            MissingExtraError: matplotlib is not installed.
            OSError: It cannot be written.
        """
        try:
            import matplotlib as mpl
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing_extra("slides", "drawing a heat map") from error
        low, high = float(self.scores.min()), float(self.scores.max())
        wide = self.overview.width / self.overview.height
        width, height = (9.0, 7.5 / wide) if wide > 1 else (7.5 * wide + 1.5, 7.5)
        with mpl.rc_context({"text.parse_math": False}), replace_file(path) as partial:
            figure = Figure(figsize=(max(width, 3.5), max(height, 2.5) + 0.5), layout="constrained")
            axes = figure.add_subplot()
            axes.imshow(self.overview)
            colours = axes.imshow(
                np.ma.masked_invalid(self.grid()),
                cmap=_COLOURS,
                vmin=low,
                vmax=high,
                alpha=_OPACITY,
                interpolation="none",
            )
            axes.set_axis_off()
            axes.set_title(f"{len(self.scores):,} tiles, {low:.3f} to {high:.3f}", fontsize=9)
            bar = figure.colorbar(colours, ax=axes, shrink=0.8)
            bar.set_label(self.name if len(self.name) <= 60 else f"{self.name[:59]}…")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # the font lacks it
                figure.savefig(partial, dpi=144, format="png")

    def to_geojson(self) -> dict[str, Any]:
        """Return the tiles as a FeatureCollection (RFC 7946), in pixels of the highest resolution, for QuPath.

        Each is a tile object with the score as its measurement, a closed ring, and an id that is the same in each run.
        """
        features = [
            {
                "type": "Feature",
                "id": str(uuid.uuid5(_IDS, f"{x},{y},{width},{height}")),
                "geometry": {"type": "Polygon", "coordinates": [_ring(x, y, width, height)]},
                "properties": {"objectType": "tile", "measurements": {self.name: round(score, 6)}},
            }
            for (x, y, width, height), score in zip(self.regions.tolist(), self.scores.tolist(), strict=True)
        ]
        return {"type": "FeatureCollection", "features": features}

    def save_geojson(self, path: Path) -> None:
        """Write `to_geojson` to a file, in one step.

        Raises:
            OSError: It cannot be written.
        """
        with replace_file(path) as partial, partial.open("w", encoding="utf-8") as file:
            json.dump(self.to_geojson(), file, allow_nan=False, ensure_ascii=False)


def _ring(x: int, y: int, width: int, height: int) -> list[list[int]]:
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]


def _pixels(
    start: NDArray[np.int64], length: NDArray[np.int64], pixels: int, extent: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = np.clip(np.round(start * pixels / extent), 0, pixels - 1).astype(np.int64)
    return first, np.clip(np.round((start + length) * pixels / extent), first + 1, pixels).astype(np.int64)


def _invalid(expected: str, got: str) -> InputError:
    return InputError(f"expected {expected}, got {got}: check what the scores belong to", code="heat_map_invalid")
