"""The protocol of stores, tested for both kinds."""

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


def test_added_items_are_returned_exactly(store):
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


def test_search_returns_the_best_cosines_first(store):
    given = vectors(200)
    store.add([item(number, embedding) for number, embedding in enumerate(given)])
    query = vectors(1, seed=7)[0]
    cosines = given @ query
    hits = store.search(10 * query, k=5)
    assert ids_of(hits) == [str(number) for number in np.argsort(-cosines)[:5]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(cosines)[::-1][:5], atol=1e-6)
    assert hits[0].path == f"images/{hits[0].id}.png"


def test_k_may_exceed_the_count(store):
    assert store.search(vectors(1)[0]) == []
    store.add([item("a"), item("b")])
    assert len(store.search(vectors(1)[0], k=10)) == 2


def test_min_score_limits_hits(store):
    store.add([item(number, embedding) for number, embedding in enumerate(vectors(50))])
    query = vectors(1, seed=3)[0]
    everything = store.search(query, k=50)
    hits = store.search(query, k=50, min_score=0.2)
    assert hits == [hit for hit in everything if hit.score >= 0.2]
    assert 0 < len(hits) < 50


def test_more_like_includes_the_item_itself(store):
    store.add([item(number, embedding) for number, embedding in enumerate(vectors(20))])
    hits = store.more_like("7", k=3)
    assert hits[0].id == "7"
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)
    assert hits[0].score <= 1.0
    assert code_of(lambda: store.more_like("nobody")) == "ids_unknown"


def test_more_like_can_exclude_the_same_patient(store):
    near = vectors(1)[0]
    store.add([item("a", near, patient="p1", n=1), item("b", near, patient="p1", n=2), item("c", near, patient="p2")])
    store.add([item("d", near), item("e", near, patient="o'p1")])
    assert sorted(ids_of(store.more_like("a", exclude_same="patient"))) == ["c", "d", "e"]
    assert ids_of(store.more_like("e", exclude_same="patient", where="n = 2")) == ["b"]
    assert sorted(ids_of(store.more_like("b", exclude_same="n"))) == ["a", "c", "d", "e"]
    assert code_of(lambda: store.more_like("d", exclude_same="patient")) == "column_empty"
    assert code_of(lambda: store.more_like("a", exclude_same="ward")) == "column_unknown"


def test_hits_contain_columns_with_values(store):
    store.add([item("a", age=1, site="A"), item("b", age=2)])
    metadata = {hit.id: hit.metadata for hit in store.search(vectors(1)[0])}
    assert metadata == {"a": {"age": 1, "site": "A"}, "b": {"age": 2}}
    assert set(store.search(vectors(1)[0])[0].to_dict()) == {"id", "path", "score", "metadata"}


def test_rejects_duplicate_ids_without_writing(store):
    store.add([item("a", age=1)])
    assert code_of(lambda: store.add([item("b"), item("c"), item("b")])) == "ids_duplicate"
    assert code_of(lambda: store.add([item("d", site="A"), item("a")])) == "ids_duplicate"
    assert store.count() == 1
    assert store.columns == {"age": "integer"}


def test_update_replaces_items_completely(store):
    store.add([item("a", age=1, site="A"), item("b", age=2)])
    store.update([item("a", vectors(1, seed=5)[0], age=3)])
    found = store.get(["a"])[0]
    assert found.metadata == {"age": 3}
    np.testing.assert_array_equal(found.embedding, vectors(1, seed=5)[0])
    assert store.count() == 2
    assert store.get(["b"])[0].metadata == {"age": 2}
    assert code_of(lambda: store.update([item("b", age=9), item("x")])) == "ids_unknown"
    assert store.get(["b"])[0].metadata == {"age": 2}


def test_delete_removes_items(store):
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


def test_get_preserves_the_order_of_ids(store):
    store.add([item(item_id) for item_id in "abc"])
    assert [stored.id for stored in store.get(["c", "a", "c"])] == ["c", "a", "c"]
    assert store.get([]) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data(store, text):
    store.add([item(text, vectors(1)[0], note=text), item("other", note="harmless")])
    literal = text.replace("'", "''")
    found = store.search(vectors(1)[0], where=f"note = '{literal}'")
    assert [(hit.id, hit.metadata) for hit in found] == [(text, {"note": text})]
    assert store.get([text])[0].metadata == {"note": text}
    assert store.count(where=f"note in ('{literal}', 'x')") == 1
    assert store.count(where=f"id != '{literal}'") == 1
    escaped = "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in literal)
    assert store.count(where=f"note like '{escaped}'") == 1
    assert ids_of(store.more_like(text, exclude_same="note")) == ["other"]
    store.update([item(text, note="new")])
    assert store.delete([text]) == 1
    assert store.count() == 1


