"""The network in PyTorch as the counterpart of the engine: the same two methods, on the CPU.

PyTorch is imported when it is first used, because a bundle is verified without it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.network.model import UniCLModel


class PyTorchEncoders:
    """The network with the methods of `Engine`."""

    def __init__(self, model: UniCLModel) -> None:
        self._model = model

    def embed_pixels(self, pixels: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Encode (N, 3, H, W) as one batch; returns (N, D)."""
        import torch

        with torch.inference_mode():
            embeddings: NDArray[np.float32] = self._model.encode_image(torch.from_numpy(pixels)).numpy()
        return embeddings

    def embed_tokens(self, rows: Sequence[Sequence[int]], /) -> NDArray[np.float32]:
        """Encode each text by itself, so that none is padded; returns (N, D)."""
        import torch

        with torch.inference_mode():
            ids = [torch.tensor([list(row)]) for row in rows]
            return torch.cat([self._model.encode_text(row, torch.ones_like(row)) for row in ids]).numpy()


def require_torch() -> None:
    """Check that PyTorch is installed.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise missing_extra("export", "converting a checkpoint") from None


@contextlib.contextmanager
def limit_torch_threads(threads: int) -> Iterator[None]:
    """Let PyTorch use `threads` CPU threads, which is a setting of the process, and restore its number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
