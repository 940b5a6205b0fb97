"""The OpenAPI document and the server agree on every body: what one forbids the other refuses, and the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")

from tests.serve.described import PNG, described, operations
from tests.serve.mutations import mutations

if TYPE_CHECKING:
    from tests.serve.server_process import ServerProcess

# Errors of a body that is not of the documented form; other errors depend on more than the form.
FORM_CODES = {"request_invalid", "params_invalid", "dimensions_unsupported", "request_not_json"}
# What JSON Schema cannot state: members that depend on each other.
DEPENDENT = {"/v2/models/{model}/infer": (".inputs[0].shape", ".inputs[0].data []")}
# In addition to the document's examples, so that each member is mutated.
MORE_BODIES: dict[str, list[dict[str, Any]]] = {
    "/api/classify": [
        {
            "model": "toy",
            "images": [PNG],
            "frame": 0,
            "labels": ["a", "b"],
            "template": ["{x} {}"],
            "fields": {"x": "y"},
        }
    ],
    "/api/tag": [{"model": "toy", "images": [PNG], "frame": 0, "vocabulary": "view"}],
    "/api/compare": [{"model": "toy", "a": [{"image": PNG, "frame": 0}], "b": [{"text": "x"}]}],
    "/api/view": [{"model": "toy", "image": PNG, "frame": 0}],
    "/api/search": [
        {"store": "chest", "id": "0", "other_than_same": "patient", "min_score": 0.1, "exact": True},
        {"store": "chest", "image": PNG, "frame": 0, "model": "toy"},
        {"store": "chest", "vector": [1, 2, 3, 4, 5, 6, 7, 8], "k": 2, "where": "age > 1"},
    ],
    "/api/neighbours": [
        {"store": "chest", "images": [PNG], "frame": 0, "label": "finding", "where": "age > 1", "temperature": 0.1}
    ],
    "/api/map": [{"store": "chest", "images": [PNG], "frame": 0, "limit": 5, "model": "toy"}],
    "/v1/embeddings": [{"model": "toy", "input": ["x"], "encoding_format": "float", "dimensions": None}],
}

JSON_PATHS = [
    path
    for method, path, operation in operations(described())
    if method == "post" and "application/json" in operation["requestBody"]["content"]
]


@pytest.mark.parametrize("path", JSON_PATHS)
def test_document_and_server_agree(server: ServerProcess, path: str) -> None:
    validators = pytest.importorskip("jsonschema_rs", reason="comes with schemathesis")
    document = server.get("/swagger.json").json
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = content["schema"]
    validator = validators.Draft202012Validator({"components": document["components"], **schema})
    bodies = [example["value"] for example in content["examples"].values()] + MORE_BODIES.get(path, [])
    assert all(validator.is_valid(body) for body in bodies)
    count = 0
    for body in bodies:
        for place, mutated in mutations(document, schema, body):
            if place.startswith(DEPENDENT.get(path, "no place")):
                continue
            count += 1
            reply = server.post(path.replace("{model}", "toy"), mutated)
            assert reply.status < 500, place
            if not validator.is_valid(mutated):
                assert reply.status >= 400, f"accepted, though the document forbids it: {place}"
            elif reply.status >= 400:
                error = reply.json["error"]
                code = error["code"] if isinstance(error, dict) else error.partition(":")[0]
                assert code not in FORM_CODES, f"refused, though the document permits it: {place}"
    assert count > 50
