"""Small heads on frozen embeddings: train, evaluate, save, load."""

from __future__ import annotations
