"""The scoring endpoint: its contract, and the answers to it."""

from __future__ import annotations

from medimageinsight.serve.answer import Answer, Features, answer_request, refuse, to_json
from medimageinsight.serve.contract import RequestLimits, Row, ScoreRequest, parse_request
from medimageinsight.serve.params import Params, ResponseShape
from medimageinsight.serve.scoring import embed_request, score

__all__ = [
    "Answer",
    "Features",
    "Params",
    "RequestLimits",
    "ResponseShape",
    "Row",
    "ScoreRequest",
    "answer_request",
    "embed_request",
    "parse_request",
    "refuse",
    "score",
    "to_json",
]
