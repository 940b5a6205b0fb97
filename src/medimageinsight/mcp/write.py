"""Results as answers: numbers with few digits, errors in their places, a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.errors import InputError
from medimageinsight.mcp import answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.mcp.images import Attached
    from medimageinsight.search import Hit

LINES = 10  # of an answer's text
DIGITS = 4  # of an answer's numbers


def classified(
    names: Sequence[str],
    found: Sequence[Mapping[str, float] | InputError],
    neighbours: Sequence[list[answers.NeighbourAnswer]] = (),
    pictures: Sequence[bytes] = (),
) -> answers.ToolResult:
    """The answer of a classification.

    Args:
        names: The images as they were asked for.
        found: Of each the probability of every label, or its error.
        neighbours: Of each who voted, where any did.
        pictures: Of those.
    """
    results = []
    for place, (name, one) in enumerate(zip(names, found, strict=True)):
        if isinstance(one, InputError):
            results.append(answers.Classified(image=name, error=failure(one)))
            continue
        probabilities = {label: number(one[label]) for label in sorted(one, key=lambda label: -one[label])}
        voters = neighbours[place] if neighbours else []
        results.append(
            answers.Classified(
                image=name,
                label=next(iter(probabilities), None),
                probabilities=probabilities,
                neighbours=voters,
            )
        )
    lines = [
        f"{one.image}: "
        + (
            one.error.message
            if one.error
            else ", ".join(f"{label} {chance:.2f}" for label, chance in list(one.probabilities.items())[:3])
        )
        for one in results
    ]
    return answers.ToolResult(
        data=answers.ClassifyAnswer(results=results),
        text=summary("most probable first:", lines),
        pictures=list(pictures),
    )


def hit_fields(hit: Hit, attached: Attached) -> dict[str, Any]:
    """The fields of a `HitAnswer`; its picture is attached, where there is one."""
    return {**hit.to_dict(), "score": number(hit.score), "picture": attached.add(hit)}


def failure(error: InputError) -> answers.Failure:
    """The error in an image's place."""
    return answers.Failure(code=error.code, message=error.message)


def number(value: float) -> float:
    """As many digits as mean something; fewer words for an agent to read."""
    return round(float(value), DIGITS)


def described(metadata: Mapping[str, Any]) -> str:
    """Metadata as words in brackets, nothing where there is none."""
    return f" ({', '.join(f'{name}={value}' for name, value in metadata.items())})" if metadata else ""


def summary(head: str, lines: Sequence[str], most: int = LINES) -> str:
    """A headline and so many lines at most."""
    more = [f"and {len(lines) - most} more in the structured answer"] if len(lines) > most else []
    return "\n".join([head, *lines[:most], *more])
