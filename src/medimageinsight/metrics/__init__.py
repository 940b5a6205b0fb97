"""Statistics on numpy alone: scores, intervals, thresholds, calibration, retrieval, permutation tests."""

from __future__ import annotations
