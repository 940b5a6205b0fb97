"""The schema of scoring requests, in all forms that `medimageinsight.serve.scoring_request` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.schemas import ScoreParams
from medimageinsight.serve.scoring_request import COLUMNS, FORMS

if TYPE_CHECKING:
    from medimageinsight.serve.scoring_response import Json

_ROW = (
    "A row as a list of cells in the order of the columns, or as an object with the columns' names. A cell is an image "
    "or a text, missing where null or empty. A row of another form has an error as its result."
)


def score_schemas() -> Json:
    """Return the schemas of a request, its table and its parameters."""
    rows = {"type": "array", "items": {"description": _ROW}, "x-max-rows": True}
    once = [{"contains": {"const": name}, "minContains": 0, "maxContains": 1} for name in COLUMNS]
    names = {"type": "array", "items": {"type": "string"}, "contains": {"enum": list(COLUMNS)}, "allOf": once}
    split = {
        "type": "object",
        "properties": {
            "columns": {
                "anyOf": [names, {"type": "null"}],
                "description": "`image`, `text` or both; others are ignored.",
            },
            "index": {"description": "Ignored."},
            "data": rows,
        },
        "required": ["data"],
    }
    cells = {
        "description": "A list of cells, or a single one.",
        "x-max-rows": True,
    }  # an item limit holds for lists alone
    columns = {
        "type": "object",
        "properties": {**dict.fromkeys(COLUMNS, cells), "data": False},
        "anyOf": [{"required": [name]} for name in COLUMNS],
    }
    table = {"$ref": "#/components/schemas/Table"}
    params = {"anyOf": [{"$ref": f"#/components/schemas/{ScoreParams.__name__}"}, {"type": "null"}]}
    parameters = ScoreParams.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions: dict[str, object] = parameters.pop("$defs", {})
    return definitions | {
        ScoreParams.__name__: parameters,
        "Table": {
            "anyOf": [split, rows, columns],
            "description": "Columns, index and data; or rows alone; or columns alone.",
        },
        "ScoreRequest": {
            "type": "object",
            "properties": {**dict.fromkeys(FORMS, table), "params": params},
            "oneOf": [{"required": [form]} for form in FORMS],
        },
    }
