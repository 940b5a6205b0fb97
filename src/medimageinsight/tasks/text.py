"""A text where an image could stand too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Says of a string that it is a text to embed, not the path of an image: ``Text("x-ray chest")``."""

    text: str
