"""What the description says of each route."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from medimageinsight.serve.openapi.operations import (
    ERROR_FORMS,
    OTHER_TEXT,
    PNG,
    PNG_URI,
    POST_ERRORS,
    RETRIED,
    RETRY_AFTER,
    TEXT,
    answer_of,
    get_of,
    json_of,
    not_ready_of,
    parameter,
    post_of,
    ready_of,
)

if TYPE_CHECKING:
    from medimageinsight.serve.scoring_response import Json


def paths() -> Json:
    """Every route."""
    return _scoring_paths() | _openai_paths() | _inference_paths() | _service_paths()


def error_responses(max_rows: int, max_body_bytes: int) -> Json:
    """The answers that routes refer to by form and status."""
    descriptions = {
        400: "Not of the documented form: `request_not_json`, `request_invalid`, `params_invalid`, `row_invalid`.",
        404: "No model, store, tagger or stored picture of that name: `model_not_found`, `store_not_found`, "
        "`tagger_not_found`, `ids_unknown`, `picture_not_available`.",
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
        post_of,
        tag="Scoring",
        request="ScoreRequest",
        answer="ScoreAnswer",
        error="Error",
        parameters=[parameter("model", "query", "Another model than the first.")],
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
    get = partial(get_of, tag="OpenAI", error="OpenAIError")
    return {
        "/v1/embeddings": post_of(
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
            parameters=[parameter("model", "path", "Its name.")],
        ),
    }


def _inference_paths() -> Json:
    get = partial(get_of, tag="Open Inference Protocol", error="InferError")
    get_of_model = partial(get, statuses=(404, 503), parameters=[parameter("model", "path", "Its name.")])
    model_ready = get_of_model("modelReady", summary="Embeddings can be made with it", answer="ModelReady")
    model_ready["get"]["responses"]["503"] = not_ready_of("NotReady", "InferError")
    return {
        "/v2": get("serverMetadata", summary="The server's name and version", answer="ServerMetadata"),
        "/v2/health/live": get("serverLive", summary="The process answers", answer="Live", needs_key=False),
        "/v2/health/ready": ready_of("serverReady", tag="Open Inference Protocol"),
        "/v2/models/{model}": get_of_model("modelMetadata", summary="A model's tensors", answer="ModelMetadata"),
        "/v2/models/{model}/ready": model_ready,
        "/v2/models/{model}/infer": post_of(
            "infer",
            tag="Open Inference Protocol",
            summary="Embed tensors of images and texts",
            description="Images are base64 or data: URIs. One bad element fails the request.",
            request="InferRequest",
            answer="InferAnswer",
            error="InferError",
            parameters=[parameter("model", "path", "Its name.")],
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
    get = partial(get_of, tag="Service")
    return {
        "/": get("root", summary="A page for a browser, `Healthy` for a program", media=("text/plain", "text/html")),
        "/page/{name}": get(
            "pagePart",
            summary="A script or the style of the page",
            media=("text/javascript", "text/css"),
            statuses=(404,),
            parameters=[parameter("name", "path", "A file's name.", schema={"type": "string"})],
        ),
        "/docs": get("docs", summary="This description as a page", media=("text/html",)),
        "/swagger.json": get("description", summary="This description", answer="Description"),
        "/health/live": get("live", summary="The process answers", answer="Live", needs_key=False),
        "/health/ready": ready_of("ready", tag="Service"),
        "/ping": get("ping", summary="A sign of life, as MLflow asks for it", media=("text/plain",), needs_key=False),
        "/version": get("version", summary="Versions and models", answer="Version", needs_key=False),
        "/metrics": get("metrics", summary="Numbers for Prometheus", media=("text/plain",)),
    }
