"""Defects of a study that did not prevent its use, and the type of the callback for unusable files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from medimageinsight.errors import InputError

OnFailure: TypeAlias = Callable[[str, InputError], None]
"""Called with the name of a file that cannot be used, and the reason."""


@dataclass(frozen=True)
class StudyWarning:
    """A defect of a series that did not prevent its use, such as missing slices.

    Args:
        code: Stable identifier for a program, lower snake case.
        message: One line for a person: what was found and what was used; never patient data.
    """

    code: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return ``{"code": ..., "message": ...}``."""
        return {"code": self.code, "message": self.message}
