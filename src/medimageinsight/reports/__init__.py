"""Documents and plots: one document as Markdown and as HTML."""

from __future__ import annotations
