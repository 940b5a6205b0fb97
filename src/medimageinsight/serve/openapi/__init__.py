"""The OpenAPI 3.1 description of the server's routes, as GET /swagger.json answers it.

It is written by hand because the routes read their bodies by hand: no model class stands between a request and its
vectors from which a description could be derived. What the parsers take their choices from is imported from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.serve.openapi.operations import PNG, PNG_URI, answer_of, json_of
from medimageinsight.serve.openapi.paths import error_responses, paths
from medimageinsight.serve.openapi.schemas import schemas
from medimageinsight.serve.openapi.uses import use_paths, use_schemas
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PNG", "PNG_URI", "describe"]

DESCRIPTION = (
    "Medical images of any kind and medical text as vectors of one space, in three protocols: the hosted endpoint's, "
    "OpenAI's embeddings and the Open Inference Protocol. Vectors are L2-normalised float32; their cosine is their dot "
    "product. Every answer has the header `X-Request-Id`.\n\n"
    f"{DISCLAIMER}"
)
TAGS = {
    "Scoring": "The hosted endpoint's contract.",
    "OpenAI": "OpenAI's embeddings API, with images beside texts.",
    "Open Inference Protocol": "Version 2, as KServe and Triton speak it.",
    "Search and tasks": "What the page uses: classification, tags, comparison, search in the server's stores.",
    "Service": "Health, versions, numbers and pages.",
}


def describe(
    *,
    version: str,
    model_names: Sequence[str],
    embedding_dims: Mapping[str, int],
    max_rows: int,
    max_body_bytes: int,
    keyed: bool,
    title: str = "medimageinsight",
) -> dict[str, Any]:
    """The whole document, ready to be printed as JSON.

    Args:
        version: Of the server.
        model_names: Of the loaded models, the default first; may be empty while they load.
        embedding_dims: Length of each model's vectors, by its name.
        max_rows: Most rows, inputs or tensor elements of one request.
        max_body_bytes: Largest body, in bytes.
        keyed: Whether requests need an API key.
        title: Of the document.
    """
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": DESCRIPTION},
        "servers": [{"url": "./", "description": "Where this description came from."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths() | use_paths(),
        "components": {
            "schemas": {
                **schemas(model_names=model_names, embedding_dims=embedding_dims, max_rows=max_rows),
                **use_schemas(max_rows),
            },
            "responses": error_responses(max_rows, max_body_bytes),
        },
    }
    if keyed:
        _ask_for_keys(document)
    return document


def _ask_for_keys(document: dict[str, Any]) -> None:
    """Every operation needs a key and may answer 401, but those that say otherwise with their own ``security``."""
    document["security"] = [{"bearer": []}]
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "One of the server's API keys."}
    }
    document["components"]["responses"]["Unauthorised"] = answer_of(
        "No API key or a wrong one: `key_invalid`.",
        json_of("OpenAIError"),
        {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    )
    document["paths"]["/"]["get"]["security"] = [{}, {"bearer": []}]  # the page needs one, the plain word does not
    for path in document["paths"].values():
        for operation in path.values():
            if operation.get("security") != []:
                operation["responses"]["401"] = {"$ref": "#/components/responses/Unauthorised"}
