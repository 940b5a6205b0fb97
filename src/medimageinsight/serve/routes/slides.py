"""Regions of slides whose tiles are stored, to look at them in their surroundings."""

from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response

from medimageinsight import schemas, studies
from medimageinsight.search import Item
from medimageinsight.serve.http import unless_gone
from medimageinsight.serve.images import as_png
from medimageinsight.serve.routes.route import errors, media, new_router
from medimageinsight.serve.routes.state import OpenServer, ServerState
from medimageinsight.serve.routes.stored_files import PRIVATE, find_stored, stored_image_errors

router = new_router("Search and tasks", "/api")


@router.get("/slide", responses=errors(400, 404, 429, 503))
async def slide(request: Request, server: OpenServer, query: Annotated[schemas.SlideQuery, Query()]) -> schemas.Slide:
    """Describe the slide of a stored tile, if it is in one of the server's folders."""

    def describe(item: Item, file: str) -> schemas.Slide:
        info = studies.describe_slide(file)
        region = item.origin.region
        return schemas.Slide(
            width=info.width,
            height=info.height,
            microns_per_pixel=None if info.microns_per_pixel is None else list(info.microns_per_pixel),
            region=None if region is None else list(region),
        )

    described: schemas.Slide = await unless_gone(request, _use(server, query, describe))
    return described


@router.get("/slide/region", response_class=Response, responses=media("image/png") | errors(400, 404, 429, 503))
async def slide_region(
    request: Request, server: OpenServer, query: Annotated[schemas.SlideRegionQuery, Query()]
) -> Response:
    """Show a region of the slide of a stored tile.

    What is outside the slide is white.
    """
    scale = query.size / max(query.width, query.height)
    size = (max(1, round(query.width * scale)), max(1, round(query.height * scale)))
    region = (query.x, query.y, query.width, query.height)
    content: bytes = await unless_gone(
        request, _use(server, query, lambda _, file: as_png(studies.read_region(file, region, size)))
    )
    return Response(content, media_type="image/png", headers=PRIVATE)


async def _use(server: ServerState, query: schemas.SlideQuery, work: Any) -> Any:  # noqa: ANN401 - of an item and its file
    """Return the work's result on a stored item and its file."""
    served = server.stores.get(query.store)
    with stored_image_errors():
        item, file = await server.stores.run(partial(find_stored, served.store, query.id, server.stores.folders))
        return await served.served.decode(partial(work, item, str(file)))
