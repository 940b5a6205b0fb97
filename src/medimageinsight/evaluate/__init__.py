"""How good a model is: metrics with confidence intervals, benchmark tables, comparisons, reports with plots."""

from __future__ import annotations

from medimageinsight.evaluate.assess import assess
from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings, MethodAssessment, SourceAssessment
from medimageinsight.evaluate.benchmark import MEDMIX_FINDING_SOURCES, evaluate, score_table
from medimageinsight.evaluate.comparison import Comparison, Difference, compare
from medimageinsight.evaluate.embedded import EmbeddedTable, embed_table
from medimageinsight.evaluate.figures import EvaluationSettings, FindingFigures, Report, SourceFigures
from medimageinsight.evaluate.folder import write_assessment
from medimageinsight.evaluate.group_columns import read_groups
from medimageinsight.evaluate.groups import GroupFigures, Grouping
from medimageinsight.evaluate.methods import Choice
from medimageinsight.evaluate.model_card import card_section, to_json, to_markdown, update_model_card, write_report
from medimageinsight.evaluate.zeroshot import caption_prompts
from medimageinsight.metrics.bootstrap import Figure

__all__ = [
    "MEDMIX_FINDING_SOURCES",
    "Assessment",
    "AssessmentSettings",
    "Choice",
    "Comparison",
    "Difference",
    "EmbeddedTable",
    "EvaluationSettings",
    "Figure",
    "FindingFigures",
    "GroupFigures",
    "Grouping",
    "MethodAssessment",
    "Report",
    "SourceAssessment",
    "SourceFigures",
    "assess",
    "caption_prompts",
    "card_section",
    "compare",
    "embed_table",
    "evaluate",
    "read_groups",
    "score_table",
    "to_json",
    "to_markdown",
    "update_model_card",
    "write_assessment",
    "write_report",
]
