"""What the descriptions of routes are built of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.serve.openapi.schemas import ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.serve.scoring_response import Json

TEXT = "x-ray chest anteroposterior Cardiomegaly"
OTHER_TEXT = "x-ray chest anteroposterior No Finding"

# 8 x 8 grey gradient, 75 bytes: pixels = np.tile((np.arange(8) * 36).astype(np.uint8), (8, 1)), then
# Image.fromarray(pixels).save(file, "PNG", optimize=True) with Pillow.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEklEQVR42mNkUIEAJgYoII8BAER8AQwcQTkPAAAAAElFTkSuQmCC"
PNG_URI = f"data:image/png;base64,{PNG}"

# One schema for each form that an error can have; each is answered with any of the statuses below.
ERROR_FORMS = ("Error", "OpenAIError", "InferError")
POST_ERRORS = (400, 404, 408, 413, 415, 422, 429, 503)
RETRIED = (429, 503)  # these heal by themselves, the others never do
RETRY_AFTER: Json = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}}  # seconds


def errors_of(form: str, statuses: Sequence[int]) -> Json:
    """The answers of errors, by status."""
    return {str(status): {"$ref": f"#/components/responses/{form}{status}"} for status in statuses}


def get_of(
    name: str,
    *,
    tag: str,
    summary: str,
    answer: str | None = None,  # a schema, of JSON
    media: Sequence[str] = (),  # types of what is not JSON
    error: str = "Error",  # a schema
    statuses: Sequence[int] = (),  # of errors, beside 401
    parameters: Sequence[Json] = (),
    needs_key: bool = True,
) -> Json:
    """A route that is read."""
    content = json_of(answer) if answer else {one: {"schema": {"type": "string"}} for one in media}
    operation: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": answer_of("OK", content), **errors_of(error, statuses)},
    }
    return {"get": operation if needs_key else operation | {"security": []}}


def post_of(
    name: str,
    *,
    tag: str,
    summary: str,
    description: str,
    request: str,
    answer: str,
    error: str,
    examples: Mapping[str, Json],
    parameters: Sequence[Json] = (),
) -> Json:
    """A route that takes a body, and may refuse it."""
    path = get_of(
        name, tag=tag, summary=summary, answer=answer, error=error, statuses=POST_ERRORS, parameters=parameters
    )
    body = json_of(request)
    body["application/json"]["examples"] = {title: {"summary": title, "value": one} for title, one in examples.items()}
    return {"post": path["get"] | {"description": description, "requestBody": {"required": True, "content": body}}}


def ready_of(name: str, *, tag: str) -> Json:
    """A route that tells whether the server is ready."""
    path = get_of(name, tag=tag, summary="Embeddings can be made", answer="Ready", needs_key=False)
    path["get"]["responses"]["503"] = not_ready_of("NotReady")
    return path


def not_ready_of(*schemas: str) -> Json:
    """The answer while it is not."""
    return answer_of("Not ready: `status` says why.", json_of(*schemas), RETRY_AFTER)


def parameter(name: str, place: str, description: str, *, schema: Json | None = None, required: bool = False) -> Json:
    """A parameter of the path or the query: a model's name where no schema says otherwise."""
    return {
        "name": name,
        "in": place,
        "required": required or place == "path",
        "description": description,
        "schema": ref("ModelName") if schema is None else schema,
    }


def answer_of(description: str, content: Json, headers: Json | None = None) -> Json:
    """One answer of a route."""
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def json_of(*schemas: str) -> Json:
    """The content of a body that is of one of these schemas."""
    refs = [ref(name) for name in schemas]
    return {"application/json": {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}}
