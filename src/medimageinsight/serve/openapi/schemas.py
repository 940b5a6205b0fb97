"""The schemas of bodies and answers, as exact as JSON Schema allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from medimageinsight.preprocess import LARGEST_SIZE, Steps
from medimageinsight.serve.contract import COLUMNS, FORMS
from medimageinsight.serve.params import OnRowError, ResponseShape
from medimageinsight.tokenizer import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.serve.scoring_response import Json


def schemas(*, model_names: Sequence[str], embedding_dims: Mapping[str, int], max_rows: int) -> Json:
    """Every schema, by its name."""
    return {
        "ModelName": {"type": "string", **({"enum": list(model_names)} if model_names else {})},
        "Vector": _vector(sorted(set(embedding_dims.values()))),
        **_error_schemas(),
        **_scoring_schemas(max_rows),
        **_openai_schemas(max_rows),
        **_inference_schemas(max_rows),
        **_service_schemas(),
    }


def ref(name: str) -> Json:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _scoring_schemas(max_rows: int) -> Json:
    row = {"anyOf": [ref("RowObject"), array(ref("Cell"))], "description": "By its columns' names or order."}
    cells = {"anyOf": [ref("Cell"), array(ref("Cell"), most=max_rows)]}
    once = [_at_most_one({"const": name}) for name in COLUMNS]
    names = array({"type": "string"}) | {"contains": {"enum": list(COLUMNS)}, "allOf": once}
    split = object_of(
        {
            "columns": {"anyOf": [names, {"type": "null"}], "description": "`image`, `text` or both; others ignored."},
            "index": {"description": "Ignored."},
            "data": array(row, most=max_rows),
        },
        ["data"],
    )
    columns = dict.fromkeys(COLUMNS, cells) | {"data": False}
    scaling = {"scaling_factor": {"type": "number", "description": "Logarithm of the scale of cosines."}}
    some_column = {"anyOf": [{"required": [name]} for name in COLUMNS]}
    features = {"image_features": array(ref("Vector"), 1, 1), "text_features": ref("Vector")}
    in_card = array({"anyOf": [ref("Vector"), ref("Error"), {"type": "null"}]})
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
            **object_of({name: {"anyOf": [ref(name.title()), {"type": "null"}]} for name in COLUMNS}),
            "description": "An image, a text or both; other keys are ignored.",
        },
        "Table": {
            "anyOf": [
                split | {"title": "Columns, index and data"},
                array(row, most=max_rows) | {"title": "Rows"},
                object_of(columns) | some_column | {"title": "Columns"},
            ]
        },
        "Params": _params(),
        "ScoreRequest": {
            **object_of({form: ref("Table") for form in FORMS} | {"params": ref("Params")}),
            "oneOf": [{"required": [form]} for form in FORMS],
        },
        "RowAnswer": {
            **object_of(features | scaling, closed=True),
            "anyOf": [{"required": [name]} for name in features],
        },
        "ScoreAnswer": {
            "anyOf": [
                array({"anyOf": [ref("RowAnswer"), ref("Error")]}, most=max_rows)
                | {"title": "rows", "description": "One object a row, in order."},
                array({"anyOf": [object_of(one, list(one), closed=True) for one in card]}, 1, 3)
                | {"title": "card", "description": "All images, all texts, the scaling factor."},
            ]
        },
    }


def _params() -> Json:
    def number(largest: int, text: str) -> Json:
        return {"type": ["integer", "null"], "minimum": 0, "maximum": largest, "description": f"{text}; 0: default."}

    return object_of(
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
            ref("Text") | {"minLength": 1, "description": "A text, or an image as a data: URI."},
            *(object_of({name: ref(name.title()) | {"minLength": 1}}, [name], closed=True) for name in COLUMNS),
        ]
    }
    embedding = {
        "object": {"const": "embedding"},
        "index": {"type": "integer", "minimum": 0},
        "embedding": {
            "anyOf": [ref("Vector"), {"type": "string", "contentEncoding": "base64"}],
            "description": "Numbers, or little-endian float32 in base64.",
        },
    }
    counts = {name: {"type": "integer", "minimum": 0} for name in ("prompt_tokens", "total_tokens")}
    answer = {
        "object": {"const": "list"},
        "data": array(closed(embedding), most=max_rows),
        "model": ref("ModelName"),
        "usage": closed(counts),
    }
    model = {
        "id": ref("ModelName"),
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    }
    return {
        "EmbeddingsInput": one,
        "EmbeddingsRequest": object_of(
            {
                "model": {"anyOf": [ref("ModelName"), {"type": "null"}], "description": "Default: the first."},
                "input": {"anyOf": [ref("EmbeddingsInput"), array(ref("EmbeddingsInput"), 1, max_rows)]},
                "encoding_format": {"enum": ["float", "base64", None], "default": "float"},
                "user": {"type": "string", "description": "Ignored."},
                "dimensions": {"type": "null", "description": "Refused: the vectors cannot be shortened."},
            },
            ["input"],
        ),
        "EmbeddingsAnswer": closed(answer),
        "Model": closed(model),
        "ModelList": closed({"object": {"const": "list"}, "data": array(ref("Model"))}),
    }


def _inference_schemas(max_rows: int) -> Json:
    count = {"type": "integer", "minimum": 0, "maximum": max_rows}
    element = {"type": "string", "minLength": 1}
    once = [_at_most_one({"properties": {"name": {"const": name}}}) for name in COLUMNS]
    outputs = [f"{name}_embeddings" for name in COLUMNS]
    params = {name: schema for name, schema in _params()["properties"].items() if name.startswith(("image_", "prepro"))}
    size = {"type": "integer", "minimum": -1}
    tensor = {"name": {"type": "string"}, "datatype": {"enum": ["BYTES", "FP32"]}, "shape": array(size, 1, 2)}
    text = {"type": "string"}
    metadata = {"name": ref("ModelName"), "versions": array(text), "platform": text}
    return {
        "InputTensor": object_of(
            {
                "name": {"enum": list(COLUMNS)},
                "datatype": {"const": "BYTES"},
                "shape": {"anyOf": [_tuple(count), _tuple(count, {"const": 1})], "description": "[N] or [N, 1]."},
                "data": array({"anyOf": [element, array(element, 1, 1)]}, most=max_rows),
            },
            ["name", "datatype", "shape", "data"],
        ),
        "OutputTensor": closed(
            {
                "name": {"enum": outputs},
                "datatype": {"const": "FP32"},
                "shape": _tuple(count, {"type": "integer", "minimum": 1}) | {"description": "[N, D]."},
                "data": array({"type": "number"}) | {"description": "Row after row."},
            }
        ),
        "InferRequest": object_of(
            {
                "id": {"type": ["string", "null"]},
                "parameters": object_of(params, kind=["object", "null"]),
                "inputs": array(ref("InputTensor"), 1, 2) | {"allOf": once},
                "outputs": {
                    **array(object_of({"name": {"enum": outputs}}, ["name"]), 1),
                    "type": ["array", "null"],
                    "description": "Of those whose input is there; default: all.",
                },
            },
            ["inputs"],
        ),
        "InferAnswer": object_of(
            {"model_name": ref("ModelName"), "id": text, "outputs": array(ref("OutputTensor"), 1)},
            ["model_name", "outputs"],
            closed=True,
        ),
        "ServerMetadata": closed({"name": text, "version": text, "extensions": array(text)}),
        "ModelMetadata": closed(metadata | {key: array(closed(tensor), 2, 2) for key in ("inputs", "outputs")}),
    }


def _service_schemas() -> Json:
    ready = {"status": {"const": "ready"}, "ready": {"const": True}}
    return {
        "Description": {"type": "object"},
        "Live": closed({"status": {"const": "live"}, "live": {"const": True}}),
        "Ready": closed(ready),
        "ModelReady": closed(ready | {"name": ref("ModelName")}),
        "NotReady": closed({"status": {"type": "string", "description": "Why."}, "ready": {"const": False}}),
        "Version": closed({"version": {"type": "string"}, "models": array(ref("ModelName"))}),
    }


def _vector(dims: Sequence[int]) -> Json:
    return array({"type": "number"}, dims[0], dims[-1]) if dims else array({"type": "number"})


def _error_schemas() -> Json:
    code, text = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, {"type": "string"}
    plain = {"code": code, "message": text}
    openai = plain | {"type": text, "param": {"type": ["string", "null"]}}
    return {
        "Error": closed({"error": closed(plain)}),
        "OpenAIError": closed({"error": closed(openai)}),
        "InferError": closed({"error": text | {"description": "`code: message`."}}),
    }


def array(items: Json, least: int = 0, most: int | None = None) -> Json:
    """A list of so many items."""
    bounds = ({"minItems": least} if least else {}) | ({"maxItems": most} if most is not None else {})
    return {"type": "array", "items": items, **bounds}


def _tuple(*items: Json) -> Json:
    return {"type": "array", "prefixItems": list(items), "items": False, "minItems": len(items)}


def _at_most_one(item: Json) -> Json:
    return {"contains": item, "minContains": 0, "maxContains": 1}


def object_of(
    properties: Json, required: Sequence[str] = (), *, closed: bool = False, kind: str | Sequence[str] = "object"
) -> Json:
    """An object with these keys, and others unless it is closed."""
    schema: Json = {"type": kind, "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def closed(properties: Json) -> Json:
    """An object with all of these keys and no others."""
    return object_of(properties, list(properties), closed=True)


def _choice(choices: Any, description: str) -> Json:  # noqa: ANN401 - a Literal
    return {"enum": [*get_args(choices), None], "description": description}
