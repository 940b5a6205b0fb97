"""The stores of the server: search, labels by neighbours, a map, and the pictures of what was found."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request, Response

from medimageinsight.errors import InputError
from medimageinsight.search import classify_vector, find_image
from medimageinsight.search.projection import MAX_SAMPLE
from medimageinsight.search.store import MAX_K
from medimageinsight.serve.contract import check_rows, make_row
from medimageinsight.serve.fields import LARGEST_FRAME, Fields, image_row, invalid
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.images import thumbnail
from medimageinsight.serve.rejection import Refused
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.serve.routes.tasks import answered, failed
from medimageinsight.tagging.vocabularies import VOCABULARIES, vocabulary
from medimageinsight.tasks.neighbours import NeighbourSettings
from medimageinsight.version import DISCLAIMER, __version__

if TYPE_CHECKING:
    from medimageinsight.search import Hit
    from medimageinsight.serve.stores import ServedStore

router = APIRouter(prefix="/api", include_in_schema=False)

SMALLEST_PICTURE, LARGEST_PICTURE = 16, 1024  # pixels of the longer side
MAP_POINTS = 2000
MOST_NEIGHBOURS = 100_000  # of one answer, which is held in memory with all their metadata
_QUERIES = ("image", "text", "id", "vector")
_PICTURE_HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


@router.get("/about")
async def about(request: Request) -> Response:
    """The models, stores, taggers and vocabularies of this server."""
    server = state_of(request)
    default = server.models.get()
    server.stores.check_open()
    infos = [await server.stores.run(served.store.info) for served in server.stores.all()]
    return json_response(
        {
            "version": __version__,
            "disclaimer": DISCLAIMER,
            "models": [
                {"name": served.name, "embedding_dim": served.model.embedding_dim} for served in server.models.all()
            ],
            "vocabularies": {name: list(vocabulary(name, model=default.name)) for name in VOCABULARIES},
            "stores": [
                {
                    "name": served.name,
                    "model": served.served.name,
                    "count": info.count,
                    "columns": info.columns,
                    "pictures": bool(server.stores.folders),
                }
                for served, info in zip(server.stores.all(), infos, strict=True)
            ],
            "taggers": [{"name": one.name, "tags": list(one.tagger.names)} for one in server.stores.taggers()],
        }
    )


@router.post("/search")
async def search(request: Request) -> Response:
    """The stored images nearest to an image, a text, a stored image or a vector."""
    return await answered(request, _search)


@router.post("/neighbours")
async def neighbours(request: Request) -> Response:
    """Labels by the most similar stored images, which come with the answer."""
    return await answered(request, _neighbours)


@router.get("/map")
async def map_of_store(request: Request) -> Response:
    """A store in two dimensions."""
    server = state_of(request)
    server.models.check_open()
    asked = Fields(dict(request.query_params), ("store", "color", "limit"))
    served = server.stores.get(asked.needed_text("store"))
    limit = _query_number(asked, "limit", MAP_POINTS, 1, MAX_SAMPLE)
    return json_response(await unless_gone(request, _map(server, served, asked.text("color"), limit)))


@router.post("/map")
async def place_on_map(request: Request) -> Response:
    """Where images lie on the map of a store."""
    return await answered(request, _place)


@router.get("/picture")
async def picture(request: Request) -> Response:
    """The picture of a stored image, if it lies in one of the server's folders."""
    server = state_of(request)
    server.models.check_open()
    asked = Fields(dict(request.query_params), ("store", "id", "size"))
    served, one = server.stores.get(asked.needed_text("store")), asked.needed_text("id")
    size = _query_number(asked, "size", 256, SMALLEST_PICTURE, LARGEST_PICTURE)

    def draw() -> bytes:
        (item,) = served.store.get([one])
        return thumbnail(find_image(item, server.stores.folders), size, server.models.image_limits)

    try:
        content = await unless_gone(request, server.stores.run(draw))
    except InputError as error:
        code = error.code if error.code == "ids_unknown" else "picture_not_available"
        message = "expected a stored image whose picture this server may show, got another: see --pictures"
        raise Refused(404, message, code=code) from None
    return Response(content, media_type="image/png", headers=_PICTURE_HEADERS)


async def _search(server: ServerState, content: object) -> dict[str, Any]:
    known = ("store", *_QUERIES, "frame", "k", "where", "min_score", "exact", "other_than_same", "model")
    asked = Fields(content, known)
    served = _store_of(server, asked)
    given = [name for name in _QUERIES if name in asked]
    if len(given) != 1:
        raise invalid("one of 'image', 'text', 'id' and 'vector'", " and ".join(given) or "none")
    how: dict[str, Any] = {
        "k": asked.whole("k", 10, 1, MAX_K),
        "where": asked.text("where"),
        "min_score": asked.number("min_score"),
        "exact": asked.flag("exact"),
    }
    other = asked.text("other_than_same")
    if "id" in asked:
        one = asked.needed_text("id")
        return await server.stores.run(lambda: _hits(served.store.more_like(one, exclude_same=other, **how)))
    if other is not None:
        raise invalid("'other_than_same' with 'id' alone: what is searched for has no metadata", "another query")
    vector = _vector(asked) if "vector" in asked else await _embedded(server, served, asked)
    return await server.stores.run(lambda: _hits(served.store.search(vector, **how)))


