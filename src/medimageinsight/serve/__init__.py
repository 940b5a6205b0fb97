"""The HTTP server: scoring as the hosted endpoint does, search and tasks.

    from medimageinsight import MedImageInsight
    from medimageinsight.serve import score, to_json

    response = score(request_body, MedImageInsight.load())  # without a server
    response.status, to_json(response)

Scoring needs no extra. What needs the extra ``serve`` is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports
from medimageinsight.serve.images import thumbnail
from medimageinsight.serve.logs import configure_logging
from medimageinsight.serve.scoring import embed_request, score
from medimageinsight.serve.scoring_params import Params, ResponseShape
from medimageinsight.serve.scoring_request import RequestLimits, Row, ScoreRequest, parse_request
from medimageinsight.serve.scoring_response import Features, ScoringResponse, answer_request, refuse, to_json

if TYPE_CHECKING:
    from medimageinsight.serve.app import create_app
    from medimageinsight.serve.run import serve
    from medimageinsight.serve.settings import ServerSettings, load_settings

__all__ = [
    "Features",
    "Params",
    "RequestLimits",
    "ResponseShape",
    "Row",
    "ScoreRequest",
    "ScoringResponse",
    "ServerSettings",
    "answer_request",
    "configure_logging",
    "create_app",
    "embed_request",
    "load_settings",
    "parse_request",
    "refuse",
    "score",
    "serve",
    "thumbnail",
    "to_json",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    __all__,
    {"ServerSettings": "settings", "create_app": "app", "load_settings": "settings", "serve": "run"},
)
