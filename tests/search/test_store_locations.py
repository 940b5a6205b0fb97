"""Locations of stores, and the checks when a store is opened."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from medimageinsight import MedImageInsight, search
from medimageinsight.errors import InputError, MissingExtraError, StoreError
from tests.search.sample_items import IDENTITY, code_of, item


def store_code(call) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    return caught.value.code


def test_missing_store_is_not_found(location, tmp_path):
    assert store_code(lambda: search.open_store(location)) == "store_not_found"
    assert list(tmp_path.iterdir()) == []


def test_open_or_create_creates_a_missing_store(location):
    with search.open_or_create_store(location, identity=IDENTITY) as new_store:
        new_store.add([item("a")])
    with search.open_or_create_store(location, identity=IDENTITY) as opened:
        assert opened.count() == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"image_encoder": {"image_encoder.onnx": "b" * 64}}, "store_other_model"),
        ({"image_encoder": {"image_encoder.onnx": "a" * 64, "image_encoder.onnx.data": "c" * 64}}, "store_other_model"),
        ({"precision": "int8"}, "store_other_model"),
        ({"embedding_dim": 16}, "store_other_model"),
        ({"preprocessing": {**IDENTITY.preprocessing, "default": "azure"}}, "store_other_preprocessing"),
        ({"preprocessing": {**IDENTITY.preprocessing, "image_size": [9, 9]}}, "store_other_preprocessing"),
    ],
)
def test_rejects_vectors_of_another_model(store, location, change, code):
    other = dataclasses.replace(IDENTITY, **change)
    assert code_of(lambda: search.open_store(location, identity=other)) == code
    assert code_of(lambda: search.open_or_create_store(location, identity=other)) == code


def test_accepts_the_model_under_another_name(store, location):
    search.open_store(location, identity=dataclasses.replace(IDENTITY, model="renamed", salt="00")).close()


def test_identity_describes_the_bundle(toy_bundle):
    with MedImageInsight.load(toy_bundle, preprocessing="azure") as model:
        identity = search.Identity.of(model)
        checksum = model.manifest.files["image_encoder.onnx"].sha256
    assert identity.image_encoder == {"image_encoder.onnx": checksum}
    assert (identity.model, identity.precision, identity.embedding_dim) == ("toy", "fp32", 8)
    assert identity.preprocessing["default"] == "azure"
    assert search.Identity.from_json(identity.to_json()) == identity
    assert "salt" not in identity.to_dict()
    assert identity.salt not in repr(identity)


def test_rejects_newer_or_damaged_identities():
    document = json.loads(IDENTITY.to_json())
    newer = json.dumps({**document, "format": 2})
    assert store_code(lambda: search.Identity.from_json(newer)) == "store_too_new"
    damaged = json.dumps({**document, "identity": {**document["identity"], "preprocessing": {}}})
    for content in (None, b"", "null", "{}", "[1]", '{"format": "x"}', damaged):
        assert store_code(lambda content=content: search.Identity.from_json(content)) == "store_invalid"


@pytest.mark.parametrize(
    "location", ["", "http://example.com/x", "s3://bucket/x", "postgresql://h/d#UPPER", "postgresql://h/d#a;b"]
)
def test_rejects_other_locations(location):
    assert code_of(lambda: search.open_store(location)) == "store_location_invalid"
    assert code_of(lambda: search.create_store(location, identity=IDENTITY)) == "store_location_invalid"


def test_redacts_passwords():
    url = "postgresql://me:secret@db.example:5432/images?sslpassword=secret#chest"
    assert search.redact_location(url) == "postgresql://db.example:5432/images#chest"
    assert search.redact_location("folder/chest") == "folder/chest"
    assert "secret" not in search.redact_location("postgresql://me:secret@[bad")


def test_reports_an_unreachable_server():
    pytest.importorskip("psycopg", reason="a store in PostgreSQL needs the postgres extra")
    pytest.importorskip("pgvector", reason="a store in PostgreSQL needs the postgres extra")
    url = "postgresql://me:secret@127.0.0.1:9/images"
    with pytest.raises(StoreError) as caught:
        search.open_store(url)
    assert caught.value.code == "store_unreachable"
    assert "secret" not in caught.value.message


def test_creates_a_store_in_a_folder_with_other_files(tmp_path):
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    (tmp_path / "notes.txt").write_text("mine")
    assert store_code(lambda: search.open_store(tmp_path)) == "store_not_found"
    search.create_store(tmp_path, identity=IDENTITY).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_rejects_a_table_of_another_program(tmp_path):
    lancedb = pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    lancedb.connect(tmp_path).create_table("vectors", data=[{"id": "a", "vector": [1.0, 2.0]}])
    assert store_code(lambda: search.open_store(tmp_path)) == "store_invalid"


def test_rejects_a_file_as_location(tmp_path):
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    (tmp_path / "file").write_text("x")
    assert store_code(lambda: search.open_store(tmp_path / "file")) == "store_not_found"
    assert store_code(lambda: search.create_store(tmp_path / "file", identity=IDENTITY)) == "store_not_writable"


def test_import_is_cheap():
    program = "import medimageinsight.search, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert not {"lancedb", "pyarrow", "psycopg", "pgvector", "torch", "pydicom"} & {*done.stdout.split()}


@pytest.mark.parametrize(
    ("location", "missing", "extra"), [("folder", "lancedb", "search"), ("postgresql://h/d", "psycopg", "postgres")]
)
def test_names_the_missing_extra(monkeypatch, location, missing, extra):
    for name in [name for name in sys.modules if name.startswith("medimageinsight.search.postgres_store")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    for call in (search.open_store, lambda path: search.create_store(path, identity=IDENTITY)):
        with pytest.raises(MissingExtraError, match=rf"\[{extra}\]"):
            call(location)


def test_errors_can_be_pickled_with_their_code():
    import pickle

    error = pickle.loads(pickle.dumps(StoreError("expected", code="store_exists")))
    assert (type(error), error.code) == (StoreError, "store_exists")
    assert not isinstance(error, InputError)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chest=stores/1", ("chest", "stores/1")),
        ("stores/chest", ("chest", "stores/chest")),
        ("postgresql://host/images#chest", ("chest", "postgresql://host/images#chest")),
        ("postgresql://host/images?a=b#chest", ("chest", "postgresql://host/images?a=b#chest")),
    ],
)
def test_parses_named_locations(text, expected):
    assert search.parse_named_location(text) == expected
