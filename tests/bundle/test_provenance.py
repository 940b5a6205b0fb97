"""The parents of a model: written, read, shown, and read strictly."""

from __future__ import annotations

import dataclasses
import json

import pytest

from medimageinsight.bundle import Manifest, Parent, parents_of, provenance_tree
from medimageinsight.bundle.provenance import all_parents
from medimageinsight.errors import BundleError
from tests import toy

BASE = Parent(name="base", sha256="a" * 64, how="trained")
TUNED = Parent(name="tuned", sha256="b" * 64, how="fine-tuned", parents=(BASE,))


def test_parents_are_written_read_and_shown_as_a_tree():
    teacher = Parent(name="teacher", sha256="c" * 64, how="precision")
    manifest = dataclasses.replace(toy.manifest(), parents=(TUNED, teacher))
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert provenance_tree(manifest) == [
        "toy (fp32)",
        "├── fine-tuned from tuned bbbbbbbbbbbb",
        "│   └── trained by base aaaaaaaaaaaa",
        "└── another precision of teacher cccccccccccc",
    ]


def test_a_manifest_without_parents_has_no_such_key():
    text = toy.manifest().to_json()
    assert "parents" not in json.loads(text)
    assert Manifest.from_json(text).parents == ()
    assert provenance_tree(toy.manifest()) == ["toy (fp32)"]


def test_parents_of_an_older_bundle_are_read_from_its_provenance():
    provenance = {
        "checkpoint": {"bytes": 1, "sha256": "d" * 64},
        "parents": [
            {"name": "big", "sha256": "e" * 64, "learned": "lora", "parents": [{"name": "old", "sha256": "f" * 64}]},
            {"name": "../evil", "sha256": "e" * 64},
            {"name": "torn", "sha256": None},
            7,
        ],
    }
    (checkpoint,) = parents_of(provenance)
    assert (checkpoint.how, checkpoint.sha256) == ("converted", "d" * 64)
    (big,) = checkpoint.parents
    assert (big.name, big.how, big.parents[0].name) == ("big", "fine-tuned", "old")
    manifest = dataclasses.replace(toy.manifest(), provenance=provenance)
    assert all_parents(manifest) == (checkpoint,)
    assert all_parents(dataclasses.replace(manifest, parents=(BASE,))) == (BASE,)
    assert parents_of({}) == parents_of({"checkpoint": {"sha256": "short"}}) == ()


@pytest.mark.parametrize(
    "parents",
    [
        [{"name": "../up", "sha256": "a" * 64, "how": "trained"}],
        [{"name": "base", "sha256": "zz", "how": "trained"}],
        [{"name": "base", "sha256": "a" * 64, "how": "stolen"}],
        [{"name": "base", "sha256": "a" * 64}],
        "base",
    ],
)
def test_an_invalid_parent_is_refused(parents):
    data = json.loads(toy.manifest().to_json()) | {"parents": parents}
    with pytest.raises(BundleError, match="parents"):
        Manifest.from_json(json.dumps(data))


@pytest.mark.parametrize("levels", [20, 400])
def test_too_many_generations_are_refused(levels):
    parents = []
    for _ in range(levels):
        parents = [{"name": "base", "sha256": "a" * 64, "how": "trained", "parents": parents}]
    data = json.loads(toy.manifest().to_json()) | {"parents": parents}
    with pytest.raises(BundleError):
        Manifest.from_json(json.dumps(data))
