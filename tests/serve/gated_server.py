"""``python -m tests.serve.gated_server serve ...``: a server whose decoders and parsers wait while a gate is closed.

The gate is closed while the file that MI2_TEST_GATE names exists. Images that end with `DECODE` wait in a decoder,
bodies that contain `PARSE` in a parser.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight import MedImageInsight
from medimageinsight.cli.main import main
from medimageinsight.serve import progress
from medimageinsight.serve.routes import maps, state

if TYPE_CHECKING:
    from collections.abc import Callable

DECODE = b"wait in a decoder"
PARSE = b"wait in a parser"
STALL_S = 0.2


def _wait() -> None:
    gate = Path(os.environ["MI2_TEST_GATE"])
    while gate.exists():
        time.sleep(0.01)


def _gated(function: Callable[..., Any], closes: Callable[[Any], bool]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if any(map(closes, arguments)):
            _wait()
        return function(*arguments, **options)

    return call


def _decodes(argument: object) -> bool:
    data = argument.read_bytes() if isinstance(argument, Path) else argument
    return isinstance(data, bytes) and data.endswith(DECODE)


def _parses(argument: object) -> bool:
    return isinstance(argument, bytes) and PARSE in argument


if __name__ == "__main__":
    progress.STALL_S = STALL_S
    MedImageInsight.open_image = _gated(MedImageInsight.open_image, _decodes)  # type: ignore[method-assign]
    maps.stored_source = _gated(maps.stored_source, _decodes)  # called by the decoder of a thumbnail
    state.parse_json = _gated(state.parse_json, _parses)
    main()
