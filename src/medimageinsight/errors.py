"""The one tree of errors.

    MedImageInsightError
    ├── InputError              what the caller gave cannot be used (also a ValueError)
    │   ├── ImageError          an image, before it reaches the network
    │   ├── TextError           a text, before it reaches the network
    │   └── RequestError        a scoring request that is not of the contract's form
    ├── ModelError              a model cannot be had or trusted
    │   ├── BundleError         a bundle folder
    │   ├── CheckpointError     a checkpoint or its config
    │   └── ParityError         a converted model that does not agree with its original
    ├── EndpointError           a scoring server cannot be reached or does not answer as it should
    ├── ConfigError             a training or evaluation config (also a ValueError)
    ├── DatasetError            a table or folder of labelled images
    ├── StoreError              a store of vectors cannot be had, trusted or written
    └── MissingExtraError       an optional dependency is not installed (also an ImportError)

Every error carries a stable ``code`` for programs and a message for people that says what was expected, what came
and what to do. Messages never hold pixels, request texts, file paths or patient data: whoever reports an error knows
which source it belongs to and names it beside the message. (A `DatasetError` may name files of the user's own table.)
"""

from __future__ import annotations

from typing import ClassVar


class MedImageInsightError(Exception):
    """Base of every error this package raises on purpose.

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
        """``{"code": ..., "message": ...}``, the form every JSON answer of this project uses."""
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
        status: The HTTP status of the server's answer; None where there was no answer.
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


def missing_extra(extra: str, purpose: str) -> MissingExtraError:
    """The error for an optional import that failed: names what it is for and the extra to install."""
    return MissingExtraError(f"{purpose} needs an optional part: pip install 'medimageinsight-onnx[{extra}]'")


def _rebuild(cls: type[MedImageInsightError], message: str, code: str) -> MedImageInsightError:
    return cls(message, code=code)
