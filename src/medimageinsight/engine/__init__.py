"""ONNX Runtime sessions: arrays in, embeddings out. No PyTorch, no images, no text."""

from __future__ import annotations

from medimageinsight.engine.cpus import available_cpus
from medimageinsight.engine.engine import Engine
from medimageinsight.engine.session import Session, choose_providers

__all__ = ["Engine", "Session", "available_cpus", "choose_providers"]
