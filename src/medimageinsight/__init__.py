"""Medical images of any kind and medical text as vectors of one space, on ONNX Runtime.

    from medimageinsight import MedImageInsight

    model = MedImageInsight.load()
    vectors = model.embed_images(["chest.dcm", "skin.jpg"])

For research and development, not for diagnosis or treatment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight import errors
from medimageinsight.errors import MedImageInsightError
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight

__all__ = ["MedImageInsight", "MedImageInsightError", "__version__", "errors"]


def __getattr__(name: str) -> object:
    """The model's class is imported when it is first asked for: the rest of the package works without its libraries."""
    if name == "MedImageInsight":
        from medimageinsight.api import MedImageInsight

        return MedImageInsight
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
