"""Files read strictly and written atomically: JSON, YAML, CSV and Parquet columns."""

from __future__ import annotations
