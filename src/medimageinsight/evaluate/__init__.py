"""How good a model is: metrics with confidence intervals, benchmark tables, reports with plots."""

from __future__ import annotations

from medimageinsight.evaluate.benchmark import MEDMIX_FINDING_SOURCES, evaluate, score_table
from medimageinsight.evaluate.figures import EvaluationSettings, Figure, FindingFigures, Report, SourceFigures
from medimageinsight.evaluate.report import to_json, to_markdown, update_model_card, write_report
from medimageinsight.evaluate.zeroshot import caption_prompts

__all__ = [
    "MEDMIX_FINDING_SOURCES",
    "EvaluationSettings",
    "Figure",
    "FindingFigures",
    "Report",
    "SourceFigures",
    "caption_prompts",
    "evaluate",
    "score_table",
    "to_json",
    "to_markdown",
    "update_model_card",
    "write_report",
]
