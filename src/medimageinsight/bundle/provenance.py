"""The ancestors of a model, as stored in its manifest and as a tree of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle.manifest import MAX_GENERATIONS, Parent, is_parent

if TYPE_CHECKING:
    from medimageinsight.bundle.manifest import Manifest

_DESCRIPTIONS = {
    "trained": "trained by",
    "fine-tuned": "fine-tuned from",
    "converted": "converted from",
    "precision": "another precision of",
}


def parents_of(provenance: Mapping[str, Any]) -> tuple[Parent, ...]:
    """Return the parents in a checkpoint's provenance: the checkpoint, and below it the models it was fine-tuned from.

    Invalid entries are left out: provenance is a record, and never a reason to refuse a model.
    """
    checkpoint = provenance.get("checkpoint")
    digest = checkpoint.get("sha256") if isinstance(checkpoint, Mapping) else None
    parents = _fine_tuned_from(provenance.get("parents"), 1)
    parent = Parent(name="checkpoint", sha256=str(digest), how="converted", parents=parents)
    return (parent,) if is_parent(parent) else ()


def all_parents(manifest: Manifest) -> tuple[Parent, ...]:
    """Return a manifest's parents; for a manifest older than this field, those in its provenance."""
    return manifest.parents or parents_of(manifest.provenance)


def provenance_tree(manifest: Manifest) -> list[str]:
    """Return the model and below it its ancestors as lines of text, indented as a tree."""
    return [f"{manifest.name} ({manifest.precision})", *_branches(all_parents(manifest), "")]


def _fine_tuned_from(entries: object, generation: int) -> tuple[Parent, ...]:
    if not isinstance(entries, list) or generation >= MAX_GENERATIONS:
        return ()
    parents = (
        Parent(
            name=str(entry.get("name")),
            sha256=str(entry.get("sha256")),
            how="fine-tuned",
            parents=_fine_tuned_from(entry.get("parents"), generation + 1),
        )
        for entry in entries
        if isinstance(entry, Mapping)
    )
    return tuple(parent for parent in parents if is_parent(parent))


def _branches(parents: tuple[Parent, ...], indent: str) -> list[str]:
    lines = []
    for index, parent in enumerate(parents):
        last = index == len(parents) - 1
        description = f"{_DESCRIPTIONS[parent.how]} {parent.name} {parent.sha256[:12]}"
        lines.append(f"{indent}{'└──' if last else '├──'} {description}")
        lines += _branches(parent.parents, f"{indent}{'    ' if last else '│   '}")
    return lines
