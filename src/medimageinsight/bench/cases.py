"""The inputs that every candidate is timed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from medimageinsight.bench.settings import BenchSettings
    from medimageinsight.network.config import ModelConfig

Encoder: TypeAlias = Literal["image", "text"]
ENCODERS: tuple[Encoder, ...] = ("image", "text")
PROMPT_TOKENS = 12  # of a usual prompt, start and end token included


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The input of one call: ``Case(encoder="image", batch=8)``, ``Case(encoder="text", tokens=12, length=77)``."""

    encoder: Encoder
    batch: int = 1  # images or texts
    tokens: int = 0  # of each text, start and end token included; 0 for images
    length: int = 0  # that each text is padded to; 0 for images

    @property
    def label(self) -> str:
        """The case in a table's cell."""
        if self.encoder == "image":
            return str(self.batch)
        return f"{self.tokens} tokens" if self.tokens == self.length else f"{self.tokens} padded to {self.length}"

    def to_dict(self) -> dict[str, Any]:
        """Return the case as JSON types."""
        return {"side": self.encoder, "batch": self.batch, "tokens": self.tokens, "length": self.length}


def make_cases(encoder: Encoder, settings: BenchSettings, config: ModelConfig) -> list[Case]:
    """Return image batches, or a text of a usual prompt's length, not padded and padded to the whole context."""
    if encoder == "image":
        return [Case(encoder="image", batch=batch) for batch in settings.batch_sizes]
    context = config.text.context_length
    tokens = min(PROMPT_TOKENS, context)
    return [Case(encoder="text", tokens=tokens, length=length) for length in sorted({tokens, context})]
