"""Embeddings of medical images and medical text in one vector space, on ONNX Runtime.

    from medimageinsight import MedImageInsight

    model = MedImageInsight.load()
    vectors = model.embed_images(["chest.dcm", "skin.jpg"])

For research and development, not for diagnosis or treatment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight import _deprecated, errors
from medimageinsight._lazy import lazy_exports
from medimageinsight.errors import MedImageInsightError
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight

__all__ = ["MedImageInsight", "MedImageInsightError", "__version__", "errors"]

# The class is imported at its first use, so that the other packages work without its libraries.
__getattr__, __dir__ = lazy_exports(__name__, __all__, {"MedImageInsight": "api"})
_deprecated.install()
