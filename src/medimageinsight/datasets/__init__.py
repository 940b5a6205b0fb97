"""Labelled pictures: read once, for training, evaluation, adapters and batches."""

from __future__ import annotations

from medimageinsight.datasets.azureml import (
    AzureMLConfig,
    AzureMLFiles,
    count_azureml_images,
    read_azureml,
    read_azureml_config,
)
from medimageinsight.datasets.check import CheckSettings, check_table
from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.problems import DatasetProblems, Problem, Problems
from medimageinsight.datasets.sample import ByteRange, Sample, Table, join_tables
from medimageinsight.datasets.shards import read_shards
from medimageinsight.datasets.sources import DataSource, read_sources
from medimageinsight.datasets.splits import split_by_patient, assign_missing_splits
from medimageinsight.datasets.table import read_table
from medimageinsight.datasets.tsv import read_tsv, write_tsv

__all__ = [
    "CheckSettings",
    "DataSource",
    "DatasetProblems",
    "AzureMLConfig",
    "AzureMLFiles",
    "ByteRange",
    "Problem",
    "Problems",
    "Sample",
    "Table",
    "check_table",
    "count_azureml_images",
    "join_tables",
    "read_folder",
    "read_azureml",
    "read_azureml_config",
    "read_shards",
    "read_sources",
    "read_table",
    "read_tsv",
    "split_by_patient",
    "assign_missing_splits",
    "write_tsv",
]
