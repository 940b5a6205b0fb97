"""The line of a model: what it was made from, read from a manifest and shown as a small tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle.manifest import MAX_GENERATIONS, Parent, is_parent

if TYPE_CHECKING:
    from medimageinsight.bundle.manifest import Manifest

_HOW = {
    "trained": "trained by",
    "fine-tuned": "fine-tuned from",
    "converted": "converted from",
    "precision": "another precision of",
}
_DIGITS = 12  # of a checksum, enough for people


def parents_of(provenance: Mapping[str, Any]) -> tuple[Parent, ...]:
    """The line that a checkpoint's provenance tells: the checkpoint itself, and below it what it was fine-tuned from.

    What is not of the form is left out: a line is a record, and never a reason to refuse a model.
    """
    checkpoint = provenance.get("checkpoint")
    digest = checkpoint.get("sha256") if isinstance(checkpoint, Mapping) else None
    made = Parent(
        name="checkpoint", sha256=str(digest), how="converted", parents=_started_from(provenance.get("parents"), 1)
    )
    return (made,) if is_parent(made) else ()


def lineage(manifest: Manifest) -> tuple[Parent, ...]:
    """A manifest's parents; of one from before it kept them, what its provenance tells."""
    return manifest.parents or parents_of(manifest.provenance)


def tree(manifest: Manifest) -> list[str]:
    """The model and below it its line, one line of text each."""
    return [f"{manifest.name} ({manifest.precision})", *_branches(lineage(manifest), "")]


def _started_from(told: object, generation: int) -> tuple[Parent, ...]:
    if not isinstance(told, list) or generation >= MAX_GENERATIONS:
        return ()
    parents = (
        Parent(
            name=str(one.get("name")),
            sha256=str(one.get("sha256")),
            how="fine-tuned",
            parents=_started_from(one.get("parents"), generation + 1),
        )
        for one in told
        if isinstance(one, Mapping)
    )
    return tuple(parent for parent in parents if is_parent(parent))


def _branches(parents: tuple[Parent, ...], indent: str) -> list[str]:
    lines = []
    for place, parent in enumerate(parents):
        last = place == len(parents) - 1
        lines.append(f"{indent}{'└──' if last else '├──'} {_HOW[parent.how]} {parent.name} {parent.sha256[:_DIGITS]}")
        lines += _branches(parent.parents, f"{indent}{'    ' if last else '│   '}")
    return lines
