"""Requests made up from the server's own description: none breaks it, and every answer is one that it describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="makes up requests with schemathesis")

from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from medimageinsight.serve.openapi import describe

if TYPE_CHECKING:
    from tests.serve.running import Running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


DOCUMENT = describe(
    version="0", model_names=["toy"], embedding_dims={"toy": 8}, max_rows=1024, max_body_bytes=1 << 20, keyed=False
)
OPERATIONS = [(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations]


@pytest.fixture(scope="session")
def described(server: Running) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/swagger.json")


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_breaks_the_server(described: Any, path: str, method: str) -> None:
    @given(case=described[path][method].as_strategy())
    @settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    send()
