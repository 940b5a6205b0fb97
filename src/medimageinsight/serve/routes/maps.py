"""A store in two dimensions, and thumbnails of its images."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Query, Request, Response

from medimageinsight import schemas
from medimageinsight.errors import InputError
from medimageinsight.search import Item, stored_source
from medimageinsight.serve.http import unless_gone
from medimageinsight.serve.images import thumbnail
from medimageinsight.serve.routes.route import body_errors, errors, examples, media, new_router
from medimageinsight.serve.routes.rows import choose, embed_images, image_rows
from medimageinsight.serve.routes.samples import PNG
from medimageinsight.serve.routes.state import OpenServer, Server
from medimageinsight.serve.routes.stored_files import PRIVATE, find_stored, stored_image_errors
from medimageinsight.serve.routes.stores import store_of

router = new_router("Search and tasks")


@router.get("/api/map", name="map", responses=errors(400, 404, 422, 429, 503))
async def map_of_store(
    request: Request, server: OpenServer, query: Annotated[schemas.MapQuery, Query()]
) -> schemas.StoreMap:
    """Draw a store in two dimensions."""
    served = server.stores.get(query.store)

    def draw() -> schemas.StoreMap:
        store = served.store
        if query.color is not None and query.color not in store.columns:
            raise InputError("expected 'color' to be a column of the store, got another name", code="column_unknown")
        projection = server.stores.projection(served, query.limit)
        labels: list[Any] = [None] * len(projection.ids)
        if query.color is not None:
            labels = [item.metadata.get(query.color) for item in store.get(projection.ids)]
        return schemas.StoreMap(
            points=[
                schemas.StoredPoint(id=item_id, x=x, y=y, label=None if label is None else str(label))
                for item_id, (x, y), label in zip(projection.ids, projection.points.tolist(), labels, strict=True)
            ],
            count=store.count(),
            explained=list(projection.explained),
        )

    return await unless_gone(request, server.stores.run(draw))


@router.post("/api/map", responses=body_errors())
async def place_on_map(
    server: Server, body: Annotated[schemas.PlaceRequest, examples({"An image": {"store": "chest", "images": [PNG]}})]
) -> schemas.PlaceResponse:
    """Place images on the map of a store.

    On the axes that GET answers for the same limit. An image that cannot be used has an error as its result.
    """
    served = store_of(server, body.store, body.model)
    settings = served.store.identity.settings(window=body.window)
    rows = await image_rows(server, body.images, choose(frame=body.frame))
    projection = await server.stores.run(lambda: server.stores.projection(served, body.limit))
    points: list[schemas.Point | schemas.ErrorResponse] = []
    for image in await embed_images(served.served, rows, settings):
        if isinstance(image, InputError):
            points.append(schemas.ErrorResponse.of(image))
        else:
            ((x, y),) = projection.transform(np.atleast_2d(image)).tolist()
            points.append(schemas.Point(x=x, y=y))
    return schemas.PlaceResponse(points=points)


@router.get(
    "/api/picture",
    name="picture",
    response_class=Response,
    responses=media("image/png") | errors(400, 404, 429, 503),
)
async def thumbnail_of_item(
    request: Request, server: OpenServer, query: Annotated[schemas.ThumbnailQuery, Query()]
) -> Response:
    """Show a stored image, small, if it is in one of the server's folders."""
    served = server.stores.get(query.store)

    window = served.store.identity.settings().window
    limits = server.models.image_limits

    def shrink(item: Item, file: Path) -> bytes:
        return thumbnail(stored_source(item, file), query.size, limits, window=window)

    async def draw() -> bytes:
        with stored_image_errors():
            item, file = await server.stores.run(partial(find_stored, served.store, query.id, server.stores.folders))
            return await served.served.decode(partial(shrink, item, file))

    content = await unless_gone(request, draw())
    return Response(content, media_type="image/png", headers=PRIVATE)
