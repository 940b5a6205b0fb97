"""The scoring endpoint: its contract, and the answers to it."""

from __future__ import annotations

from medimageinsight.serve.contract import RequestLimits, Row, ScoreRequest, parse_request
from medimageinsight.serve.params import Params, ResponseShape
from medimageinsight.serve.scoring import embed_request, score
from medimageinsight.serve.scoring_response import Features, ScoringResponse, answer_request, refuse, to_json

__all__ = [
    "Features",
    "Params",
    "RequestLimits",
    "ResponseShape",
    "Row",
    "ScoreRequest",
    "ScoringResponse",
    "answer_request",
    "embed_request",
    "parse_request",
    "refuse",
    "score",
    "to_json",
]
