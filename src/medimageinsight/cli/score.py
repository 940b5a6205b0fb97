"""``mi2 score``: the scoring endpoint's contract without a server."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.options import AcceptMaps, AsJson, Model, load_model
from medimageinsight.cli.sources import STANDARD_INPUT
from medimageinsight.errors import InputError

SHAPES = ("auto", "rows", "card", "labels")


def score(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST.json", help="The file of the request; - is standard input.")
    ] = "-",
    response_shape: Annotated[
        str, typer.Option(metavar="|".join(SHAPES), help="The shape of the response, unless the request sets it.")
    ] = "auto",
    accept_maps: AcceptMaps = False,
    model: Model = None,
    as_json: AsJson = False,  # noqa: ARG001 - the response is JSON in any case
) -> None:
    """Answer a request for the scoring endpoint (JSON) with its response (JSON), without a server.

    Images are prepared as in the model's endpoint, unless the request chooses otherwise. Exit code 1: the endpoint
    would have answered with a status other than 200.
    """
    from medimageinsight.serve import RequestLimits, to_json
    from medimageinsight.serve import score as answer_request

    if response_shape not in SHAPES:
        raise InputError(
            f"expected --response-shape to be {', '.join(SHAPES)}, got {response_shape!r}",
            code="response_shape_unknown",
        )
    limit = RequestLimits().max_bytes + 1  # a byte more than allowed, so that the contract's own error is returned
    with error_context(request, OSError):
        body = sys.stdin.buffer.read(limit) if request == STANDARD_INPUT else _read(Path(request), limit)
    response = answer_request(
        body,
        load_model(model, accept_maps=accept_maps),
        response_shape=response_shape,  # type: ignore[arg-type]
    )
    sys.stdout.write(to_json(response).decode() + "\n")
    if response.status != 200:
        raise typer.Exit(FAILED_INPUT)


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit)
