"""A store in two dimensions, and the thumbnails of its images."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from medimageinsight.schemas.base import RequestModel, ResponseModel
from medimageinsight.schemas.errors import ErrorResponse
from medimageinsight.schemas.fields import DEFAULT_MAP_POINTS, Frame, Images, MapPoints, Model, Name, Store, Window

MIN_THUMBNAIL, MAX_THUMBNAIL = 16, 1024  # pixels of the longer side


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
