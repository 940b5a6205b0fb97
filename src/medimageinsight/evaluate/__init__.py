"""Evaluate models on labelled images: metrics with confidence intervals, comparisons, reports with plots."""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.evaluate.adapter_protocol import (
    AdapterComparison,
    ChosenSettings,
    MethodFigures,
    ProtocolSettings,
    compare_adapters,
    count_fits,
    split_for_protocol,
)
from medimageinsight.evaluate.assess import assess, assess_models
from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings, MethodAssessment, SourceAssessment
from medimageinsight.evaluate.assessment_folder import write_assessment
from medimageinsight.evaluate.comparison import AssessedModels, Comparison, Difference, compare
from medimageinsight.evaluate.confusion import ConfusionMatrix
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
from medimageinsight.evaluate.label_prompts import LabelPrompts, choose_label_prompts
from medimageinsight.evaluate.label_table import (
    UNCERTAIN,
    LabelTable,
    read_label_columns,
    read_separated_labels,
    split_labels,
)
from medimageinsight.evaluate.methods import Choice
from medimageinsight.evaluate.model_card import card_section, update_model_card
from medimageinsight.evaluate.multilabel import MultilabelAssessment, evaluate_multilabel
from medimageinsight.evaluate.multilabel_figures import LabelCounts, MultilabelMethod
from medimageinsight.evaluate.multilabel_folder import write_multilabel
from medimageinsight.evaluate.prompt_set import PromptSet, caption_prompts, choose_prompts
from medimageinsight.evaluate.rate_gaps import GroupRate, RateGap
from medimageinsight.evaluate.results import EvaluationSettings, FindingFigures, Report, SourceFigures
from medimageinsight.evaluate.sections.multilabel import label_rows, multilabel_methods_table
from medimageinsight.evaluate.sections.summary import methods_table
from medimageinsight.evaluate.worst_errors import (
    WorstError,
    check_errors_folder,
    find_worst_errors,
    find_worst_label_errors,
    write_worst_errors,
)
from medimageinsight.metrics.bootstrap import Figure

__all__ = [
    "MEDMIX_FINDING_SOURCES",
    "UNCERTAIN",
    "AdapterComparison",
    "AssessedModels",
    "Assessment",
    "AssessmentSettings",
    "Choice",
    "ChosenSettings",
    "Comparison",
    "ConfusionMatrix",
    "Difference",
    "EmbeddedTable",
    "EvaluationSettings",
    "Figure",
    "FindingFigures",
    "GroupFigures",
    "GroupRate",
    "Grouping",
    "ImageSet",
    "LabelCounts",
    "LabelPrompts",
    "LabelTable",
    "MethodAssessment",
    "MethodFigures",
    "MultilabelAssessment",
    "MultilabelMethod",
    "PromptSet",
    "ProtocolSettings",
    "RateGap",
    "Report",
    "SourceAssessment",
    "SourceFigures",
    "WorstError",
    "assess",
    "assess_models",
    "caption_prompts",
    "card_section",
    "check_errors_folder",
    "choose_label_prompts",
    "choose_prompts",
    "compare",
    "compare_adapters",
    "count_fits",
    "embed_image_table",
    "embed_table",
    "evaluate",
    "evaluate_multilabel",
    "file_patients",
    "find_worst_errors",
    "find_worst_label_errors",
    "label_rows",
    "methods_table",
    "multilabel_methods_table",
    "read_embeddings",
    "read_groups",
    "read_label_columns",
    "read_separated_labels",
    "score_table",
    "split_for_protocol",
    "split_labels",
    "update_model_card",
    "write_assessment",
    "write_multilabel",
    "write_worst_errors",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
