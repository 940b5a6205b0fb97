"""Labelled pictures: read once, for training, evaluation, adapters and batches."""

from __future__ import annotations

from medimageinsight.datasets.folder import read_folder
from medimageinsight.datasets.table import Sample, Table, read_table

__all__ = ["Sample", "Table", "read_folder", "read_table"]
