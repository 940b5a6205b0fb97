"""Embed millions of images to Parquet parts, resumable, each row exactly once.

from medimageinsight import batch

report = batch.run("archive/", "vectors/")        # a second call does what is missing
report.errors, report.set_aside
"""

from __future__ import annotations

from medimageinsight.batch.engine import BatchProgress, Engine, ModelSettings
from medimageinsight.batch.local_engine import LocalEngine
from medimageinsight.batch.manifest import Manifest
from medimageinsight.batch.options import BatchOptions
from medimageinsight.batch.part import PartResult, embed_part
from medimageinsight.batch.plan import Part, list_parts, plan
from medimageinsight.batch.predictions import write_predictions
from medimageinsight.batch.run import BatchReport, existing_options, run

__all__ = [
    "BatchOptions",
    "BatchProgress",
    "BatchReport",
    "Engine",
    "LocalEngine",
    "Manifest",
    "ModelSettings",
    "Part",
    "PartResult",
    "embed_part",
    "existing_options",
    "list_parts",
    "plan",
    "run",
    "write_predictions",
]
