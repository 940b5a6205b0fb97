"""The settings of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from medimageinsight.errors import InputError

BUNDLE = "bundle"
"""The candidate that is measured; the others are baselines."""
BASELINES = ("eager", "tuned", "compile", "plain", "openvino")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """Settings of a run: ``BenchSettings(batch_sizes=(1, 16), baselines=())``.

    Attributes:
        batch_sizes: Images that the network processes together, each a case of its own.
        rounds: Number of rounds in which each candidate is measured, after a warm-up round.
        threads: CPU threads of every candidate; all cores that the process may use if None.
        provider: Execution provider of the bundle, such as ``cuda``; the best available if None.
        baselines: Candidates to compare with: PyTorch ``eager``, the same ``tuned`` (with an allocator that retains
            memory) and its ``compile``; the ``plain`` export; ``openvino``.

    Raises:
        InputError: A value is out of range (``rounds_invalid``, ``batch_sizes_invalid``, ``threads_invalid``) or a
            baseline is unknown (``baselines_unknown``).
    """

    batch_sizes: tuple[int, ...] = (1, 8)
    rounds: int = 5
    threads: int | None = None
    provider: str | None = None
    baselines: tuple[str, ...] = BASELINES

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"expected at least 1 round, got {self.rounds}", code="rounds_invalid")
        sizes = self.batch_sizes
        if not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
            raise InputError(
                f"expected different batch sizes of at least 1, got {', '.join(map(str, sizes)) or 'none'}: "
                "give them as 1,8",
                code="batch_sizes_invalid",
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(f"expected at least 1 thread, got {self.threads}", code="threads_invalid")
        if set(self.baselines) - set(BASELINES) or len(set(self.baselines)) < len(self.baselines):
            raise InputError(
                f"expected baselines among {', '.join(BASELINES)}, each once, or none, "
                f"got {', '.join(map(str, self.baselines))}",
                code="baselines_unknown",
            )

    @property
    def providers(self) -> list[str] | None:
        """The execution providers for the engine."""
        return None if self.provider is None else [self.provider]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON types."""
        return asdict(self)
