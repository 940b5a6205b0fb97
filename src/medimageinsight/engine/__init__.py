"""ONNX Runtime sessions: arrays in, embeddings out. No PyTorch, no images, no text."""

from __future__ import annotations

from medimageinsight.engine.cpus import available_cpus
from medimageinsight.engine.engine import Engine
from medimageinsight.engine.graph_cache import clear_graph_cache, graph_cache_size
from medimageinsight.engine.providers import choose_providers
from medimageinsight.engine.session import Session

__all__ = ["Engine", "Session", "available_cpus", "choose_providers", "clear_graph_cache", "graph_cache_size"]
