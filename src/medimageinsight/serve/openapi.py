"""The OpenAPI 3.1 description of the server's routes, as GET /swagger.json answers it.

It is written by hand because the routes read their bodies by hand: no model class stands between a request and its
vectors from which a description could be derived. What the parsers take their choices from is imported from them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from medimageinsight.preprocess import LARGEST_SIZE, Steps
from medimageinsight.serve.contract import COLUMNS, FORMS
from medimageinsight.serve.params import OnRowError, ResponseShape
from medimageinsight.tokenizer import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.serve.answer import Json

TEXT = "x-ray chest anteroposterior Cardiomegaly"
OTHER_TEXT = "x-ray chest anteroposterior No Finding"

# 8 x 8 grey gradient, 75 bytes: pixels = np.tile((np.arange(8) * 36).astype(np.uint8), (8, 1)), then
# Image.fromarray(pixels).save(file, "PNG", optimize=True) with Pillow.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEklEQVR42mNkUIEAJgYoII8BAER8AQwcQTkPAAAAAElFTkSuQmCC"
PNG_URI = f"data:image/png;base64,{PNG}"

DESCRIPTION = (
    "Medical images of any kind and medical text as vectors of one space, in three protocols: the hosted endpoint's, "
    "OpenAI's embeddings and the Open Inference Protocol. Vectors are L2-normalised float32; their cosine is their dot "
    "product. Every answer has the header `X-Request-Id`.\n\nFor research and development, not for diagnosis or "
    "treatment."
)
TAGS = {
    "Scoring": "The hosted endpoint's contract.",
    "OpenAI": "OpenAI's embeddings API, with images beside texts.",
    "Open Inference Protocol": "Version 2, as KServe and Triton speak it.",
    "Service": "Health, versions, numbers and pages.",
}

# One schema for each form that an error can have; each is answered with any of the statuses below.
ERROR_FORMS = ("Error", "OpenAIError", "InferError")
POST_ERRORS = (400, 404, 408, 413, 415, 422, 429, 503)
RETRIED = (429, 503)  # these heal by themselves, the others never do
RETRY_AFTER: Json = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}}  # seconds


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
        "paths": _scoring_paths() | _openai_paths() | _inference_paths() | _service_paths(),
        "components": {
            "schemas": {
                "ModelName": {"type": "string", **({"enum": list(model_names)} if model_names else {})},
                "Vector": _vector(sorted(set(embedding_dims.values()))),
                **_error_schemas(),
                **_scoring_schemas(max_rows),
                **_openai_schemas(max_rows),
                **_inference_schemas(max_rows),
                **_service_schemas(),
            },
            "responses": _error_responses(max_rows, max_body_bytes),
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
    document["components"]["responses"]["Unauthorised"] = _answer(
        "No API key or a wrong one: `key_invalid`.",
        _json("OpenAIError"),
        {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    )
    document["paths"]["/"]["get"]["security"] = [{}, {"bearer": []}]  # the page needs one, the plain word does not
    for path in document["paths"].values():
        for operation in path.values():
            if operation.get("security") != []:
                operation["responses"]["401"] = {"$ref": "#/components/responses/Unauthorised"}


# Operations


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


# Schemas


def _scoring_schemas(max_rows: int) -> Json:
    row = {"anyOf": [_ref("RowObject"), _array(_ref("Cell"))], "description": "By its columns' names or order."}
    cells = {"anyOf": [_ref("Cell"), _array(_ref("Cell"), most=max_rows)]}
    once = [_at_most_one({"const": name}) for name in COLUMNS]
    names = _array({"type": "string"}) | {"contains": {"enum": list(COLUMNS)}, "allOf": once}
    split = _object(
        {
            "columns": {"anyOf": [names, {"type": "null"}], "description": "`image`, `text` or both; others ignored."},
            "index": {"description": "Ignored."},
            "data": _array(row, most=max_rows),
        },
        ["data"],
    )
    columns = dict.fromkeys(COLUMNS, cells) | {"data": False}
    scaling = {"scaling_factor": {"type": "number", "description": "Logarithm of the scale of cosines."}}
    some_column = {"anyOf": [{"required": [name]} for name in COLUMNS]}
    features = {"image_features": _array(_ref("Vector"), 1, 1), "text_features": _ref("Vector")}
    in_card = _array({"anyOf": [_ref("Vector"), _ref("Error"), {"type": "null"}]})
    card = [*({f"{name}_features": in_card} for name in COLUMNS), scaling]
    return {
        "Image": {
            "type": "string",
            "description": "A PNG, JPEG, TIFF, BMP or DICOM file in base64, with line breaks or without, or a data: "
            "URI; an http(s) URL where the server's operator allowed its host.",
        },
        "Text": {"type": "string", "maxLength": MAX_CHARACTERS},
        "Cell": {"type": ["string", "null"], "description": "An image or a text; missing where null or empty."},
        "RowObject": {
            **_object({name: {"anyOf": [_ref(name.title()), {"type": "null"}]} for name in COLUMNS}),
            "description": "An image, a text or both; other keys are ignored.",
        },
        "Table": {
            "anyOf": [
                split | {"title": "Columns, index and data"},
                _array(row, most=max_rows) | {"title": "Rows"},
                _object(columns) | some_column | {"title": "Columns"},
            ]
        },
        "Params": _params(),
        "ScoreRequest": {
            **_object({form: _ref("Table") for form in FORMS} | {"params": _ref("Params")}),
            "oneOf": [{"required": [form]} for form in FORMS],
        },
        "RowAnswer": {
            **_object(features | scaling, closed=True),
            "anyOf": [{"required": [name]} for name in features],
        },
        "ScoreAnswer": {
            "anyOf": [
                _array({"anyOf": [_ref("RowAnswer"), _ref("Error")]}, most=max_rows)
                | {"title": "rows", "description": "One object a row, in order."},
                _array({"anyOf": [_object(one, list(one), closed=True) for one in card]}, 1, 3)
                | {"title": "card", "description": "All images, all texts, the scaling factor."},
            ]
        },
    }


def _params() -> Json:
    def number(largest: int, text: str) -> Json:
        return {"type": ["integer", "null"], "minimum": 0, "maximum": largest, "description": f"{text}; 0: default."}

    return _object(
        {
            "get_scaling_factor": {"enum": [True, False, "true", "false", "True", "False", None], "default": True},
            "image_standardization_image_size": number(LARGEST_SIZE, "Side that azure resizes to first, in pixels"),
            "image_standardization_jpeg_compression_ratio": number(100, "Quality of azure's JPEG"),
            "preprocessing": _choice(Steps, "As the original code, or as the hosted endpoint; default: the server's."),
            "response_shape": _choice(ResponseShape, "Default: the server's."),
            "on_error": _choice(OnRowError, "Whether a bad row is answered in its place or fails the request."),
        },
        kind=["object", "null"],
    )


def _openai_schemas(max_rows: int) -> Json:
    one = {
        "anyOf": [
            _ref("Text") | {"minLength": 1, "description": "A text, or an image as a data: URI."},
            *(_object({name: _ref(name.title()) | {"minLength": 1}}, [name], closed=True) for name in COLUMNS),
        ]
    }
    embedding = {
        "object": {"const": "embedding"},
        "index": {"type": "integer", "minimum": 0},
        "embedding": {
            "anyOf": [_ref("Vector"), {"type": "string", "contentEncoding": "base64"}],
            "description": "Numbers, or little-endian float32 in base64.",
        },
    }
    counts = {name: {"type": "integer", "minimum": 0} for name in ("prompt_tokens", "total_tokens")}
    answer = {
        "object": {"const": "list"},
        "data": _array(_closed(embedding), most=max_rows),
        "model": _ref("ModelName"),
        "usage": _closed(counts),
    }
    model = {
        "id": _ref("ModelName"),
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    }
    return {
        "EmbeddingsInput": one,
        "EmbeddingsRequest": _object(
            {
                "model": {"anyOf": [_ref("ModelName"), {"type": "null"}], "description": "Default: the first."},
                "input": {"anyOf": [_ref("EmbeddingsInput"), _array(_ref("EmbeddingsInput"), 1, max_rows)]},
                "encoding_format": {"enum": ["float", "base64", None], "default": "float"},
                "user": {"type": "string", "description": "Ignored."},
                "dimensions": {"type": "null", "description": "Refused: the vectors cannot be shortened."},
            },
            ["input"],
        ),
        "EmbeddingsAnswer": _closed(answer),
        "Model": _closed(model),
        "ModelList": _closed({"object": {"const": "list"}, "data": _array(_ref("Model"))}),
    }


def _inference_schemas(max_rows: int) -> Json:
    count = {"type": "integer", "minimum": 0, "maximum": max_rows}
    element = {"type": "string", "minLength": 1}
    once = [_at_most_one({"properties": {"name": {"const": name}}}) for name in COLUMNS]
    outputs = [f"{name}_embeddings" for name in COLUMNS]
    params = {name: schema for name, schema in _params()["properties"].items() if name.startswith(("image_", "prepro"))}
    size = {"type": "integer", "minimum": -1}
    tensor = {"name": {"type": "string"}, "datatype": {"enum": ["BYTES", "FP32"]}, "shape": _array(size, 1, 2)}
    text = {"type": "string"}
    metadata = {"name": _ref("ModelName"), "versions": _array(text), "platform": text}
    return {
        "InputTensor": _object(
            {
                "name": {"enum": list(COLUMNS)},
                "datatype": {"const": "BYTES"},
                "shape": {"anyOf": [_tuple(count), _tuple(count, {"const": 1})], "description": "[N] or [N, 1]."},
                "data": _array({"anyOf": [element, _array(element, 1, 1)]}, most=max_rows),
            },
            ["name", "datatype", "shape", "data"],
        ),
        "OutputTensor": _closed(
            {
                "name": {"enum": outputs},
                "datatype": {"const": "FP32"},
                "shape": _tuple(count, {"type": "integer", "minimum": 1}) | {"description": "[N, D]."},
                "data": _array({"type": "number"}) | {"description": "Row after row."},
            }
        ),
        "InferRequest": _object(
            {
                "id": {"type": ["string", "null"]},
                "parameters": _object(params, kind=["object", "null"]),
                "inputs": _array(_ref("InputTensor"), 1, 2) | {"allOf": once},
                "outputs": {
                    **_array(_object({"name": {"enum": outputs}}, ["name"]), 1),
                    "type": ["array", "null"],
                    "description": "Of those whose input is there; default: all.",
                },
            },
            ["inputs"],
        ),
        "InferAnswer": _object(
            {"model_name": _ref("ModelName"), "id": text, "outputs": _array(_ref("OutputTensor"), 1)},
            ["model_name", "outputs"],
            closed=True,
        ),
        "ServerMetadata": _closed({"name": text, "version": text, "extensions": _array(text)}),
        "ModelMetadata": _closed(metadata | {key: _array(_closed(tensor), 2, 2) for key in ("inputs", "outputs")}),
    }


def _service_schemas() -> Json:
    ready = {"status": {"const": "ready"}, "ready": {"const": True}}
    return {
        "Description": {"type": "object"},
        "Live": _closed({"status": {"const": "live"}, "live": {"const": True}}),
        "Ready": _closed(ready),
        "ModelReady": _closed(ready | {"name": _ref("ModelName")}),
        "NotReady": _closed({"status": {"type": "string", "description": "Why."}, "ready": {"const": False}}),
        "Version": _closed({"version": {"type": "string"}, "models": _array(_ref("ModelName"))}),
    }


def _vector(dims: Sequence[int]) -> Json:
    return _array({"type": "number"}, dims[0], dims[-1]) if dims else _array({"type": "number"})


# Errors


def _error_schemas() -> Json:
    code, text = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, {"type": "string"}
    plain = {"code": code, "message": text}
    openai = plain | {"type": text, "param": {"type": ["string", "null"]}}
    return {
        "Error": _closed({"error": _closed(plain)}),
        "OpenAIError": _closed({"error": _closed(openai)}),
        "InferError": _closed({"error": text | {"description": "`code: message`."}}),
    }


def _error_responses(max_rows: int, max_body_bytes: int) -> Json:
    """One for each form and status, named as `_errors` names them."""
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
        f"{form}{status}": _answer(descriptions[status], _json(form), RETRY_AFTER if status in RETRIED else None)
        for form in ERROR_FORMS
        for status in POST_ERRORS
    }


def _errors(form: str, statuses: Sequence[int]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{form}{status}"} for status in statuses}


# The pieces of operations


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
    content = _json(answer) if answer else {one: {"schema": {"type": "string"}} for one in media}
    operation: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": _answer("OK", content), **_errors(error, statuses)},
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
    body = _json(request)
    body["application/json"]["examples"] = {title: {"summary": title, "value": one} for title, one in examples.items()}
    return {"post": path["get"] | {"description": description, "requestBody": {"required": True, "content": body}}}


def _ready(name: str, *, tag: str) -> Json:
    path = _get(name, tag=tag, summary="Embeddings can be made", answer="Ready", needs_key=False)
    path["get"]["responses"]["503"] = _not_ready("NotReady")
    return path


def _not_ready(*schemas: str) -> Json:
    return _answer("Not ready: `status` says why.", _json(*schemas), RETRY_AFTER)


def _parameter(name: str, place: str, description: str) -> Json:
    schema = _ref("ModelName")
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


def _answer(description: str, content: Json, headers: Json | None = None) -> Json:
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def _json(*schemas: str) -> Json:
    """The content of a body that is of one of these schemas."""
    refs = [_ref(name) for name in schemas]
    return {"application/json": {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}}


# The pieces of schemas


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Json, least: int = 0, most: int | None = None) -> Json:
    bounds = ({"minItems": least} if least else {}) | ({"maxItems": most} if most is not None else {})
    return {"type": "array", "items": items, **bounds}


def _tuple(*items: Json) -> Json:
    return {"type": "array", "prefixItems": list(items), "items": False, "minItems": len(items)}


def _at_most_one(item: Json) -> Json:
    return {"contains": item, "minContains": 0, "maxContains": 1}


def _object(
    properties: Json, required: Sequence[str] = (), *, closed: bool = False, kind: str | Sequence[str] = "object"
) -> Json:
    schema: Json = {"type": kind, "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def _closed(properties: Json) -> Json:
    """An object with all of these keys and no others."""
    return _object(properties, list(properties), closed=True)


def _choice(choices: Any, description: str) -> Json:  # noqa: ANN401 - a Literal
    return {"enum": [*get_args(choices), None], "description": description}
