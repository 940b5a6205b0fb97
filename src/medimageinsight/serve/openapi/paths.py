"""What the description says of each route."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from medimageinsight.serve.openapi.schemas import ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.serve.answer import Json

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


def paths() -> Json:
    """Every route."""
    return _scoring_paths() | _openai_paths() | _inference_paths() | _service_paths()


def error_responses(max_rows: int, max_body_bytes: int) -> Json:
    """The answers that routes refer to by form and status."""
    descriptions = {
        400: "Not of the documented form: `request_not_json`, `request_invalid`, `params_invalid`, `row_invalid`.",
        404: "No model of that name: `model_not_found`.",
        408: "The body stopped arriving: `request_timeout`.",
        413: f"A body of more than {max_body_bytes:,} bytes (`request_too_large`) or more than {max_rows:,} rows "
        "(`request_too_many_rows`).",
        415: "Another content type than application/json, or a compressed body: `content_type_unsupported`.",
        422: "An image or a text that cannot be used: a code that begins with `image_`, `text_` or `row_`.",
        429: "More to do than the server takes: `queue_full`, `queue_bytes_full`, `queue_deadline`.",
        503: "A model is loading (`model_loading`) or the server is stopping (`server_draining`).",
    }
    return {
        f"{form}{status}": answer_of(descriptions[status], json_of(form), RETRY_AFTER if status in RETRIED else None)
        for form in ERROR_FORMS
        for status in POST_ERRORS
    }


def _scoring_paths() -> Json:
    bad_rows = "A bad row is answered in its place, unless it is the only one or `params.on_error` is `fail`."
    post = partial(
        _post,
        tag="Scoring",
        request="ScoreRequest",
        answer="ScoreAnswer",
        error="Error",
        parameters=[_parameter("model", "query", "Another model than the first.")],
    )
    return {
        "/score": post(
            "score",
            summary="Embed rows of images and texts",
            description=f"Takes and answers what the hosted endpoint does. {bad_rows}",
            examples={
                "One text": {"input_data": {"columns": ["text"], "data": [[TEXT]]}},
                "An image and its text": {
                    "input_data": {"columns": ["image", "text"], "index": [0], "data": [[PNG, TEXT]]},
                    "params": {"get_scaling_factor": True},
                },
                "An image and two texts, one object a row": {
                    "input_data": {"columns": ["image", "text"], "data": [[PNG, TEXT], [None, OTHER_TEXT]]},
                    "params": {"response_shape": "rows"},
                },
            },
        ),
        "/invocations": post(
            "invocations",
            summary="The same, under MLflow's name",
            description=f"MLflow's clients send one of four bodies here; either route takes them all. {bad_rows}",
            examples={
                "Split": {"dataframe_split": {"columns": ["text"], "data": [[TEXT]]}},
                "Records": {"dataframe_records": [{"image": PNG, "text": TEXT}]},
                "Columns": {"inputs": {"image": [PNG], "text": [TEXT, OTHER_TEXT]}},
                "Instances": {"instances": [{"text": TEXT}, {"image": PNG_URI}]},
            },
        ),
    }


def _openai_paths() -> Json:
    get = partial(_get, tag="OpenAI", error="OpenAIError")
    return {
        "/v1/embeddings": _post(
            "createEmbeddings",
            tag="OpenAI",
            summary="Embed texts and images",
            description="A string that begins with `data:` is an image, any other a text. One bad input fails the "
            "request. `dimensions` (`dimensions_unsupported`) and lists of token ids are refused.",
            request="EmbeddingsRequest",
            answer="EmbeddingsAnswer",
            error="OpenAIError",
            examples={
                "One text": {"input": TEXT},
                "An image and a text": {"input": [{"image": PNG}, {"text": TEXT}]},
                "A data URI, answered in base64": {"input": [PNG_URI, TEXT], "encoding_format": "base64"},
            },
        ),
        "/v1/models": get("listModels", summary="The models", answer="ModelList", statuses=(503,)),
        "/v1/models/{model}": get(
            "getModel",
            summary="One model",
            answer="Model",
            statuses=(404, 503),
            parameters=[_parameter("model", "path", "Its name.")],
        ),
    }


def _inference_paths() -> Json:
    get = partial(_get, tag="Open Inference Protocol", error="InferError")
    get_of_model = partial(get, statuses=(404, 503), parameters=[_parameter("model", "path", "Its name.")])
    model_ready = get_of_model("modelReady", summary="Embeddings can be made with it", answer="ModelReady")
    model_ready["get"]["responses"]["503"] = _not_ready("NotReady", "InferError")
    return {
        "/v2": get("serverMetadata", summary="The server's name and version", answer="ServerMetadata"),
        "/v2/health/live": get("serverLive", summary="The process answers", answer="Live", needs_key=False),
        "/v2/health/ready": _ready("serverReady", tag="Open Inference Protocol"),
        "/v2/models/{model}": get_of_model("modelMetadata", summary="A model's tensors", answer="ModelMetadata"),
        "/v2/models/{model}/ready": model_ready,
        "/v2/models/{model}/infer": _post(
            "infer",
            tag="Open Inference Protocol",
            summary="Embed tensors of images and texts",
            description="Images are base64 or data: URIs. One bad element fails the request.",
            request="InferRequest",
            answer="InferAnswer",
            error="InferError",
            parameters=[_parameter("model", "path", "Its name.")],
            examples={
                "One text": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}]},
                "An image and two texts": {
                    "id": "7",
                    "parameters": {"preprocessing": "direct"},
                    "inputs": [
                        {"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": [[PNG]]},
                        {"name": "text", "datatype": "BYTES", "shape": [2], "data": [TEXT, OTHER_TEXT]},
                    ],
                    "outputs": [{"name": "image_embeddings"}, {"name": "text_embeddings"}],
                },
            },
        ),
    }


def _service_paths() -> Json:
    get = partial(_get, tag="Service")
    return {
        "/": get("root", summary="A page for a browser, `Healthy` for a program", media=("text/plain", "text/html")),
        "/docs": get("docs", summary="This description as a page", media=("text/html",)),
        "/swagger.json": get("description", summary="This description", answer="Description"),
        "/health/live": get("live", summary="The process answers", answer="Live", needs_key=False),
        "/health/ready": _ready("ready", tag="Service"),
        "/ping": get("ping", summary="A sign of life, as MLflow asks for it", media=("text/plain",), needs_key=False),
        "/version": get("version", summary="Versions and models", answer="Version", needs_key=False),
        "/metrics": get("metrics", summary="Numbers for Prometheus", media=("text/plain",)),
    }


def _errors(form: str, statuses: Sequence[int]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{form}{status}"} for status in statuses}


def _get(
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
    content = json_of(answer) if answer else {one: {"schema": {"type": "string"}} for one in media}
    operation: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": answer_of("OK", content), **_errors(error, statuses)},
    }
    return {"get": operation if needs_key else operation | {"security": []}}


def _post(
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
    path = _get(name, tag=tag, summary=summary, answer=answer, error=error, statuses=POST_ERRORS, parameters=parameters)
    body = json_of(request)
    body["application/json"]["examples"] = {title: {"summary": title, "value": one} for title, one in examples.items()}
    return {"post": path["get"] | {"description": description, "requestBody": {"required": True, "content": body}}}


def _ready(name: str, *, tag: str) -> Json:
    path = _get(name, tag=tag, summary="Embeddings can be made", answer="Ready", needs_key=False)
    path["get"]["responses"]["503"] = _not_ready("NotReady")
    return path


def _not_ready(*schemas: str) -> Json:
    return answer_of("Not ready: `status` says why.", json_of(*schemas), RETRY_AFTER)


def _parameter(name: str, place: str, description: str) -> Json:
    schema = ref("ModelName")
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


def answer_of(description: str, content: Json, headers: Json | None = None) -> Json:
    """One answer of a route."""
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def json_of(*schemas: str) -> Json:
    """The content of a body that is of one of these schemas."""
    refs = [ref(name) for name in schemas]
    return {"application/json": {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}}
