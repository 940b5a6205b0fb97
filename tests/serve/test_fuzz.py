"""Requests generated from the server's own description: none breaks it, and every answer is one that it describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="generates requests with schemathesis")
pytest.importorskip("fastapi", reason="the server needs the serve extra")

from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serve.described import described, operations

if TYPE_CHECKING:
    from tests.serve.server_process import ServerProcess

CHECKS = [
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
]
# Too many rows are 413, which is not among the statuses that schemathesis takes for a refusal.
REFUSALS = ["400", "401", "404", "405", "413", "415", "422"]


@pytest.fixture(scope="session")
def document(server: ServerProcess) -> Any:
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})
    return schemathesis.openapi.from_url(f"{server.url}/swagger.json", config=config)


OPERATIONS = list(operations(described()))


def send_requests(operation: Any, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        checks = CHECKS
        if (
            case.media_type == "multipart/form-data"
        ):  # has no types: a boolean arrives as the text that it is written as
            checks = [check for check in CHECKS if check is not negative_data_rejection]
        case.call_and_validate(checks=checks)

    send()


@pytest.mark.parametrize(("path", "method"), [(path, method) for method, path, _ in OPERATIONS])
def test_responses_are_as_described(document: Any, path: str, method: str) -> None:
    send_requests(document[path][method], GenerationMode.POSITIVE)


TAKES_INPUT = [
    (path, method)
    for method, path, operation in OPERATIONS
    if ("requestBody" in operation or "parameters" in operation) and path != "/page/{name}"  # any text is a name
]


@pytest.mark.parametrize(("path", "method"), TAKES_INPUT)
def test_what_the_description_forbids_is_refused(document: Any, path: str, method: str) -> None:
    send_requests(document[path][method], GenerationMode.NEGATIVE)
