"""Tags with a decision threshold each."""

from __future__ import annotations
