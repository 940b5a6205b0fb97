"""A store in two dimensions, and the thumbnails of its images."""

from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

from medimageinsight.schemas.base import RequestModel, ResponseModel
from medimageinsight.schemas.errors import ErrorResponse
from medimageinsight.schemas.fields import DEFAULT_MAP_POINTS, Frame, Images, MapPoints, Model, Name, Store, Window

MIN_THUMBNAIL, MAX_THUMBNAIL = 16, 1024  # pixels of the longer side
MAX_SLIDE_SIDE = 10_000_000  # pixels


def _parse_digits(value: object) -> object:
    """Return the number that a URL's query has in plain digits; other text is left for the number's own check."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 9 else value


_Digits = BeforeValidator(_parse_digits)


class MapQuery(RequestModel):
    """The query of a URL: which store to draw, and how."""

    store: Store
    color: Annotated[Name | None, Field(description="A column whose values are the points' labels.")] = None
    limit: Annotated[MapPoints, _Digits] = DEFAULT_MAP_POINTS


class ThumbnailQuery(RequestModel):
    """The query of a URL: which stored image to show, and how large."""

    store: Store
    id: Annotated[Name, Field(description="The id of a stored image.")]
    size: Annotated[
        int, Field(ge=MIN_THUMBNAIL, le=MAX_THUMBNAIL, description="The longer side, in pixels."), _Digits
    ] = 256


_Pixels: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SLIDE_SIDE), _Digits]
_Length: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SLIDE_SIDE), _Digits]


class SlideQuery(RequestModel):
    """The query of a URL: a stored slide or tile of it."""

    store: Store
    id: Annotated[Name, Field(description="The id of a stored slide, or of one of its tiles.")]


class SlideRegionQuery(SlideQuery):
    """The query of a URL: a region of a stored slide, in pixels of its highest resolution."""

    x: _Pixels
    y: _Pixels
    width: _Length
    height: _Length
    size: Annotated[
        int, Field(ge=MIN_THUMBNAIL, le=MAX_THUMBNAIL, description="The longer side, in pixels."), _Digits
    ] = 512


class Slide(ResponseModel):
    """A slide whose regions can be shown."""

    width: Annotated[int, Field(ge=1, description="Of the highest resolution, in pixels.")]
    height: Annotated[int, Field(ge=1)]
    microns_per_pixel: Annotated[
        list[float] | None, Field(min_length=2, max_length=2, description="Horizontal and vertical.")
    ] = None
    region: Annotated[
        list[int] | None,
        Field(min_length=4, max_length=4, description="Of the stored tile: x, y, width and height."),
    ] = None


class PlaceRequest(RequestModel):
    """Images to place on the map of a store."""

    store: Store
    images: Images
    frame: Frame = 0
    window: Window = None
    limit: MapPoints = DEFAULT_MAP_POINTS
    model: Model = None


class Point(ResponseModel):
    """A position on the map."""

    x: float
    y: float


class StoredPoint(Point):
    """The position of a stored image, and its value in the query's column."""

    id: str
    label: str | None


class StoreMap(ResponseModel):
    """A store in two dimensions."""

    points: list[StoredPoint]
    count: Annotated[int, Field(description="The number of all images, drawn or not.")]
    explained: Annotated[
        list[float], Field(min_length=2, max_length=2, description="The fraction of the variance of each axis.")
    ]


class PlaceResponse(ResponseModel):
    """One position for each image, in order."""

    points: list[Point | ErrorResponse]
