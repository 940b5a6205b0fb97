"""Labelled pictures: read once, for training, evaluation, adapters and batches."""

from __future__ import annotations

from medimageinsight.datasets.azureml import (
    OriginalConfig,
    OriginalFiles,
    count_training,
    read_original,
    read_original_config,
)
from medimageinsight.datasets.check import CheckSettings, check_table
from medimageinsight.datasets.config_keys import known_part
from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.problems import DatasetProblems, Problem, Problems
from medimageinsight.datasets.sample import Piece, Sample, Table, join_tables
from medimageinsight.datasets.shards import read_shards
from medimageinsight.datasets.sources import DataSource, read_sources
from medimageinsight.datasets.splits import split_by_patient, split_rest
from medimageinsight.datasets.table import read_table
from medimageinsight.datasets.tsv import read_tsv, write_tsv

__all__ = [
    "CheckSettings",
    "DataSource",
    "DatasetProblems",
    "OriginalConfig",
    "OriginalFiles",
    "Piece",
    "Problem",
    "Problems",
    "Sample",
    "Table",
    "check_table",
    "count_training",
    "join_tables",
    "known_part",
    "read_folder",
    "read_original",
    "read_original_config",
    "read_shards",
    "read_sources",
    "read_table",
    "read_tsv",
    "split_by_patient",
    "split_rest",
    "write_tsv",
]
