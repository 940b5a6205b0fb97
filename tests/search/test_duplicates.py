"""Pairs of stored images that are nearly the same, in both kinds of stores."""

from __future__ import annotations

import numpy as np

from medimageinsight import search
from tests.search.sample_items import code_of, item, vectors


def test_finds_each_pair_once_best_first(store):
    given = vectors(100)
    near = given[:10] + 0.05 * vectors(10, seed=1)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    store.add([item(f"a{number:03}", embedding, kind="original") for number, embedding in enumerate(given)])
    store.add([item(f"b{number:03}", embedding, kind="copy") for number, embedding in enumerate(near)])
    ids = [f"a{number:03}" for number in range(100)] + [f"b{number:03}" for number in range(10)]
    everything = np.concatenate([given, near])
    cosines = np.triu(everything @ everything.T, k=1)
    expected = {(ids[a], ids[b]) for a, b in np.argwhere(cosines >= 0.95)}
    pairs = search.find_duplicates(store, 0.95)
    assert {(pair.a, pair.b) for pair in pairs} == expected
    assert {(f"a{number:03}", f"b{number:03}") for number in range(10)} <= expected
    assert len(pairs) == len(expected)
    scores = [pair.score for pair in pairs]
    assert scores == sorted(scores, reverse=True)
    assert search.find_duplicates(store, 0.95, limit=3) == pairs[:3]
    assert all(pair.a[0] == pair.b[0] == "b" for pair in search.find_duplicates(store, 0.1, where="kind = 'copy'"))
    assert code_of(lambda: search.find_duplicates(store, 0)) == "threshold_invalid"
    assert code_of(lambda: search.find_duplicates(store, limit=0)) == "limit_invalid"


def test_pairs_do_not_depend_on_the_block_size(store, monkeypatch):
    store.add([item(f"{number:03}", embedding) for number, embedding in enumerate(vectors(60))])
    expected = search.find_duplicates(store, 0.5)
    monkeypatch.setattr("medimageinsight.search.duplicates.INNER_ROWS", 7)
    monkeypatch.setattr("medimageinsight.search.duplicates.OUTER_BYTES", 1)
    assert [(pair.a, pair.b) for pair in search.find_duplicates(store, 0.5)] == [(pair.a, pair.b) for pair in expected]


def test_approximate_search_finds_true_and_near_pairs(store, monkeypatch):
    given = vectors(400)
    near = given[:40] + 0.01 * vectors(40, seed=1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    store.add([item(f"a{number:03}", embedding, part=number % 2) for number, embedding in enumerate(given)])
    store.add([item(f"b{number:03}", embedding, part=number % 2) for number, embedding in enumerate(near)])
    every = search.find_duplicates(store, 0.9)
    found = search.find_duplicates(store, 0.9, approximate=True)
    assert {(pair.a, pair.b) for pair in found} <= {(pair.a, pair.b) for pair in every}
    assert len({(pair.a, pair.b) for pair in found}) == len(found)
    assert {(f"a{number:03}", f"b{number:03}") for number in range(40)} <= {(pair.a, pair.b) for pair in found}
    scores = [pair.score for pair in found]
    assert scores == sorted(scores, reverse=True)
    monkeypatch.setattr("medimageinsight.search.duplicates.INNER_ROWS", 7)
    monkeypatch.setattr("medimageinsight.search.duplicates.OUTER_BYTES", 1)  # several clusters per pass
    assert {(pair.a, pair.b) for pair in search.find_duplicates(store, 0.9, limit=20, approximate=True)} == {
        (pair.a, pair.b) for pair in found[:20]
    }
    odd = search.find_duplicates(store, 0.9, where="part = 1", approximate=True)
    assert odd
    assert all(int(pair.a[1:]) % 2 and int(pair.b[1:]) % 2 for pair in odd)


def test_approximate_search_of_small_stores(store):
    assert search.find_duplicates(store, approximate=True) == []
    store.add([item("a", vectors(1)[0], n=1)])
    assert search.find_duplicates(store, approximate=True) == []
    store.add([item("b", vectors(1)[0], n=1), item("c", vectors(1)[0], n=2)])
    assert [(pair.a, pair.b) for pair in search.find_duplicates(store, approximate=True)] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
