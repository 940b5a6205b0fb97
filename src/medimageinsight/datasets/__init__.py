"""Labelled images in tables, folders, TSVs and shards, read for training, evaluation and adapters."""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.datasets.azureml import (
    AzureMLConfig,
    AzureMLFiles,
    count_azureml_images,
    read_azureml,
    read_azureml_config,
)
from medimageinsight.datasets.check import CheckSettings, check_table
from medimageinsight.datasets.dicom_patients import read_patient, with_dicom_patients
from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.image_files import FoundImages, find_images, walk_images
from medimageinsight.datasets.medmnist import is_medmnist, list_items, open_item, read_label_names, read_medmnist
from medimageinsight.datasets.problems import DatasetProblems, Problem, Problems
from medimageinsight.datasets.sample import ByteRange, Sample, Table, join_tables, patient_ids, similar_labels
from medimageinsight.datasets.shards import read_shards
from medimageinsight.datasets.sources import DataSource, read_sources
from medimageinsight.datasets.splits import assign_missing_splits, split_by_patient
from medimageinsight.datasets.table import broken_images, read_table
from medimageinsight.datasets.tsv import read_tsv, write_tsv
from medimageinsight.datasets.vector_files import VectorFile, is_vector_file, read_vectors

__all__ = [
    "AzureMLConfig",
    "AzureMLFiles",
    "ByteRange",
    "CheckSettings",
    "DataSource",
    "DatasetProblems",
    "FoundImages",
    "Problem",
    "Problems",
    "Sample",
    "Table",
    "VectorFile",
    "assign_missing_splits",
    "broken_images",
    "check_table",
    "count_azureml_images",
    "find_images",
    "is_medmnist",
    "is_vector_file",
    "join_tables",
    "list_items",
    "open_item",
    "patient_ids",
    "read_azureml",
    "read_azureml_config",
    "read_folder",
    "read_label_names",
    "read_medmnist",
    "read_patient",
    "read_shards",
    "read_sources",
    "read_table",
    "read_tsv",
    "read_vectors",
    "similar_labels",
    "split_by_patient",
    "walk_images",
    "with_dicom_patients",
    "write_tsv",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
