"""A model behind LitServe, for `serve_litserve.py`: one JPEG file in base64 a request, batches of at most 8.

PYTHONPATH=/tmp/litserve python benchmarks/litserve_app.py PORT MODEL
"""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import litserve
import litserve.server
import numpy as np

from medimageinsight import MedImageInsight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Embedding(litserve.LitAPI):  # type: ignore[misc]
    """Decodes as `mi2 serve` with its preprocessing ``direct``, and runs the same engine."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the model."""
        self.model = MedImageInsight.load(sys.argv[2])

    def decode_request(self, request: Mapping[str, str]) -> NDArray[np.float32]:
        """Return the encoder's input, (3, H, W) float32."""
        return self.model.prepare_image(base64.b64decode(request["image"]))

    def batch(self, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the inputs as one array (N, 3, H, W)."""
        return np.stack(inputs)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embeddings (N, D) of a batch."""
        return self.model.engine.embed_pixels(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the embedding (D,) of each request."""
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        """Return the JSON value of the response."""
        return {"embedding": output.tolist()}


if __name__ == "__main__":
    litserve.server._MCP_AVAILABLE = False  # its MCP part needs another version of the SDK
    api = Embedding(max_batch_size=8, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False)
