"""Several batches at a time, each on a part of the cores, for networks that are too small for all cores at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.bundle import IMAGE_ENCODER
from medimageinsight.engine import CPU, available_cpus, choose_providers

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.engine import Engine
    from medimageinsight.serve.settings import ServerSettings

SMALL_ENCODER = 64 << 20  # bytes of a graph and its weights
MAX_BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class ParallelEngine:
    """An engine whose calls may run at the same time, and their number."""

    engine: Engine
    batches: int


def open_parallel(model: MedImageInsight, settings: ServerSettings) -> ParallelEngine | None:
    """Return a second engine of a small model on the CPU, with fewer threads a call; None for other models.

    The threads of a call wait for each other after each operator. A small network's operators are so short that this
    costs up to a third of the CPU time; its second copy needs little memory.

    Raises:
        ModelError: An encoder cannot be loaded or run.
    """
    size = sum(file.bytes for name, file in model.manifest.files.items() if name.startswith(IMAGE_ENCODER))
    batches = min(MAX_BATCHES, available_cpus())
    on_cpu = choose_providers(settings.providers or None)[0] == CPU
    if batches == 1 or size > SMALL_ENCODER or not on_cpu or settings.threads is not None:
        return None
    engine = model.engine.with_threads(available_cpus() // batches)
    height, width = model.preprocessing.image_size
    engine.embed_pixels(np.zeros((1, 3, height, width), np.float32))  # load the graphs now
    engine.embed_tokens(model.tokenizer.encode([""]))
    return ParallelEngine(engine=engine, batches=batches)
