"""The index of a store: exact scores, recall and maintenance, in both kinds of stores."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight import search
from tests.search.sample_items import code_of, ids_of, item, vectors


def test_index_returns_exact_scores_and_new_rows(store):
    given = vectors(600)
    store.add([item(number, embedding, parity=number % 2) for number, embedding in enumerate(given)])
    assert store.info().index is None
    store.build_index()
    assert store.index().indexed == 600
    new = vectors(1, seed=99)[0]
    store.add([item("new", new, parity=0)])
    hits = store.search(new, k=5)
    assert hits[0].id == "new"
    for hit in hits[1:]:
        assert hit.score == pytest.approx(float(given[int(hit.id)] @ new), abs=1e-6)
    exact = store.search(new, k=5, exact=True, where="parity = 1")
    odd = np.argsort(-(given @ new)[1::2])[:5] * 2 + 1
    assert ids_of(exact) == [str(number) for number in odd]
    store.compact()
    assert store.info().index.indexed == 601
    assert store.search(new, k=1)[0].id == "new"


def test_index_finds_all_rows_of_a_selective_filter(store):
    given = vectors(600)
    store.add([item(number, embedding, rare=number % 200 == 0) for number, embedding in enumerate(given)])
    store.build_index()
    for query in vectors(10, seed=5):
        assert sorted(ids_of(store.search(query, k=10, where="rare = true"))) == ["0", "200", "400"]


def test_measures_recall_against_exact_searches(store):
    store.add([item(number, embedding) for number, embedding in enumerate(vectors(400))])
    store.build_index()
    measured = search.measure_recall(store, k=5, sample=30)
    assert (measured.k, measured.queries) == (5, 30)
    hits = [
        len({*ids_of(store.search(query.embedding, k=5))} & {*ids_of(store.search(query.embedding, k=5, exact=True))})
        for query in store.get([str(number) for number in range(0, 400, 4)])
    ]
    assert measured.recall == pytest.approx(np.mean(hits) / 5, abs=0.1)
    assert measured.recall > 0.8
    assert measured.index_ms > 0
    assert measured.exact_ms > 0


def test_empty_store_has_no_index_recall_or_duplicates(store):
    assert code_of(store.build_index) == "store_empty"
    assert code_of(lambda: search.measure_recall(store)) == "store_empty"
    store.compact()
    store.maintain()
    assert store.index() is None
    assert search.find_duplicates(store) == []


def test_maintain_builds_and_extends_the_index(store, monkeypatch):
    monkeypatch.setattr("medimageinsight.search.store.INDEX_ROWS", 30)
    store.add([item(number) for number in range(29)])
    store.maintain()
    assert store.index() is None
    store.add([item("last")])
    store.maintain()
    assert store.index().indexed == 30
    store.add([item(f"more{number}") for number in range(20)])
    store.maintain()
    assert store.index().unindexed == 0
