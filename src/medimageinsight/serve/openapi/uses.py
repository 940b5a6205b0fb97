"""What the description says of the routes below /api: their paths and their schemas."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from medimageinsight.search.filters import MAX_LENGTH
from medimageinsight.search.projection import LARGEST_SAMPLE
from medimageinsight.search.store import MAX_K
from medimageinsight.serve.fields import LARGEST_FRAME
from medimageinsight.serve.openapi.operations import PNG, TEXT, get_of, parameter, post_of
from medimageinsight.serve.openapi.schemas import array, closed, object_of, ref
from medimageinsight.tagging.vocabularies import VOCABULARIES

if TYPE_CHECKING:
    from medimageinsight.serve.scoring_response import Json

TAG = "Search and tasks"
_OR_NULL = {"type": "null"}


def use_paths() -> Json:
    """Every route below /api."""
    post, get = partial(post_of, tag=TAG, error="Error"), partial(get_of, tag=TAG, error="Error")
    in_place = "An image that cannot be used is answered in its place."
    store, of_store = {"type": "string", "minLength": 1}, "A name of /api/about."
    return {
        "/api/about": get("about", summary="Models, stores, taggers", answer="About", statuses=(429, 503)),
        "/api/classify": post(
            "classify",
            summary="Probabilities of labels that are no more than texts",
            description=f"The labels exclude each other. {in_place}",
            request="ClassifyRequest",
            answer="ClassifyAnswer",
            examples={
                "Two labels": {"images": [PNG], "labels": ["normal", "pneumonia"], "template": "x-ray chest {}"},
                "Several prompts a label": {
                    "images": [PNG],
                    "labels": {"x-ray": ["x-ray chest", "x-ray hand"], "skin": "dermoscopy skin"},
                },
            },
        ),
        "/api/tag": post(
            "tag",
            summary="Which tags an image has, each by its own threshold",
            description=f"By a vocabulary, whose terms exclude each other, or by a tagger of the server. {in_place}",
            request="TagRequest",
            answer="TagAnswer",
            examples={"A vocabulary": {"images": [PNG], "vocabulary": "modality", "threshold": 0.5}},
        ),
        "/api/compare": post(
            "compare",
            summary="Cosines of images and texts",
            description="Of each `a` with each `b`, or of each `a` with each `a`. One bad item fails the request.",
            request="CompareRequest",
            answer="CompareAnswer",
            examples={"An image and a text": {"a": [{"image": PNG}], "b": [{"text": TEXT}]}},
        ),
        "/api/view": post(
            "view",
            summary="An image as the model sees it",
            description="The picture in the model's own size, before its pixels are normalised.",
            request="ViewRequest",
            answer="ViewAnswer",
            examples={"An image": {"image": PNG}},
        ),
        "/api/search": post(
            "search",
            summary="The stored images nearest to an image, a text, a stored image or a vector",
            description="The server names its stores in `/api/about`. A filter's errors are `filter_invalid`.",
            request="SearchRequest",
            answer="SearchAnswer",
            examples={"A text": {"store": "chest", "text": TEXT, "k": 5}},
        ),
        "/api/neighbours": post(
            "neighbours",
            summary="Labels by the most similar stored images, which come with the answer",
            description=f"Stored images without a value in the column `label` do not vote. {in_place}",
            request="NeighboursRequest",
            answer="NeighboursAnswer",
            examples={"Three neighbours": {"store": "chest", "images": [PNG], "label": "finding", "k": 3}},
        ),
        "/api/map": get(
            "map",
            summary="A store in two dimensions",
            answer="Map",
            statuses=(400, 404, 422, 429, 503),
            parameters=[
                parameter("store", "query", of_store, schema=store, required=True),
                parameter("color", "query", "A column whose values are the points' labels.", schema=store),
                parameter("limit", "query", "The most points.", schema=_whole(1, LARGEST_SAMPLE)),
            ],
        )
        | post(
            "placeOnMap",
            summary="Where images lie on the map of a store",
            description=f"On the axes that GET answers for the same limit. {in_place}",
            request="PlaceRequest",
            answer="PlaceAnswer",
            examples={"An image": {"store": "chest", "images": [PNG]}},
        ),
        "/api/picture": get(
            "picture",
            summary="The picture of a stored image, small",
            media=("image/png",),
            statuses=(400, 404, 429, 503),
            parameters=[
                parameter("store", "query", of_store, schema=store, required=True),
                parameter("id", "query", "Of a stored image.", schema=store, required=True),
                parameter("size", "query", "The longer side, in pixels.", schema=_whole(16, 1024)),
            ],
        ),
    }


def use_schemas(max_rows: int) -> Json:
    """Their bodies and answers."""
    text, number, name = {"type": "string"}, {"type": "number"}, {"type": "string", "minLength": 1}
    some_text = array(name, 1) | {"maxItems": max_rows}
    model = {"model": {"anyOf": [ref("ModelName"), _OR_NULL], "description": "Default: the first, or the store's."}}
    frame = {"frame": _whole(0, LARGEST_FRAME) | {"description": "Of a multi-frame image.", "default": 0}}
    images = {"images": array(ref("Image"), 1, max_rows), **frame}
    filters = {"where": _maybe(name | {"maxLength": MAX_LENGTH, "description": "A filter on the metadata."})}
    k = {"k": _whole(1, MAX_K) | {"default": 10}}
    store = {"store": name | {"description": "A name of /api/about."}}
    value = {"type": ["string", "number", "boolean", "null"]}
    hit = {"id": text, "path": text, "score": number, "metadata": {"type": "object", "additionalProperties": value}}
    named = model | {"model": ref("ModelName")}
    probabilities = {"probabilities": {"type": "object", "additionalProperties": number}}
    tag = closed({"score": number, "threshold": number, "present": {"type": "boolean"}})
    either = {"oneOf": [{"required": ["image"]}, {"required": ["text"]}]}
    items = array(object_of({"image": ref("Image"), "text": name, **frame}, closed=True) | either, 1, max_rows)
    queries = {"image": ref("Image"), "text": name, "id": name, "vector": array(number, 1)}
    one_query = {"oneOf": [{"required": [query]} for query in queries]}
    point = {"x": number, "y": number}
    labels = {"anyOf": [some_text, _mapping({"anyOf": [name, some_text]}) | {"minProperties": 1}]}
    return {
        "About": closed(
            {
                "version": text,
                "disclaimer": text,
                "models": array(closed({"name": text, "embedding_dim": {"type": "integer"}})),
                "vocabularies": closed(dict.fromkeys(VOCABULARIES, array(text))),
                "stores": array(
                    closed(
                        {
                            "name": text,
                            "model": text,
                            "count": {"type": "integer"},
                            "columns": _mapping({"enum": ["string", "integer", "float", "boolean"]}),
                            "pictures": {"type": "boolean"},
                        }
                    )
                ),
                "taggers": array(closed({"name": text, "tags": array(text)})),
            }
        ),
        "ClassifyRequest": object_of(
            {
                **model,
                **images,
                "labels": labels | {"description": "Names, or an object of names and their prompts."},
                "template": {"anyOf": [name, some_text, _OR_NULL], "description": "With {} for the label."},
                "fields": _maybe(_mapping(text) | {"description": "Values of the template's other names."}),
            },
            ["images", "labels"],
            closed=True,
        ),
        "ClassifyAnswer": closed({**named, "results": array(_or_error(closed(probabilities)))}),
        "TagRequest": object_of(
            {
                **model,
                **images,
                "vocabulary": {"enum": list(VOCABULARIES)},
                "tagger": name,
                "threshold": {"type": "number", "minimum": 0, "maximum": 1, "description": "Of a vocabulary."},
            },
            ["images"],
            closed=True,
        )
        | {"oneOf": [{"required": ["vocabulary"]}, {"required": ["tagger"]}]},
        "TagAnswer": closed({**named, "results": array(_or_error(closed({"tags": _mapping(tag)})))}),
        "CompareRequest": object_of({**model, "a": items, "b": items}, ["a"], closed=True),
        "CompareAnswer": closed({**named, "similarity": array(array(number))}),
        "ViewRequest": object_of({**model, "image": ref("Image"), **frame}, ["image"], closed=True),
        "ViewAnswer": closed(
            {
                "picture": text | {"description": "A PNG as a data: URI."},
                "width": {"type": "integer", "description": "Of the image itself."},
                "height": {"type": "integer"},
                "frames": {"type": "integer"},
                "model_size": array({"type": "integer"}, 2, 2) | {"description": "Height and width."},
            }
        ),
        "SearchRequest": object_of(
            {
                **store,
                **queries,
                **frame,
                **k,
                **filters,
                **model,
                "min_score": _maybe({"type": "number", "description": "The smallest cosine."}),
                "exact": {"type": "boolean", "description": "Compare with every vector, without the index."},
                "other_than_same": _maybe(name | {"description": "With `id`: not what has its value in this column."}),
            },
            ["store"],
            closed=True,
        )
        | one_query,
        "SearchAnswer": closed({"hits": array(closed(hit))}),
        "NeighboursRequest": object_of(
            {
                **store,
                **images,
                **k,
                **filters,
                **model,
                "label": name | {"description": "The column of labels."},
                "temperature": {"type": "number", "exclusiveMinimum": 0, "default": 0.07},
            },
            ["store", "images", "label"],
            closed=True,
        ),
        "NeighboursAnswer": closed(
            {
                **named,
                "results": array(
                    _or_error(
                        closed({**probabilities, "neighbours": array(closed({**hit, "weight": number, "label": text}))})
                    )
                ),
            }
        ),
        "Map": closed(
            {
                "points": array(closed({"id": text, **point, "label": {"type": ["string", "null"]}})),
                "count": {"type": "integer", "description": "Of all images, drawn or not."},
                "explained": array(number, 2, 2) | {"description": "Which part of the variance each axis has."},
            }
        ),
        "PlaceRequest": object_of(
            {**store, **images, **model, "limit": _whole(1, LARGEST_SAMPLE)}, ["store", "images"], closed=True
        ),
        "PlaceAnswer": closed({"points": array(_or_error(closed(point)))}),
    }


def _whole(low: int, high: int) -> Json:
    return {"type": "integer", "minimum": low, "maximum": high}


def _maybe(schema: Json) -> Json:
    return {"anyOf": [schema, _OR_NULL]}


def _mapping(values: Json) -> Json:
    return {"type": "object", "additionalProperties": values}


def _or_error(schema: Json) -> Json:
    return {"anyOf": [schema, ref("Error")]}
