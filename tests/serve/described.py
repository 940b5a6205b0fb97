"""The OpenAPI document of a server with toy models."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from medimageinsight.serve.app import create_api
from medimageinsight.serve.openapi import describe
from medimageinsight.serve.routes.samples import PNG, PNG_URI
from tests.toy import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

__all__ = ["MAX_ROWS", "PNG", "PNG_URI", "described", "operations"]

MAX_ROWS = 3


def described(*, keyed: bool = False, models: dict[str, int] | None = None) -> dict[str, Any]:
    return describe(
        _api(),
        embedding_dims={"toy": DIM} if models is None else models,
        max_rows=MAX_ROWS,
        max_body_bytes=1 << 20,
        keyed=keyed,
    )


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


@cache
def _api() -> FastAPI:
    return create_api()
