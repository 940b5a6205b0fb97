"""Classification, tags and comparison of images and texts, and an image as the model sees it."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np

from medimageinsight import schemas
from medimageinsight.bundle import UNKNOWN_WORDS
from medimageinsight.errors import InputError, RequestError
from medimageinsight.serve.image_choice import ImageChoice
from medimageinsight.serve.images import to_data_uri
from medimageinsight.serve.images import view as view_image
from medimageinsight.serve.prompts import make_prompts
from medimageinsight.serve.response_warnings import record_warnings
from medimageinsight.serve.routes.route import body_errors, examples, new_router
from medimageinsight.serve.routes.rows import (
    Vector,
    choose,
    describe_part,
    embed_all,
    embed_texts,
    image_row,
    image_rows,
)
from medimageinsight.serve.routes.samples import PNG, TEXT
from medimageinsight.serve.routes.state import Server
from medimageinsight.serve.scoring_request import Row, check_rows, make_row
from medimageinsight.serve.scoring_response import Features
from medimageinsight.tagging import ImageTags, Tagger, tag_texts, tag_vectors
from medimageinsight.tasks import classify_vectors, cosine_similarity, mean_by_label

router = new_router("Search and tasks", "/api")


@router.post("/classify", responses=body_errors())
async def classify(
    server: Server,
    body: Annotated[
        schemas.ClassifyRequest,
        examples(
            {
                "Two labels": {"images": [PNG], "labels": ["normal", "pneumonia"], "template": "x-ray chest {}"},
                "Several prompts a label": {
                    "images": [PNG],
                    "labels": {"x-ray": ["x-ray chest", "x-ray hand"], "skin": "dermoscopy skin"},
                },
            }
        ),
    ],
) -> schemas.ClassifyResponse:
    """Classify images by labels that are texts.

    The labels exclude each other. An image that cannot be used has an error as its result.
    """
    served = server.models.get(body.model)
    rows = await image_rows(server, body.images, _choose(body))
    prompts = await server.in_thread(lambda: make_prompts(body, server.settings.max_rows))
    embedded = await embed_texts(served, (text for texts in prompts.values() for text in texts))
    stacked = np.stack([embedded[text] for texts in prompts.values() for text in texts])
    labels = mean_by_label(stacked, [len(texts) for texts in prompts.values()])
    results: list[schemas.ClassifyResult | schemas.ErrorResponse] = []
    statistics = served.model.statistics
    scale, names = served.model.logit_scale, list(prompts)
    for image in await served.embed_rows(rows, served.model.preprocessing):
        if isinstance(image, InputError):
            results.append(schemas.ErrorResponse.of(image))
            continue
        (found,) = classify_vectors(image.vector[np.newaxis], labels, names, scale, statistics=statistics)
        results.append(
            schemas.ClassifyResult(
                probabilities=found.probabilities,
                cosine=found.cosine,
                unlike_validation=found.unlike_validation,
                images=_classify_parts(image, labels, names, scale),
            )
        )
    unknown = served.model.unknown_words(embedded)
    return schemas.ClassifyResponse(model=served.name, results=results, warnings=_warn(unknown))


@router.post("/tag", responses=body_errors())
async def tag(
    server: Server,
    body: Annotated[
        schemas.TagRequest, examples({"A vocabulary": {"images": [PNG], "vocabulary": "modality", "threshold": 0.5}})
    ],
) -> schemas.TagResponse:
    """Tag images, each tag by its own threshold.

    By a vocabulary, whose terms exclude each other, or by a tagger of the server. An image that cannot be
    used has an error as its result.
    """
    rows = await image_rows(server, body.images, _choose(body))
    tags: str | Tagger
    if body.tagger is not None:
        chosen = server.stores.tagger(body.tagger)
        served, tags, preprocessing = chosen.served, chosen.tagger, chosen.preprocessing
        if body.model not in (None, served.name):
            raise RequestError(f"expected no 'model' or the tagger's, {served.name}, got the name of another")
        if body.window not in (None, preprocessing.window):
            raise RequestError("expected no 'window' or the tagger's, got another: leave it out", code="window_invalid")
    else:
        served = server.models.get(body.model)
        tags, preprocessing = str(body.vocabulary), served.model.preprocessing
    embedded = await embed_texts(served, tag_texts(tags, model=served.name))
    images = await served.embed_rows(rows, preprocessing)
    usable = [image for image in images if not isinstance(image, InputError)]
    vectors = [image.vector for image in usable] + [vector for image in usable for vector in _part_vectors(image)]
    tagged = tag_vectors(
        np.stack(vectors) if vectors else np.empty((0, served.model.embedding_dim), np.float32),
        tags,
        embed_texts=lambda wanted: np.stack([embedded[text] for text in wanted]),
        logit_scale=served.model.logit_scale,
        model=served.name,
        threshold=body.threshold,
        statistics=served.model.statistics_for(preprocessing),
    )
    of_images, of_parts = iter(tagged[: len(usable)]), iter(tagged[len(usable) :])
    return schemas.TagResponse(
        model=served.name,
        results=[
            schemas.ErrorResponse.of(image)
            if isinstance(image, InputError)
            else _tag_result(next(of_images), _tag_parts(image, of_parts))
            for image in images
        ],
        warnings=_warn(served.model.unknown_words(embedded if isinstance(tags, Tagger) else ())),
    )


@router.post("/compare", responses=body_errors())
async def compare(
    server: Server,
    body: Annotated[
        schemas.CompareRequest, examples({"An image and a text": {"a": [{"image": PNG}], "b": [{"text": TEXT}]}})
    ],
) -> schemas.CompareResponse:
    """Compute cosine similarities of images and texts.

    Of each `a` with each `b`, or of each `a` with each `a`. One bad item fails the request.
    """
    served = server.models.get(body.model)
    items = {f"a[{index}]": item for index, item in enumerate(body.a)}
    items |= {f"b[{index}]": item for index, item in enumerate(body.b or ())}
    check_rows(len(items), server.settings.max_rows)
    rows = [await _item_row(server, item) for item in items.values()]
    vectors = np.stack(await embed_all(served, rows, served.model.preprocessing, list(items)))
    a = vectors[: len(body.a)]
    b = a if body.b is None else vectors[len(body.a) :]
    return schemas.CompareResponse(model=served.name, similarity=cosine_similarity(a, b).tolist())


@router.post("/view", responses=body_errors())
async def view(
    server: Server, body: Annotated[schemas.ViewRequest, examples({"An image": {"image": PNG}})]
) -> schemas.ViewResponse:
    """Show an image as the model sees it.

    In the model's own size, before its pixels are normalised.
    """
    served = server.models.get(body.model)
    row = await image_row(server, body.image, choose(frame=body.frame, window=body.window), allow_urls=False)
    if row.error is not None:
        raise row.error
    data = row.image or b""
    shown = await served.decode(
        lambda: view_image(data, served.model, server.models.image_limits, frame=body.frame, window=body.window)
    )
    return schemas.ViewResponse(
        image=to_data_uri(shown.png),
        width=shown.width,
        height=shown.height,
        frames=shown.frames,
        windows=list(shown.windows) or None,
        model_size=list(served.model.preprocessing.image_size),
        warnings=[schemas.ImageWarning(**warning.to_dict()) for warning in shown.warnings] or None,
    )


def _choose(body: schemas.ClassifyRequest | schemas.TagRequest) -> ImageChoice:
    return choose(frame=body.frame, window=body.window, select=body.select, pooling=body.pooling)


def _part_vectors(image: Features) -> list[Vector]:
    """Return the vectors of the images whose vectors were pooled."""
    return [part.result for part in image.parts if not isinstance(part.result, InputError)]


def _classify_parts(
    image: Features, labels: Vector, names: list[str], logit_scale: float
) -> list[schemas.ClassifiedPart] | None:
    """Return the probabilities of each image whose vectors were pooled; None without such images."""
    if not image.parts:
        return None
    found = iter(classify_vectors(np.stack(_part_vectors(image)), labels, names, logit_scale))
    return [
        schemas.ClassifiedPart(
            **describe_part(part),
            probabilities=None if isinstance(part.result, InputError) else next(found).probabilities,
        )
        for part in image.parts
    ]


def _tag_parts(image: Features, tagged: Iterator[ImageTags]) -> list[schemas.TaggedPart] | None:
    """Return the scores of each image whose vectors were pooled, the next of `tagged`; None without such images."""
    parts = []
    for part in image.parts:
        found = None if isinstance(part.result, InputError) else next(tagged)
        scores = None if found is None else {name: tag.score for name, tag in found.items()}
        parts.append(schemas.TaggedPart(**describe_part(part), scores=scores))
    return parts or None


def _tag_result(found: ImageTags, parts: list[schemas.TaggedPart] | None) -> schemas.TagResult:
    return schemas.TagResult(
        images=parts,
        tags={name: schemas.TagScore(**tag.to_dict()) for name, tag in found.items()},
        cosine=found.cosine,
        unlike_validation=found.unlike_validation,
    )


def _warn(unknown: tuple[str, ...]) -> list[schemas.TextWarning] | None:
    """Return the warning about words that the model never learned, and record its code for the header."""
    if unknown:
        record_warnings([UNKNOWN_WORDS])
    return schemas.TextWarning.of(unknown)


async def _item_row(server: Server, item: schemas.CompareItem) -> Row:
    if item.image is None:
        return make_row(None, item.text)
    return await image_row(
        server, item.image, choose(frame=item.frame, window=item.window), allow_urls=server.allow_urls
    )
