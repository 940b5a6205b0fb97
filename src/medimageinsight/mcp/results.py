"""Results of tools: structured data with rounded numbers, a summary of a few lines, and thumbnails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight import schemas
from medimageinsight.bundle import UNLIKE
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.mcp.files import Thumbnails
    from medimageinsight.search import Hit, StoreClassification
    from medimageinsight.tasks import ZeroShotResult

MAX_LINES = 10  # of a summary
DIGITS = 4  # of a number: more mean nothing, and cost an agent words


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a tool returns: data for programs, a summary for readers, and thumbnails (PNG) where requested."""

    data: schemas.ResponseModel
    text: str
    thumbnails: list[bytes] = field(default_factory=list)


def classified(
    images: list[schemas.ClassifiedImage], found: Sequence[Any] = (), *, thumbnails: Sequence[bytes] = ()
) -> ToolResult:
    """Return the result of a classification; `found` are the results that may have unknown words."""
    warnings = warnings_of(found)
    lines = [f"{image.image}: {_most_probable(image)}" for image in images]
    return ToolResult(
        data=schemas.ClassifiedImages(results=images, warnings=warnings),
        text=summary("most probable first:", lines, warnings=warnings),
        thumbnails=list(thumbnails),
    )


def warnings_of(found: Sequence[Any]) -> list[schemas.TextWarning] | None:
    """Return the warnings about the words of a call's texts, which are the same for each of its images."""
    return schemas.TextWarning.of(next((item.unknown_words for item in found if not isinstance(item, InputError)), ()))


def evidence(cosine: float | None, unlike: bool | None) -> str:
    """Return the best cosine and the mark of an image, for readers."""
    shown = "" if cosine is None else f" (best cosine {cosine:.2f})"
    return f"{shown}; {UNLIKE}" if unlike else shown


def classified_image(
    name: str,
    found: ZeroShotResult | StoreClassification | InputError,
    neighbours: list[schemas.FoundNeighbour] | None = None,
    by_store: StoreClassification | None = None,
) -> schemas.ClassifiedImage:
    """Return the probabilities of one image, highest first, or its error."""
    if isinstance(found, InputError):
        return schemas.ClassifiedImage(image=name, error=schemas.ErrorDetail.of(found))
    ranked = sorted(found.probabilities.items(), key=lambda entry: -entry[1])
    probabilities = {label: rounded(value) for label, value in ranked}
    return schemas.ClassifiedImage(
        image=name,
        label=next(iter(probabilities), None),
        probabilities=probabilities,
        cosine=None if found.cosine is None else rounded(found.cosine),
        unlike_validation=found.unlike_validation,
        neighbours=neighbours or [],
        excluded=0 if by_store is None else by_store.excluded,
        patients_unknown=None if by_store is None else by_store.patients_unknown,
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


def summary(
    head: str,
    lines: Sequence[str],
    max_lines: int = MAX_LINES,
    *,
    warnings: Sequence[schemas.TextWarning] | None = None,
) -> str:
    """Return a headline, the first lines, and warnings."""
    more = [f"and {len(lines) - max_lines} more in the structured answer"] if len(lines) > max_lines else []
    notes = [f"warning: {warning.message}: {', '.join(warning.words)}" for warning in warnings or ()]
    return "\n".join([head, *lines[:max_lines], *more, *notes])


def _most_probable(image: schemas.ClassifiedImage) -> str:
    if image.error:
        return image.error.message
    best = ", ".join(f"{label} {value:.2f}" for label, value in list(image.probabilities.items())[:3])
    return best + evidence(image.cosine, image.unlike_validation)
