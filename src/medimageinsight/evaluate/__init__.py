"""Evaluate models on labelled images: metrics with confidence intervals, comparisons, reports with plots."""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.evaluate.assess import assess, assess_models
from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings, MethodAssessment, SourceAssessment
from medimageinsight.evaluate.assessment_folder import write_assessment
from medimageinsight.evaluate.comparison import AssessedModels, Comparison, Difference, compare
from medimageinsight.evaluate.embedding import (
    EmbeddedTable,
    ImageSet,
    embed_image_table,
    embed_table,
    file_patients,
    read_embeddings,
)
from medimageinsight.evaluate.evaluation import MEDMIX_FINDING_SOURCES, evaluate, score_table
from medimageinsight.evaluate.group_columns import read_groups
from medimageinsight.evaluate.groups import GroupFigures, Grouping
from medimageinsight.evaluate.methods import Choice
from medimageinsight.evaluate.model_card import card_section, update_model_card
from medimageinsight.evaluate.prompt_set import PromptSet, caption_prompts, choose_prompts
from medimageinsight.evaluate.results import EvaluationSettings, FindingFigures, Report, SourceFigures
from medimageinsight.evaluate.sections.summary import methods_table
from medimageinsight.metrics.bootstrap import Figure

__all__ = [
    "MEDMIX_FINDING_SOURCES",
    "AssessedModels",
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
    "ImageSet",
    "MethodAssessment",
    "PromptSet",
    "Report",
    "SourceAssessment",
    "SourceFigures",
    "assess",
    "assess_models",
    "caption_prompts",
    "card_section",
    "choose_prompts",
    "compare",
    "embed_image_table",
    "embed_table",
    "evaluate",
    "file_patients",
    "methods_table",
    "read_embeddings",
    "read_groups",
    "score_table",
    "update_model_card",
    "write_assessment",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
