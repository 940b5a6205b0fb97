"""What to measure and how often."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Baseline = Literal["eager", "tuned", "compile", "plain", "openvino"]
BASELINES: tuple[str, ...] = get_args(Baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """How to measure: ``BenchSettings(batch_sizes=(1, 16), baselines=())``.

    Attributes:
        batch_sizes: Images that go through the network together, each a case of its own.
        rounds: Times each candidate is measured, after one round that does not count.
        threads: CPU threads of every candidate; all cores the process may use when None.
        provider: The execution provider of the bundle, such as ``cuda``; the best that is there when None.
        baselines: What to compare with: PyTorch ``eager``, the same ``tuned`` (with an allocator that keeps memory) and
            its ``compile``; the ``plain`` export; ``openvino``.

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
        if not self.batch_sizes or min(self.batch_sizes) < 1 or _repeats(self.batch_sizes):
            raise InputError(
                f"expected different batch sizes of at least 1, got {_listed(self.batch_sizes)}: give them as 1,8",
                code="batch_sizes_invalid",
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(f"expected at least 1 thread, got {self.threads}", code="threads_invalid")
        if set(self.baselines) - set(BASELINES) or _repeats(self.baselines):
            raise InputError(
                f"expected baselines among {', '.join(BASELINES)}, each once, or none; got {_listed(self.baselines)}",
                code="baselines_unknown",
            )

    @property
    def providers(self) -> list[str] | None:
        """As the engine takes them."""
        return None if self.provider is None else [self.provider]

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        return asdict(self)


def _repeats(values: Sequence[object]) -> bool:
    return len(set(values)) < len(values)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"
