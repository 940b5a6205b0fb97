"""What both kinds of stores do, tested once for both."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from medimageinsight import search
from medimageinsight.errors import InputError, StoreError
from tests.search.sample_items import DIM, IDENTITY, code_of, ids_of, item, vectors

HOSTILE = [
    "it's",
    "'; DROP TABLE items; --",
    '" or 1=1 --',
    "/* comment */",
    "back\\slash",
    "\\'",
    "`tick`",
    "100%",
    "under_score",
    "line\nbreak\ttab",
    "%s %(x)s {} $1 ?",
    "é\u0301 \u202e \U0001fa7b",
    " space ",
    "NULL",
]


def test_what_is_added_is_there_to_the_bit(store):
    given = item("a", modality="x-ray", age=40, weight=61.5, smoker=True, finding=None)
    store.add([given, item("b")])
    found, other = store.get(["a", "b"])
    assert (found.id, found.path) == ("a", "images/a.png")
    assert found.metadata == {"modality": "x-ray", "age": 40, "weight": 61.5, "smoker": True}
    assert [type(value) for value in found.metadata.values()] == [str, int, float, bool]
    assert other.metadata == {}
    assert found.embedding.dtype == np.float32
    np.testing.assert_array_equal(found.embedding, given.embedding)
    assert store.columns == {"modality": "string", "age": "integer", "weight": "float", "smoker": "boolean"}
    assert store.count() == 2
    assert store.existing(["a", "x"]) == {"a"}


def test_a_search_is_by_cosine_best_first(store):
    given = vectors(200)
    store.add([item(number, embedding) for number, embedding in enumerate(given)])
    query = vectors(1, seed=7)[0]
    cosines = given @ query
    hits = store.search(10 * query, k=5)
    assert ids_of(hits) == [str(number) for number in np.argsort(-cosines)[:5]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(cosines)[::-1][:5], atol=1e-6)
    assert hits[0].path == f"images/{hits[0].id}.png"


def test_k_may_be_more_than_there_are_and_an_empty_store_has_none(store):
    assert store.search(vectors(1)[0]) == []
    store.add([item("a"), item("b")])
    assert len(store.search(vectors(1)[0], k=10)) == 2


def test_min_score_cuts_off(store):
    store.add([item(number, embedding) for number, embedding in enumerate(vectors(50))])
    query = vectors(1, seed=3)[0]
    everything = store.search(query, k=50)
    kept = store.search(query, k=50, min_score=0.2)
    assert kept == [hit for hit in everything if hit.score >= 0.2]
    assert 0 < len(kept) < 50


def test_more_like_includes_the_item_itself(store):
    store.add([item(number, embedding) for number, embedding in enumerate(vectors(20))])
    hits = store.more_like("7", k=3)
    assert hits[0].id == "7"
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)
    assert hits[0].score <= 1.0
    assert code_of(lambda: store.more_like("nobody")) == "ids_unknown"


def test_more_like_may_leave_out_the_same_patient(store):
    near = vectors(1)[0]
    store.add([item("a", near, patient="p1", n=1), item("b", near, patient="p1", n=2), item("c", near, patient="p2")])
    store.add([item("d", near), item("e", near, patient="o'p1")])
    assert sorted(ids_of(store.more_like("a", exclude_same="patient"))) == ["c", "d", "e"]
    assert ids_of(store.more_like("e", exclude_same="patient", where="n = 2")) == ["b"]
    assert sorted(ids_of(store.more_like("b", exclude_same="n"))) == ["a", "c", "d", "e"]
    assert code_of(lambda: store.more_like("d", exclude_same="patient")) == "column_empty"
    assert code_of(lambda: store.more_like("a", exclude_same="ward")) == "column_unknown"


def test_hits_have_the_columns_that_have_values(store):
    store.add([item("a", age=1, site="A"), item("b", age=2)])
    metadata = {hit.id: hit.metadata for hit in store.search(vectors(1)[0])}
    assert metadata == {"a": {"age": 1, "site": "A"}, "b": {"age": 2}}
    assert set(store.search(vectors(1)[0])[0].to_dict()) == {"id", "path", "score", "metadata"}


def test_ids_that_come_twice_are_refused_and_nothing_is_written(store):
    store.add([item("a", age=1)])
    assert code_of(lambda: store.add([item("b"), item("c"), item("b")])) == "ids_duplicate"
    assert code_of(lambda: store.add([item("d", site="A"), item("a")])) == "ids_duplicate"
    assert store.count() == 1
    assert store.columns == {"age": "integer"}


def test_an_update_replaces_as_a_whole(store):
    store.add([item("a", age=1, site="A"), item("b", age=2)])
    store.update([item("a", vectors(1, seed=5)[0], age=3)])
    found = store.get(["a"])[0]
    assert found.metadata == {"age": 3}
    np.testing.assert_array_equal(found.embedding, vectors(1, seed=5)[0])
    assert store.count() == 2
    assert store.get(["b"])[0].metadata == {"age": 2}
    assert code_of(lambda: store.update([item("b", age=9), item("x")])) == "ids_unknown"
    assert store.get(["b"])[0].metadata == {"age": 2}


def test_deleted_items_are_gone(store):
    store.add([item(number, group="even" if number % 2 == 0 else "odd") for number in range(10)])
    assert store.delete(["1", "3", "3", "nobody"]) == 2
    assert store.count() == 8
    assert store.delete(where="group = 'odd'") == 3
    assert store.delete([]) == 0
    assert code_of(lambda: store.get(["0", "1"])) == "ids_unknown"
    assert code_of(store.delete) == "delete_what"
    store.compact()
    assert sorted(ids_of(store.search(vectors(1)[0]))) == ["0", "2", "4", "6", "8"]
    store.add([item("1")])
    assert store.count() == 6


def test_get_keeps_the_order_asked_for(store):
    store.add([item(one) for one in "abc"])
    assert [one.id for one in store.get(["c", "a", "c"])] == ["c", "a", "c"]
    assert store.get([]) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data_everywhere(store, text):
    store.add([item(text, vectors(1)[0], note=text), item("other", note="harmless")])
    literal = text.replace("'", "''")
    found = store.search(vectors(1)[0], where=f"note = '{literal}'")
    assert [(hit.id, hit.metadata) for hit in found] == [(text, {"note": text})]
    assert store.get([text])[0].metadata == {"note": text}
    assert store.count(where=f"note in ('{literal}', 'x')") == 1
    assert store.count(where=f"id != '{literal}'") == 1
    escaped = "".join(f"\\{one}" if one in "%_\\" else one for one in literal)
    assert store.count(where=f"note like '{escaped}'") == 1
    assert ids_of(store.more_like(text, exclude_same="note")) == ["other"]
    store.update([item(text, note="new")])
    assert store.delete([text]) == 1
    assert store.count() == 1


@pytest.mark.parametrize("bad", ["a\0b", "half \ud800 pair"])
def test_text_that_no_store_can_hold_is_refused(store, bad):
    assert code_of(lambda: store.add([item(bad, vectors(1)[0])])) == "id_invalid"
    assert code_of(lambda: store.add([search.Item(id="a", path=bad, embedding=vectors(1)[0])])) == "path_invalid"
    assert code_of(lambda: store.add([item("a", note=bad)])) == "metadata_value_invalid"
    store.add([item("a", note="x")])
    assert code_of(lambda: store.count(where=f"note = '{bad}'")) == "filter_invalid"
    assert store.count() == 1


def test_ids_have_a_length(store):
    store.add([item("é" * 1000)])
    assert code_of(lambda: store.add([item("x" * 2001)])) == "id_invalid"
    assert code_of(lambda: store.add([item("")])) == "id_invalid"


@pytest.mark.parametrize(
    "name", ["id", "PATH", "embedding", "score", "_distance", "ctid", "a b", "a`b", 'a"b', "", "x" * 64]
)
def test_names_that_no_column_can_have_are_refused(store, name):
    given = search.Item(id="a", embedding=vectors(1)[0], metadata={name: 1})
    assert code_of(lambda: store.add([given])) == "metadata_column_invalid"
    assert store.count() == 0


def test_names_of_columns_are_as_given(store):
    store.add([item("a", PatientAge=40, größe=1.8, select="x", user="y", Order=2)])
    assert store.count(where="PatientAge = 40 and \"größe\" > 1 and \"select\" = 'x' and user = 'y' and Order = 2") == 1
    assert store.get(["a"])[0].metadata == {"PatientAge": 40, "größe": 1.8, "select": "x", "user": "y", "Order": 2}
    assert code_of(lambda: store.add([item("b", patientage=1)])) == "metadata_column_invalid"


def test_columns_keep_their_types(store):
    store.add([item("a", age=1, weight=1.5, site="A", smoker=True)])
    for column, value in [("age", "x"), ("age", 1.5), ("age", True), ("weight", "x"), ("site", 1), ("smoker", 1)]:
        assert code_of(lambda column=column, value=value: store.add([item("b", **{column: value})])) == (
            "metadata_type_conflict"
        )
    assert code_of(lambda: store.add([item("b", new=1), item("c", new="x")])) == "metadata_type_conflict"
    store.add([item("b", weight=2, age=None), item("c", weight=np.float32(0.5), age=np.int64(3))])
    assert store.get(["b"])[0].metadata == {"weight": 2.0}
    assert store.get(["c"])[0].metadata == {"weight": 0.5, "age": 3}
    assert "new" not in store.columns


@pytest.mark.parametrize("value", [math.inf, 2**63, -(2**63), b"bytes", [1], {"a": 1}, object()])
def test_values_that_no_column_can_hold_are_refused(store, value):
    assert code_of(lambda: store.add([item("a", x=value)])) == "metadata_value_invalid"


def test_extreme_values_come_back(store):
    given = {"i": 2**63 - 1, "j": -(2**63 - 1), "f": 1.7976931348623157e308, "g": 5e-324, "h": 0.1}
    store.add([item("a", **given), item("b", i=float("nan"))])
    assert store.get(["a"])[0].metadata == given
    assert store.count(where=f"i = {2**63 - 1} and j < -9223372036854775806 and g > 0 and h = 0.1 and f > 1e307") == 1
    assert store.get(["b"])[0].metadata == {}


@pytest.mark.parametrize(
    "embedding",
    [
        np.zeros(DIM, np.float32),
        np.full(DIM, np.nan, np.float32),
        np.ones(DIM, np.float32),
        np.ones(DIM + 1, np.float32),
        np.ones((1, DIM), np.float32),
    ],
)
def test_embeddings_have_to_be_the_models(store, embedding):
    assert code_of(lambda: store.add([item("good"), item("a", embedding)])) == "embedding_invalid"
    assert store.count() == 0


@pytest.mark.parametrize("vector", [np.zeros(DIM), np.ones(DIM + 1), np.full(DIM, np.inf), np.ones((1, DIM)), "text"])
def test_a_vector_to_search_for_has_to_be_one(store, vector):
    assert code_of(lambda: store.search(vector)) == "embedding_invalid"


@pytest.mark.parametrize("k", [0, -1, 10**9])
def test_k_has_a_range(store, k):
    assert code_of(lambda: store.search(vectors(1)[0], k=k)) == "k_invalid"


def test_a_filter_is_checked_against_the_columns(store):
    store.add([item("a", age=1)])
    assert code_of(lambda: store.search(vectors(1)[0], where="ward = 1")) == "filter_invalid"
    assert code_of(lambda: store.count(where="age = 'x'")) == "filter_invalid"
    assert code_of(lambda: store.delete(where="age = 1; drop table x")) == "filter_invalid"
    assert store.count() == 1


def test_it_is_all_there_when_opened_again(store, location):
    store.add([item("a", age=1)])
    with search.open_store(location) as again:
        assert again.identity == IDENTITY
        assert again.identity.salt == store.identity.salt
        assert again.columns == {"age": "integer"}
        store.add([item("b", site="A")])  # two open at once see each other's work
        assert again.count() == 2
        assert again.columns == {"age": "integer", "site": "string"}
        assert ids_of(again.search(item("b").embedding, k=1, where="site = 'A'")) == ["b"]
        again.add([item("c", site="B")])
    assert store.count() == 3


def test_many_threads_write_and_search_at_once(store):
    store.add([item("first")])
    failures = []

    def work(number: int) -> None:
        try:
            for place in range(5):
                store.add([item(f"{number}-{place}", **{f"column{number}": place})])
                assert ids_of(store.search(item(f"{number}-{place}").embedding, k=1, where=f"column{number} = {place}"))
        except Exception as error:  # the test's own thread has to see it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.count() == 21
    assert sum(len(ids) for ids, _ in store.scan(rows=4)) == 21


def test_of_two_writers_of_one_id_one_wins(store, location):
    outcomes = []

    def work(writer: search.Store, number: int) -> None:
        try:
            writer.add([item("same", n=number)])
            outcomes.append("added")
        except InputError as error:
            outcomes.append(error.code)

    with search.open_store(location) as other:
        threads = [threading.Thread(target=work, args=pair) for pair in ((store, 1), (other, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["added", "ids_duplicate"]
    assert store.count() == 1


def test_the_index_changes_no_score_and_new_rows_are_found(store):
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


def test_a_filter_that_few_fit_still_finds_them_through_the_index(store):
    given = vectors(600)
    store.add([item(number, embedding, rare=number % 200 == 0) for number, embedding in enumerate(given)])
    store.build_index()
    for query in vectors(10, seed=5):
        assert sorted(ids_of(store.search(query, k=10, where="rare = true"))) == ["0", "200", "400"]


def test_recall_is_measured_against_the_exact_answer(store):
    store.add([item(number, embedding) for number, embedding in enumerate(vectors(400))])
    store.build_index()
    measured = search.measure_recall(store, k=5, sample=30)
    assert (measured.k, measured.queries) == (5, 30)
    hits = [
        len({*ids_of(store.search(one.embedding, k=5))} & {*ids_of(store.search(one.embedding, k=5, exact=True))})
        for one in store.get([str(number) for number in range(0, 400, 4)])
    ]
    assert measured.recall == pytest.approx(np.mean(hits) / 5, abs=0.1)
    assert measured.recall > 0.8
    assert measured.index_ms > 0
    assert measured.exact_ms > 0


def test_an_empty_store_has_nothing_to_index_or_measure(store):
    assert code_of(store.build_index) == "store_empty"
    assert code_of(lambda: search.measure_recall(store)) == "store_empty"
    store.compact()
    store.maintain()
    assert store.index() is None
    assert search.find_duplicates(store) == []


def test_duplicates_are_found_each_once_best_first(store):
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


def test_duplicates_do_not_depend_on_the_blocks(store, monkeypatch):
    store.add([item(f"{number:03}", embedding) for number, embedding in enumerate(vectors(60))])
    whole = search.find_duplicates(store, 0.5)
    monkeypatch.setattr("medimageinsight.search.duplicates.INNER_ROWS", 7)
    monkeypatch.setattr("medimageinsight.search.duplicates.OUTER_BYTES", 1)
    assert [(one.a, one.b) for one in search.find_duplicates(store, 0.5)] == [(one.a, one.b) for one in whole]


def test_duplicates_within_cells_are_pairs_of_all_and_the_nearest_of_them(store, monkeypatch):
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
    monkeypatch.setattr("medimageinsight.search.duplicates.OUTER_BYTES", 1)  # several cells a reading
    assert {(pair.a, pair.b) for pair in search.find_duplicates(store, 0.9, limit=20, approximate=True)} == {
        (pair.a, pair.b) for pair in found[:20]
    }
    odd = search.find_duplicates(store, 0.9, where="part = 1", approximate=True)
    assert odd
    assert all(int(pair.a[1:]) % 2 and int(pair.b[1:]) % 2 for pair in odd)


def test_duplicates_within_cells_of_small_stores(store):
    assert search.find_duplicates(store, approximate=True) == []
    store.add([item("a", vectors(1)[0], n=1)])
    assert search.find_duplicates(store, approximate=True) == []
    store.add([item("b", vectors(1)[0], n=1), item("c", vectors(1)[0], n=2)])
    assert [(pair.a, pair.b) for pair in search.find_duplicates(store, approximate=True)] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


def test_an_index_is_built_when_it_pays(store, monkeypatch):
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


def test_a_store_is_made_once(store, location):
    with pytest.raises(StoreError) as caught:
        search.create_store(location, identity=IDENTITY)
    assert caught.value.code == "store_exists"
