"""The server's stores: which exist, search, and labels by neighbours."""

from functools import partial
from typing import Annotated, Any

from medimageinsight import schemas
from medimageinsight.errors import InputError, RequestError
from medimageinsight.images import PRESETS
from medimageinsight.search import Store, StoreClassification, classify_vector, find_own_patient
from medimageinsight.serve.routes.route import body_errors, errors, examples, new_router
from medimageinsight.serve.routes.rows import Vector, choose, embed_all, embed_images, image_row, image_rows
from medimageinsight.serve.routes.samples import PNG, TEXT
from medimageinsight.serve.routes.state import OpenServer, Server
from medimageinsight.serve.scoring_request import make_row
from medimageinsight.serve.stores import ServedStore
from medimageinsight.tagging.vocabularies import VOCABULARIES, vocabulary
from medimageinsight.tasks.neighbours import NeighbourSettings
from medimageinsight.version import DISCLAIMER, __version__

router = new_router("Search and tasks", "/api")


@router.get("/about", responses=errors(429, 503))
async def about(server: OpenServer) -> schemas.About:
    """List the models, stores, taggers and vocabularies."""
    model = server.models.get().name
    server.stores.check_open()
    infos = [await server.stores.run(served.store.info) for served in server.stores.all()]
    return schemas.About(
        version=__version__,
        disclaimer=DISCLAIMER,
        models=[
            schemas.ModelAbout(name=served.name, embedding_dim=served.model.embedding_dim)
            for served in server.models.all()
        ],
        windows=list(PRESETS),
        vocabularies=schemas.VocabulariesAbout(**{name: list(vocabulary(name, model=model)) for name in VOCABULARIES}),
        stores=[
            schemas.StoreAbout(
                name=served.name,
                model=served.served.name,
                count=info.count,
                columns=info.columns,
                shows_images=bool(server.stores.folders),
            )
            for served, info in zip(server.stores.all(), infos, strict=True)
        ],
        taggers=[
            schemas.TaggerAbout(name=served.name, tags=list(served.tagger.names)) for served in server.stores.taggers()
        ],
    )


@router.post("/search", responses=body_errors())
async def search(
    server: Server,
    body: Annotated[schemas.SearchRequest, examples({"A text": {"store": "chest", "text": TEXT, "k": 5}})],
) -> schemas.SearchResponse:
    """Find the stored images nearest to an image, a text, a stored image or a vector.

    The server names its stores in `/api/about`. A filter's errors are `filter_invalid`.
    """
    served = store_of(server, body.store, body.model)
    options: dict[str, Any] = {"k": body.k, "where": body.where, "min_score": body.min_score, "exact": body.exact}
    if body.id is not None:
        find = partial(served.store.more_like, body.id, exclude_same=body.exclude_same, **options)
    else:
        query = await _query_vector(server, served, body) if body.vector is None else body.vector
        find = partial(served.store.search, query, **options)
    return await server.stores.run(lambda: schemas.SearchResponse(hits=[schemas.Hit.of(hit) for hit in find()]))


@router.post("/neighbours", responses=body_errors())
async def neighbours(
    server: Server,
    body: Annotated[
        schemas.NeighboursRequest,
        examples({"Three neighbours": {"store": "chest", "images": [PNG], "label": "finding", "k": 3}}),
    ],
) -> schemas.NeighboursResponse:
    """Label images by the most similar stored images, which come with the answer.

    Stored images without a value in the column `label` do not vote, nor do those of a DICOM image's own patient,
    where the store has a column of patients. An image that cannot be used has an error as its result.
    """
    served = store_of(server, body.store, body.model)
    settings = served.store.identity.settings(window=body.window)
    statistics = served.served.model.statistics_for(settings)
    voting = NeighbourSettings(k=body.k, temperature=body.temperature)
    rows = await image_rows(server, body.images, choose(frame=body.frame))
    results: list[schemas.NeighboursResult | schemas.ErrorResponse] = []
    for row, image in zip(rows, await embed_images(served.served, rows, settings), strict=True):
        if isinstance(image, InputError):
            results.append(schemas.ErrorResponse.of(image))
            continue
        options = {"label": body.label, "settings": voting, "where": body.where, "statistics": statistics}
        vote = partial(_vote, served.store, row.image, image, options)
        results.append(_neighbours_result(await server.stores.run(vote)))
    return schemas.NeighboursResponse(model=served.served.name, results=results)


def store_of(server: Server, name: str, model: str | None) -> ServedStore:
    """Return the store of a request.

    Raises:
        Rejection: 404, the server has no store of this name.
        RequestError: The request names another model than the store's.
    """
    served = server.stores.get(name)
    if model not in (None, served.served.name):
        raise RequestError(f"expected no 'model' or the store's, {served.served.name}, got the name of another")
    return served


async def _query_vector(server: Server, served: ServedStore, body: schemas.SearchRequest) -> Vector:
    settings = served.store.identity.settings(window=body.window)
    if body.image is None:
        row = make_row(None, body.text)
    else:
        choice = choose(frame=body.frame, select=body.select, pooling=body.pooling)
        row = await image_row(server, body.image, choice, allow_urls=server.allow_urls)
    (vector,) = await embed_all(served.served, [row], settings)
    return vector


def _vote(store: Store, image: bytes | None, vector: Vector, options: dict[str, Any]) -> StoreClassification:
    """Classify an image without the votes of its own patient; the patient of a URL's image is not read."""
    without = {} if image is None else find_own_patient(store, image)
    return classify_vector(store, vector, without=without, **options)


def _neighbours_result(found: StoreClassification) -> schemas.NeighboursResult:
    return schemas.NeighboursResult(
        probabilities=found.probabilities,
        cosine=found.cosine,
        unlike_validation=found.unlike_validation,
        neighbours=[schemas.Neighbour.of_neighbour(neighbour) for neighbour in found.neighbours],
        excluded=found.excluded,
        patients_unknown=found.patients_unknown,
    )