@pytest.mark.parametrize("bad", ["a\0b", "half \ud800 pair"])
def test_rejects_text_that_cannot_be_stored(store, bad):
    assert code_of(lambda: store.add([item(bad, vectors(1)[0])])) == "id_invalid"
    assert code_of(lambda: store.add([search.Item(id="a", path=bad, embedding=vectors(1)[0])])) == "path_invalid"
    assert code_of(lambda: store.add([item("a", note=bad)])) == "metadata_value_invalid"
    store.add([item("a", note="x")])
    assert code_of(lambda: store.count(where=f"note = '{bad}'")) == "filter_invalid"
    assert store.count() == 1


def test_ids_have_a_length_limit(store):
    store.add([item("é" * 1000)])
    assert code_of(lambda: store.add([item("x" * 2001)])) == "id_invalid"
    assert code_of(lambda: store.add([item("")])) == "id_invalid"


@pytest.mark.parametrize("name", ["id", "PATH", "embedding", "_distance", "ctid", "a b", "a`b", 'a"b', "", "x" * 64])
def test_rejects_invalid_column_names(store, name):
    given = search.Item(id="a", embedding=vectors(1)[0], metadata={name: 1})
    assert code_of(lambda: store.add([given])) == "metadata_column_invalid"
    assert store.count() == 0


def test_column_names_are_case_sensitive_and_unicode(store):
    store.add([item("a", PatientAge=40, größe=1.8, select="x", user="y", Order=2)])
    assert store.count(where="PatientAge = 40 and \"größe\" > 1 and \"select\" = 'x' and user = 'y' and Order = 2") == 1
    assert store.get(["a"])[0].metadata == {"PatientAge": 40, "größe": 1.8, "select": "x", "user": "y", "Order": 2}
    assert code_of(lambda: store.add([item("b", patientage=1)])) == "metadata_column_invalid"


def test_columns_have_fixed_types(store):
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
def test_rejects_values_that_cannot_be_stored(store, value):
    assert code_of(lambda: store.add([item("a", x=value)])) == "metadata_value_invalid"


def test_columns_widen_and_keep_their_values(store, location):
    store.add([item("a", stage=1, bmi=20, smoker=True, note="x"), item("b", bmi=21)])
    store.widen({"stage": "string", "bmi": "float", "smoker": "string", "note": "integer", "none": "float"})
    assert store.columns == {"stage": "string", "bmi": "float", "smoker": "string", "note": "string"}
    store.add([item("c", stage="2a", bmi=20.5, smoker="no")])
    assert store.get(["a"])[0].metadata == {"stage": "1", "bmi": 20.0, "smoker": "true", "note": "x"}
    assert store.count(where="bmi >= 20.5") == 2
    assert store.count(where="stage like '2%'") == 1
    with search.open_store(location) as again:
        assert again.identity == store.identity
        assert again.columns["bmi"] == "float"


def test_extreme_values_are_returned_exactly(store):
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
def test_rejects_invalid_embeddings(store, embedding):
    assert code_of(lambda: store.add([item("good"), item("a", embedding)])) == "embedding_invalid"
    assert store.count() == 0


@pytest.mark.parametrize("vector", [np.zeros(DIM), np.ones(DIM + 1), np.full(DIM, np.inf), np.ones((1, DIM)), "text"])
def test_rejects_invalid_query_vectors(store, vector):
    assert code_of(lambda: store.search(vector)) == "embedding_invalid"


@pytest.mark.parametrize("k", [0, -1, 10**9])
def test_rejects_k_out_of_range(store, k):
    assert code_of(lambda: store.search(vectors(1)[0], k=k)) == "k_invalid"


def test_checks_filters_against_the_columns(store):
    store.add([item("a", age=1)])
    assert code_of(lambda: store.search(vectors(1)[0], where="ward = 1")) == "filter_invalid"
    assert code_of(lambda: store.count(where="age = 'x'")) == "filter_invalid"
    assert code_of(lambda: store.delete(where="age = 1; drop table x")) == "filter_invalid"
    assert store.count() == 1


def test_reopened_stores_share_their_content(store, location):
    store.add([item("a", age=1)])
    with search.open_store(location) as again:
        assert again.identity == IDENTITY
        assert again.identity.salt == store.identity.salt
        assert again.columns == {"age": "integer"}
        store.add([item("b", site="A")])  # both see each other's writes
        assert again.count() == 2
        assert again.columns == {"age": "integer", "site": "string"}
        assert ids_of(again.search(item("b").embedding, k=1, where="site = 'A'")) == ["b"]
        again.add([item("c", site="B")])
    assert store.count() == 3


def test_threads_write_and_search_concurrently(store):
    store.add([item("first")])
    failures = []

    def work(number: int) -> None:
        try:
            for value in range(5):
                store.add([item(f"{number}-{value}", **{f"column{number}": value})])
                assert ids_of(store.search(item(f"{number}-{value}").embedding, k=1, where=f"column{number} = {value}"))
        except Exception as error:  # for the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.count() == 21
    assert sum(len(ids) for ids, _ in store.scan(rows=4)) == 21


def test_one_of_two_writers_of_an_id_succeeds(store, location):
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


def test_create_rejects_an_existing_store(store, location):
    with pytest.raises(StoreError) as caught:
        search.create_store(location, identity=IDENTITY)
    assert caught.value.code == "store_exists"
