"""Tags with a decision threshold each: prompts, taggers and vocabularies."""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.tagging.file import load_tagger, read_prompts, save_tagger
from medimageinsight.tagging.fitting import fit_tagger, fit_tagger_to_embeddings
from medimageinsight.tagging.prompts import TagEmbeddings, TagPrompts, embed_tags, prompt_scores, tag_prompts
from medimageinsight.tagging.structured_report import make_report
from medimageinsight.tagging.tagger import Tag, TagFigures, Tagger, adapter_scores
from medimageinsight.tagging.tags import ImageTags, TagResult, Tags, check_tags, tag_texts, tag_thresholds, tag_vectors
from medimageinsight.tagging.vocabularies import ANATOMY, MODALITY, VIEW, VOCABULARIES, term_probabilities, vocabulary

__all__ = [
    "ANATOMY",
    "MODALITY",
    "VIEW",
    "VOCABULARIES",
    "ImageTags",
    "Tag",
    "TagEmbeddings",
    "TagFigures",
    "TagPrompts",
    "TagResult",
    "Tagger",
    "Tags",
    "adapter_scores",
    "check_tags",
    "embed_tags",
    "fit_tagger",
    "fit_tagger_to_embeddings",
    "load_tagger",
    "make_report",
    "prompt_scores",
    "read_prompts",
    "save_tagger",
    "tag_prompts",
    "tag_texts",
    "tag_thresholds",
    "tag_vectors",
    "term_probabilities",
    "vocabulary",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
