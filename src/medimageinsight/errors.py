"""The tree of errors.

    MedImageInsightError
    ├── InputError              invalid arguments (also a ValueError)
    │   ├── ImageError          an invalid image
    │   ├── TextError           an invalid text
    │   └── RequestError        a scoring request that does not follow the contract
    ├── ModelError              a model cannot be found, verified or run
    │   ├── BundleError         a bundle folder
    │   ├── CheckpointError     a checkpoint or its config
    │   └── ParityError         a converted model that differs from its original
    ├── EndpointError           a scoring server cannot be reached, or its response is invalid
    ├── ConfigError             a training or evaluation config (also a ValueError)
    ├── DatasetError            a table or folder of labelled images
    ├── StoreError              a store of vectors cannot be opened, verified or written to
    └── MissingExtraError       an optional dependency is not installed (also an ImportError)

Every error has a stable ``code`` for programs and a message for people: what was expected, what was received and what
to do. Messages never contain pixels, request texts, file paths or patient data: the caller knows the source of an
error and names it next to the message. (A `DatasetError` may name files of the user's own table.)
"""

from __future__ import annotations

import importlib
from typing import ClassVar


class MedImageInsightError(Exception):
    """Base class of all errors that this package raises on purpose.

    Args:
        message: One line for a person.
        code: Stable identifier for a program, lower snake case; each class has a default.
    """

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.code)

    def to_dict(self) -> dict[str, str]:
        """Return ``{"code": ..., "message": ...}``, the form of errors in all JSON output of this project."""
        return {"code": self.code, "message": self.message}


class InputError(MedImageInsightError, ValueError):
    default_code = "input_invalid"


class ImageError(InputError):
    default_code = "image_invalid"


class TextError(InputError):
    default_code = "text_invalid"


class RequestError(InputError):
    default_code = "request_invalid"


class ModelError(MedImageInsightError):
    default_code = "model_invalid"


class BundleError(ModelError):
    default_code = "bundle_invalid"


class CheckpointError(ModelError):
    default_code = "checkpoint_invalid"


class ParityError(ModelError):
    default_code = "parity_failed"


class EndpointError(MedImageInsightError):
    """A call to a scoring server that failed as a whole.

    Args:
        message: As in `MedImageInsightError`.
        code: As in `MedImageInsightError`.
        status: The HTTP status of the server's response; None without a response.
    """

    default_code = "endpoint_failed"

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return (*super().__reduce__(), {"status": self.status})


class ConfigError(MedImageInsightError, ValueError):
    default_code = "config_invalid"


class DatasetError(MedImageInsightError):
    default_code = "dataset_invalid"


class StoreError(MedImageInsightError):
    default_code = "store_invalid"


class MissingExtraError(MedImageInsightError, ImportError):
    default_code = "extra_missing"


def check_extra(extra: str, purpose: str, *modules: str) -> None:
    """Check that an optional dependency is installed, by its modules, before it is needed.

    Raises:
        MissingExtraError: It names the purpose and the extra to install.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError:
        raise missing_extra(extra, purpose) from None


def missing_extra(extra: str, purpose: str) -> MissingExtraError:
    """Return the error for an optional import that failed; it names its purpose and the extra to install."""
    return MissingExtraError(f"{purpose} needs an optional part: pip install 'medimageinsight-onnx[{extra}]'")


def _rebuild(cls: type[MedImageInsightError], message: str, code: str) -> MedImageInsightError:
    return cls(message, code=code)
