"""The OpenAPI 3.1 document of the server: made by FastAPI of the routes, with this server's models and limits."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from medimageinsight.schemas import OpenAIErrorResponse
from medimageinsight.serve.openapi.scoring import score_schemas
from medimageinsight.serve.routes.route import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

DESCRIPTION = (
    "Medical images of any kind and medical text as vectors of one space, in three protocols: the hosted endpoint's, "
    "OpenAI's embeddings and the Open Inference Protocol. Vectors are L2-normalised float32; their cosine is their dot "
    "product. Every answer has the header `X-Request-Id`.\n\nFor research and development, not for diagnosis or "
    "treatment."
)
SERVERS: list[dict[str, Any]] = [{"url": "./", "description": "Where this description came from."}]
TAGS: list[dict[str, Any]] = [
    {"name": "Scoring", "description": "The hosted endpoint's contract."},
    {"name": "OpenAI", "description": "OpenAI's embeddings API, with images as well as texts."},
    {"name": "Azure", "description": "The same for clients of Azure AI's and Azure OpenAI's embeddings."},
    {"name": "Open Inference Protocol", "description": "Version 2, as KServe and Triton speak it."},
    {
        "name": "Search and tasks",
        "description": "What the page uses: classification, tags, comparison, search in the server's stores.",
    },
    {"name": "Service", "description": "Health, versions, numbers and pages."},
]
_UNAUTHORISED: dict[str, Any] = {
    "description": "No API key or login, or a wrong one: `key_invalid`.",
    "headers": {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{OpenAIErrorResponse.__name__}"}}},
}
_KEY_REFUSALS = {
    "403": "A login without the scope or a claim that the server requires: `login_forbidden`.",
    "429": "More requests or images than the key has per minute: `rate_limited`.",
    "503": "No login can be verified: `login_unavailable`.",
}
_REFUSALS = {
    "403": "A request of another site's page: `origin_not_allowed`.",
    "421": "A `Host` that is none of the server's names: `host_not_allowed`.",
}


def describe(
    app: FastAPI, *, embedding_dims: Mapping[str, int], max_rows: int, max_body_bytes: int, keyed: bool
) -> dict[str, Any]:
    """Return the whole document, ready to be printed as JSON.

    Args:
        app: The application with its routes.
        embedding_dims: Length of each loaded model's vectors, by its name, the default model first; may be empty while
            they load.
        max_rows: Most rows, inputs or tensor elements of one request.
        max_body_bytes: Largest body, in bytes.
        keyed: Whether requests need an API key.
    """
    document = copy.deepcopy(app.openapi())
    schemas = document["components"]["schemas"]
    schemas.update(score_schemas())
    for name in ("HTTPValidationError", "ValidationError"):  # of FastAPI, which this server does not answer with
        schemas.pop(name, None)
    if embedding_dims:
        schemas["ModelName"]["enum"] = list(embedding_dims)
        schemas["Vector"] |= {"minItems": min(embedding_dims.values()), "maxItems": max(embedding_dims.values())}
    for node in _objects([schemas, document["paths"]]):
        if isinstance(node.get("title"), str):  # a member's name with capitals
            del node["title"]
        if node.pop("x-max-rows", False):
            node["maxItems"] = max_rows
        if node.pop("x-embedding-dims", False) and embedding_dims:
            node["enum"] = sorted(set(embedding_dims.values()))
    limits = f"This server takes bodies of at most {max_body_bytes:,} bytes and {max_rows:,} rows."
    for operation in _operations(document):
        responses = operation["responses"]
        if "HTTPValidationError" in str(responses.get("422")):
            del responses["422"]
        if "413" in responses:
            responses["413"]["description"] += f" {limits}"
    if keyed:
        _ask_for_keys(document)
    else:
        _check_hosts(document)
    _add_heads(document)
    return document


def _ask_for_keys(document: dict[str, Any]) -> None:
    """Make every operation need a key and answer 401 without one, unless it states ``security`` itself."""
    document["security"] = [{"bearer": []}, {"key": []}]
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or the token of a login."},
        "key": {"type": "apiKey", "in": "header", "name": "api-key", "description": "An API key; also `X-API-Key`."},
    }
    # The page needs a key, the text "Healthy" does not.
    document["paths"]["/"]["get"]["security"] = [{}, *document["security"]]
    for operation in _operations(document):
        if operation.get("security") != []:
            operation["responses"]["401"] = _UNAUTHORISED
            for status, description in _KEY_REFUSALS.items():
                _add_refusal(operation["responses"], status, description)


def _add_refusal(responses: dict[str, Any], status: str, description: str) -> None:
    """Describe a refusal before the route is reached, next to the route's own of the same status."""
    own = responses.get(status)
    if own is None:
        headers = {} if status == "403" else {"headers": copy.deepcopy(RETRY_AFTER)}
        responses[status] = {"description": description, "content": _UNAUTHORISED["content"], **headers}
        return
    own["description"] += f" {description}"
    content = own.get("content", {}).get("application/json")
    if content is not None:
        content["schema"] = {"anyOf": [content["schema"], _UNAUTHORISED["content"]["application/json"]["schema"]]}


def _check_hosts(document: dict[str, Any]) -> None:
    """Make every operation answer 403 and 421 to requests of other sites, unless it is open to everyone."""
    for operation in _operations(document):
        if operation.get("security") != []:
            for status, description in _REFUSALS.items():
                operation["responses"][status] = {"description": description, "content": _UNAUTHORISED["content"]}


def _add_heads(document: dict[str, Any]) -> None:
    """Describe HEAD where there is GET: the same without a body."""
    for path in document["paths"].values():
        if (get := path.get("get")) is not None:
            name: str = get["operationId"]
            path["head"] = copy.deepcopy(get) | {"operationId": f"head{name[0].upper()}{name[1:]}"}
            for response in path["head"]["responses"].values():
                response.pop("content", None)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _objects(node: object) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON value."""
    if isinstance(node, dict):
        yield node
    for child in list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(child)
