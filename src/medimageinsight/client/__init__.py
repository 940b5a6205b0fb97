"""The model's methods on a server with the scoring contract: this project's own or the hosted endpoint.

from medimageinsight.client import Endpoint

with Endpoint("https://models.example.org", key) as model:
    vectors = model.embed_images(["chest.dcm", "skin.jpg"])             # (2, D) float32, L2-normalised
    probabilities = model.classify("chest.dcm", ["normal", "pneumonia"], template="x-ray chest {}")      # (2,)
"""

from __future__ import annotations

from medimageinsight.client.endpoint import Endpoint

__all__ = ["Endpoint"]