async def _neighbours(server: ServerState, content: object) -> dict[str, Any]:
    asked = Fields(content, ("store", "images", "frame", "label", "k", "temperature", "where", "model"))
    served = _store_of(server, asked)
    label, where = asked.needed_text("label"), asked.text("where")
    temperature = asked.number("temperature")
    settings = NeighbourSettings(
        k=asked.whole("k", 10, 1, MAX_K),
        temperature=NeighbourSettings.temperature if temperature is None else temperature,
    )
    rows = asked.image_rows(allow_urls=bool(server.settings.url_hosts))
    check_rows(len(rows), server.settings.max_rows)
    if len(rows) * settings.k > MOST_NEIGHBOURS:
        raise invalid(f"'images' times 'k' to be at most {MOST_NEIGHBOURS:,}", f"{len(rows) * settings.k:,}")
    results = []
    for one in await served.served.embed_rows(rows, served.store.identity.settings()):
        if isinstance(one, InputError):
            results.append(failed(one))
            continue
        vote = partial(
            classify_vector, served.store, np.asarray(one.image), label=label, settings=settings, where=where
        )
        results.append((await server.stores.run(vote)).to_dict())
    return {"model": served.served.name, "results": results}


async def _map(server: ServerState, served: ServedStore, color: str | None, limit: int) -> dict[str, Any]:
    def draw() -> dict[str, Any]:
        store = served.store
        if color is not None and color not in store.columns:
            raise InputError("expected 'color' to be a column of the store, got another", code="column_unknown")
        projection = server.stores.projection(served, limit)
        labels: list[Any] = [None] * len(projection.ids)
        if color is not None:
            labels = [item.metadata.get(color) for item in store.get(projection.ids)]
        return {
            "points": [
                {"id": one, "x": x, "y": y, "label": None if label is None else str(label)}
                for one, (x, y), label in zip(projection.ids, projection.points.tolist(), labels, strict=True)
            ],
            "count": store.count(),
            "explained": list(projection.explained),
        }

    return await server.stores.run(draw)


async def _place(server: ServerState, content: object) -> dict[str, Any]:
    asked = Fields(content, ("store", "images", "frame", "limit", "model"))
    served = _store_of(server, asked)
    limit = asked.whole("limit", MAP_POINTS, 1, MAX_SAMPLE)
    rows = asked.image_rows(allow_urls=bool(server.settings.url_hosts))
    check_rows(len(rows), server.settings.max_rows)
    projection = await server.stores.run(lambda: server.stores.projection(served, limit))
    points: list[dict[str, Any]] = []
    for one in await served.served.embed_rows(rows, served.store.identity.settings()):
        if isinstance(one, InputError):
            points.append(failed(one))
        else:
            ((x, y),) = projection.transform(np.atleast_2d(np.asarray(one.image))).tolist()
            points.append({"x": x, "y": y})
    return {"points": points}


def _store_of(server: ServerState, asked: Fields) -> ServedStore:
    served = server.stores.get(asked.needed_text("store"))
    if asked.text("model") not in (None, served.served.name):
        raise invalid(f"the store's model, {served.served.name}", "another")
    return served


async def _embedded(server: ServerState, served: ServedStore, asked: Fields) -> Any:  # noqa: ANN401 - (D,) float32
    if "image" in asked:
        frame = asked.whole("frame", 0, 0, LARGEST_FRAME)
        row = image_row(asked.get("image"), frame, allow_urls=bool(server.settings.url_hosts))
    else:
        row = make_row(None, asked.get("text"))
    (found,) = await served.served.embed_rows([row], served.store.identity.settings())
    if isinstance(found, InputError):
        raise found
    return found.image if row.text is None else found.text


def _hits(found: list[Hit]) -> dict[str, Any]:
    return {"hits": [hit.to_dict() for hit in found]}


def _vector(asked: Fields) -> list[float]:
    values = asked.items("vector")
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        raise invalid("'vector' to be a list of numbers")
    return values


def _query_number(asked: Fields, name: str, default: int, low: int, high: int) -> int:
    """A whole number of a URL's query, where all is text."""
    text = asked.text(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and low <= int(text) <= high):
        raise invalid(f"'{name}' to be a whole number from {low} to {high}")
    return int(text)
