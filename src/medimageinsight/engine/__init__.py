"""ONNX Runtime sessions: arrays in, embeddings out, without PyTorch."""

from __future__ import annotations

from medimageinsight.engine.engine import Engine
from medimageinsight.engine.graph_cache import clear_graph_cache, graph_cache_size
from medimageinsight.engine.machine import available_cpus, describe_machine
from medimageinsight.engine.providers import CPU, choose_providers
from medimageinsight.engine.session import Session

__all__ = [
    "CPU",
    "Engine",
    "Session",
    "available_cpus",
    "choose_providers",
    "clear_graph_cache",
    "describe_machine",
    "graph_cache_size",
]
