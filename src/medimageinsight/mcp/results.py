"""Results of tools: structured data with rounded numbers, a summary of a few lines, and thumbnails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight import schemas
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.mcp.files import Thumbnails
    from medimageinsight.search import Hit, StoreClassification

MAX_LINES = 10  # of a summary
DIGITS = 4  # of a number: more mean nothing, and cost an agent words


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a tool returns: data for programs, a summary for readers, and thumbnails (PNG) where requested."""

    data: schemas.ResponseModel
    text: str
    thumbnails: list[bytes] = field(default_factory=list)


def classified(images: list[schemas.ClassifiedImage], thumbnails: Sequence[bytes] = ()) -> ToolResult:
    """Return the result of a classification."""
    lines = [f"{image.image}: {_most_probable(image)}" for image in images]
    return ToolResult(
        data=schemas.ClassifiedImages(results=images),
        text=summary("most probable first:", lines),
        thumbnails=list(thumbnails),
    )


def classified_image(
    name: str, found: Mapping[str, float] | InputError, neighbours: list[schemas.FoundNeighbour] | None = None
) -> schemas.ClassifiedImage:
    """Return the probabilities of one image, highest first, or its error."""
    if isinstance(found, InputError):
        return schemas.ClassifiedImage(image=name, error=schemas.ErrorDetail.of(found))
    probabilities = {label: rounded(found[label]) for label in sorted(found, key=lambda label: -found[label])}
    return schemas.ClassifiedImage(
        image=name,
        label=next(iter(probabilities), None),
        probabilities=probabilities,
        neighbours=neighbours or [],
    )


def found_neighbours(found: StoreClassification, thumbnails: Thumbnails) -> list[schemas.FoundNeighbour]:
    """Return the stored images that voted, with their thumbnails."""
    return [
        schemas.FoundNeighbour(
            **hit_members(neighbour.hit, thumbnails), label=neighbour.label, weight=rounded(neighbour.weight)
        )
        for neighbour in found.neighbours
    ]


def hit_members(hit: Hit, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return the members of a `FoundImage`."""
    return {**hit.to_dict(), "score": rounded(hit.score), "thumbnail": thumbnails.add(hit)}


def rounded(value: float) -> float:
    """Return a number of as many digits as mean something."""
    return round(float(value), DIGITS)


def in_brackets(metadata: Mapping[str, Any]) -> str:
    """Return metadata as words in brackets, and nothing for none."""
    return f" ({', '.join(f'{name}={value}' for name, value in metadata.items())})" if metadata else ""


def summary(head: str, lines: Sequence[str], max_lines: int = MAX_LINES) -> str:
    """Return a headline and the first lines."""
    more = [f"and {len(lines) - max_lines} more in the structured answer"] if len(lines) > max_lines else []
    return "\n".join([head, *lines[:max_lines], *more])


def _most_probable(image: schemas.ClassifiedImage) -> str:
    if image.error:
        return image.error.message
    return ", ".join(f"{label} {value:.2f}" for label, value in list(image.probabilities.items())[:3])
