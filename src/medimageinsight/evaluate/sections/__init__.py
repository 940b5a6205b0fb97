"""Sections of a report, one module for each kind of figure."""

from __future__ import annotations
