"""Classification, tags and comparison of images and texts, and the picture as the model sees it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request, Response

from medimageinsight.errors import InputError
from medimageinsight.serve.contract import Row, check_rows, make_row
from medimageinsight.serve.fields import LARGEST_FRAME, Fields, image_row, invalid
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.images import view as as_seen
from medimageinsight.serve.prompts import prompts_of
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.tagging.tags import tag_vectors
from medimageinsight.tagging.vocabularies import vocabulary
from medimageinsight.tasks import cosine_similarity, mean_by_label, probabilities

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.serve.models import ServedModel
    from medimageinsight.tagging.tagger import Tagger

router = APIRouter(prefix="/api", include_in_schema=False)


@router.post("/classify")
async def classify(request: Request) -> Response:
    """Probabilities of labels that are no more than texts."""
    return await answered(request, _classify)


@router.post("/tag")
async def tag(request: Request) -> Response:
    """Which tags images have, by a vocabulary or a tagger of the server."""
    return await answered(request, _tag)


@router.post("/compare")
async def compare(request: Request) -> Response:
    """Cosines of images and texts."""
    return await answered(request, _compare)


@router.post("/view")
async def view(request: Request) -> Response:
    """An image as the model sees it."""
    return await answered(request, _view)


async def answered(request: Request, work: Callable[[ServerState, Any], Awaitable[dict[str, Any]]]) -> Response:
    """The answer of a route that takes a JSON body; the work ends when the client goes."""
    server = state_of(request)
    server.models.check_open()

    async def parse_and_work(body: bytes) -> dict[str, Any]:
        return await work(server, await server.parse(body, lambda content: content))

    with server.bodies.room() as room:
        body = await server.bodies.read(request, room)
        return json_response(await unless_gone(request, parse_and_work(body)))


async def embed_texts(served: ServedModel, texts: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """The embedding (D,) of each distinct text.

    Raises:
        InputError: A text cannot be used.
    """
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, await _embed(served, [Row(text=one) for one in distinct]), strict=True))


async def _classify(server: ServerState, content: object) -> dict[str, Any]:
    asked = Fields(content, ("model", "images", "frame", "labels", "template", "fields"))
    served = server.models.get(asked.text("model"))
    rows = asked.image_rows(allow_urls=bool(server.settings.url_hosts))
    prompts = await server.in_thread(lambda: prompts_of(asked, images=len(rows), most=server.settings.max_rows))
    known = await embed_texts(served, (text for texts in prompts.values() for text in texts))
    stacked = np.stack([known[text] for texts in prompts.values() for text in texts])
    labels = mean_by_label(stacked, [len(texts) for texts in prompts.values()])
    results = await served.embed_rows(rows, served.model.preprocessing)
    return {
        "model": served.name,
        "results": [
            failed(one)
            if isinstance(one, InputError)
            else {
                "probabilities": dict(
                    zip(prompts, probabilities(_image(one), labels, served.model.logit_scale).tolist(), strict=True)
                )
            }
            for one in results
        ],
    }


async def _tag(server: ServerState, content: object) -> dict[str, Any]:
    asked = Fields(content, ("model", "images", "frame", "vocabulary", "tagger", "threshold"))
    if ("vocabulary" in asked) == ("tagger" in asked):
        raise invalid("either 'vocabulary' or 'tagger'", "both or neither")
    rows = asked.image_rows(allow_urls=bool(server.settings.url_hosts))
    check_rows(len(rows), server.settings.max_rows)
    tags: str | Tagger
    if "tagger" in asked:
        chosen = server.stores.tagger(asked.needed_text("tagger"))
        served, tags, settings = chosen.served, chosen.tagger, chosen.preprocessing
        if asked.text("model") not in (None, served.name):
            raise invalid(f"the tagger's model, {served.name}", "another")
        worded = [one.prompts for one in chosen.tagger.tags if one.prompts is not None]
        texts = [text for one in worded for text in one.positive + one.negative]
    else:
        served = server.models.get(asked.text("model"))
        tags, settings = asked.needed_text("vocabulary"), served.model.preprocessing
        texts = [text for terms in vocabulary(tags, model=served.name).values() for text in terms]
    known = await embed_texts(served, texts)
    results = await served.embed_rows(rows, settings)
    good = [_image(one) for one in results if not isinstance(one, InputError)]
    found = iter(
        tag_vectors(
            np.stack(good) if good else np.empty((0, served.model.embedding_dim), np.float32),
            tags,
            embed_texts=lambda wanted: np.stack([known[text] for text in wanted]),
            logit_scale=served.model.logit_scale,
            model=served.name,
            threshold=asked.number("threshold"),
        )
    )
    return {
        "model": served.name,
        "results": [
            failed(one)
            if isinstance(one, InputError)
            else {"tags": {name: one.to_dict() for name, one in next(found).items()}}
            for one in results
        ],
    }


async def _compare(server: ServerState, content: object) -> dict[str, Any]:
    asked = Fields(content, ("model", "a", "b"))
    served = server.models.get(asked.text("model"))
    sides = {name: asked.items(name) for name in ("a", "b") if name in asked or name == "a"}
    check_rows(sum(map(len, sides.values())), server.settings.max_rows)
    rows = [
        _either(f"{name}[{place}]", one, allow_urls=bool(server.settings.url_hosts))
        for name, items in sides.items()
        for place, one in enumerate(items)
    ]
    names = [f"{name}[{place}]" for name, items in sides.items() for place in range(len(items))]
    vectors = np.stack(await _embed(served, rows, names))
    first = vectors[: len(sides["a"])]
    second = vectors[len(sides["a"]) :] if "b" in sides else first
    return {"model": served.name, "similarity": cosine_similarity(first, second).tolist()}


async def _view(server: ServerState, content: object) -> dict[str, Any]:
    asked = Fields(content, ("model", "image", "frame"))
    served = server.models.get(asked.text("model"))
    if "image" not in asked:
        raise invalid("the member 'image'", "none")
    row = image_row(asked.get("image"), asked.whole("frame", 0, 0, LARGEST_FRAME), allow_urls=False)
    if row.error is not None:
        raise row.error
    data = row.image or b""
    png, (width, height), frames = await server.in_thread(
        lambda: as_seen(data, row.frame, served.model, server.models.image_limits)
    )
    return {
        "picture": f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "width": width,
        "height": height,
        "frames": frames,
        "model_size": list(served.model.preprocessing.image_size),
    }


async def _embed(
    served: ServedModel, rows: Sequence[Row], names: Sequence[str] | None = None
) -> list[NDArray[np.float32]]:
    """The vector of each row, all of which have to be good."""
    vectors = []
    for place, one in enumerate(await served.embed_rows(rows, served.model.preprocessing)):
        if isinstance(one, InputError):
            raise one if names is None else type(one)(f"{names[place]}: {one.message}", code=one.code)
        vectors.append(one.image if one.image is not None else one.text)
    return [one for one in vectors if one is not None]


def _image(features: Any) -> NDArray[np.float32]:  # noqa: ANN401 - Features of a row with an image
    vector: NDArray[np.float32] = features.image
    return vector


def failed(error: InputError) -> dict[str, Any]:
    """The place of an image that cannot be used."""
    return {"error": {"code": error.code, "message": error.message}}


def _either(place: str, item: object, *, allow_urls: bool) -> Row:
    try:
        asked = Fields(item, ("image", "text", "frame"))
        if ("image" in asked) == ("text" in asked):
            raise invalid("either 'image' or 'text'", "both or neither")
        if "image" in asked:
            return image_row(asked.get("image"), asked.whole("frame", 0, 0, LARGEST_FRAME), allow_urls=allow_urls)
        return make_row(None, asked.get("text"))
    except InputError as error:
        raise type(error)(f"{place}: {error.message}", code=error.code) from None
