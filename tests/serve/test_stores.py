"""Stores and taggers behind a server: search, neighbours, the map, thumbnails, and errors."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight, search
from medimageinsight.bundle import ModelIdentity
from medimageinsight.tagging import fit_tagger, load_tagger, save_tagger, tag_prompts
from tests.search.postgres_server import running_postgres
from tests.serve.server_process import TIMEOUT_S, b64, make_image, run_server
from tests.serve.store_fixtures import FINDINGS, add, make_chest_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.serve.server_process import ServerProcess
    from tests.serve.store_fixtures import ChestStore


def ids(reply: Any) -> list[str]:
    return [hit["id"] for hit in reply.json["hits"]]


def get_thumbnail(server: ServerProcess, item_id: str, **more: Any) -> Any:
    return server.get("/api/picture?" + urlencode({"store": "chest", "id": item_id, **more}))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition is never met"
        time.sleep(0.05)


def shut_down(url: str) -> None:
    """Stop the database behind a URL by its process id."""
    import psycopg

    with psycopg.connect(url) as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    process = int((Path(folder) / "postmaster.pid").read_text().splitlines()[0])
    os.kill(process, signal.SIGQUIT)

    def is_gone() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return True
        return False

    wait_for(is_gone)


def code_of(reply: Any) -> tuple[int, str]:
    return reply.status, reply.json["error"]["code"]


def test_about_lists_stores_and_vocabularies(server: ServerProcess):
    about = server.get("/api/about").json
    (store,) = about["stores"]
    assert store == {
        "name": "chest",
        "model": "toy",
        "count": 6,
        "columns": {"patient": "string", "age": "integer", "finding": "string"},
        "pictures": True,
    }
    assert "not for diagnosis" in about["disclaimer"]
    assert set(about["vocabularies"]) == {"modality", "anatomy", "view"}


def test_search_by_image_text_id_and_vector(server: ServerProcess, chest: ChestStore, toy: MedImageInsight):
    by_image = server.post("/api/search", {"store": "chest", "image": b64(chest.bytes_of(3)), "k": 3})
    (best, *_) = by_image.json["hits"]
    assert best["score"] == pytest.approx(1, abs=1e-5)
    assert (best["id"], best["path"]) == ("3", "3.png")
    assert best["metadata"] == {"patient": "B", "age": 43, "finding": "nodule"}
    assert ids(server.post("/api/search", {"store": "chest", "id": "3", "k": 3})) == ids(by_image)
    vector = toy.embed_images(chest.bytes_of(3)).tolist()
    assert ids(server.post("/api/search", {"store": "chest", "vector": vector, "k": 3})) == ids(by_image)
    with search.open_store(chest.location) as store:
        expected = search.search(toy, store, text="x-ray chest", k=6)
    assert ids(server.post("/api/search", {"store": "chest", "text": "x-ray chest", "k": 6})) == [
        hit.id for hit in expected
    ]


def test_search_with_filters_minimum_scores_and_other_patients(server: ServerProcess):
    old = server.post("/api/search", {"store": "chest", "id": "0", "where": "age >= 43"})
    assert set(ids(old)) == {"3", "4", "5"}
    others = server.post("/api/search", {"store": "chest", "id": "0", "other_than_same": "patient"})
    assert set(ids(others)) == {"2", "3", "4", "5"}
    same = server.post("/api/search", {"store": "chest", "id": "0", "min_score": 0.999999, "exact": True})
    assert ids(same) == ["0"]


def test_neighbours_are_returned_with_their_labels(server: ServerProcess, chest: ChestStore):
    body = {
        "store": "chest",
        "images": [b64(chest.bytes_of(0)), "%"],
        "label": "finding",
        "k": 3,
        "temperature": 0.01,
    }
    good, bad = server.post("/api/neighbours", body).json["results"]
    assert bad["error"]["code"].startswith("image_")
    assert sum(good["probabilities"].values()) == pytest.approx(1)
    first = good["neighbours"][0]
    assert (first["id"], first["label"]) == ("0", "normal")
    assert len(good["neighbours"]) == 3
    assert all(FINDINGS[int(hit["id"])] == hit["label"] for hit in good["neighbours"])
    assert sum(hit["weight"] for hit in good["neighbours"]) == pytest.approx(1)
    none = server.post("/api/neighbours", body | {"where": "finding = 'other'"}).json["results"][0]
    assert none == {"probabilities": {}, "neighbours": [], "excluded": 0, "patients_unknown": True}


def test_too_many_neighbours_are_refused(server: ServerProcess):
    body = {"store": "chest", "images": ["%"] * 11, "label": "finding", "k": 10_000}
    assert code_of(server.post("/api/neighbours", body)) == (400, "request_invalid")


def test_map_of_stored_and_new_images(server: ServerProcess, chest: ChestStore):
    drawn = server.get("/api/map?store=chest&color=finding").json
    assert drawn["count"] == 6
    assert {point["id"]: point["label"] for point in drawn["points"]} == {
        str(number): finding for number, finding in enumerate(FINDINGS)
    }
    assert 0 < sum(drawn["explained"]) <= 1 + 1e-6
    assert drawn["explained"][0] >= drawn["explained"][1]
    (placed, bad) = server.post("/api/map", {"store": "chest", "images": [b64(chest.bytes_of(4)), "%"]}).json["points"]
    (there,) = [point for point in drawn["points"] if point["id"] == "4"]
    assert [placed["x"], placed["y"]] == pytest.approx([there["x"], there["y"]], abs=1e-5)
    assert bad["error"]["code"].startswith("image_")
    assert len(server.get("/api/map?store=chest&limit=3").json["points"]) == 3


def test_thumbnails_are_small_and_without_metadata(server: ServerProcess, chest: ChestStore):
    reply = get_thumbnail(server, "1", size=20)
    image = Image.open(io.BytesIO(reply.body))
    assert reply.headers["content-type"] == "image/png"
    assert "no-store" in reply.headers["cache-control"]
    assert image.size == (20, 15)
    assert not image.info


def test_no_image_outside_the_folders_is_shown(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path):
    chest = make_chest_store(toy, tmp_path)
    (tmp_path / "outside.png").write_bytes(make_image(9))
    (chest.images / "link.png").symlink_to(tmp_path / "outside.png")
    (chest.images / "text.png").write_text("no image")
    paths = ["../outside.png", "link.png", "nothing.png", "text.png", ".", "", str(tmp_path / "outside.png")]
    with search.open_store(chest.location) as store:
        embedding = toy.embed_texts("anything")
        store.add([search.Item(id=f"x{n}", path=path, embedding=embedding) for n, path in enumerate(paths)])
    with run_server(tmp_path, "--model", str(toy_bundle), *chest.options) as server:
        for number in range(len(paths)):
            assert code_of(get_thumbnail(server, f"x{number}")) == (404, "picture_not_available")
        assert get_thumbnail(server, "0").status == 200


def test_without_folders_no_image_is_shown(toy_bundle: Path, chest: ChestStore, tmp_path: Path):
    with run_server(tmp_path, "--model", str(toy_bundle), "--store", f"chest={chest.location}") as server:
        assert code_of(get_thumbnail(server, "0")) == (404, "picture_not_available")
        assert server.get("/api/about").json["stores"][0]["pictures"] is False


HOSTILE = "finding = 'x' or 1=1; drop table items --"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"store": "none", "text": "x"}, 404, "store_not_found"),
        ({"text": "x"}, 400, "request_invalid"),
        ({"store": "chest"}, 400, "request_invalid"),
        ({"store": "chest", "text": "x", "id": "0"}, 400, "request_invalid"),
        ({"store": "chest", "text": "x", "k": 0}, 400, "request_invalid"),
        ({"store": "chest", "text": "x", "k": 10**9}, 400, "request_invalid"),
        ({"store": "chest", "text": "x", "wher": "age > 1"}, 400, "request_invalid"),
        ({"store": "chest", "text": "x", "other_than_same": "patient"}, 400, "request_invalid"),
        ({"store": "chest", "text": "x", "where": HOSTILE}, 422, "filter_invalid"),
        ({"store": "chest", "text": "x", "where": "age" * 10_000}, 422, "filter_invalid"),
        ({"store": "chest", "text": "x", "model": "other"}, 400, "request_invalid"),
        ({"store": "chest", "id": "no such id"}, 422, "ids_unknown"),
        ({"store": "chest", "id": "4", "other_than_same": "finding"}, 422, "column_empty"),
        ({"store": "chest", "id": "0", "other_than_same": "none"}, 422, "column_unknown"),
        ({"store": "chest", "vector": [1, "2"]}, 400, "request_invalid"),
        ({"store": "chest", "vector": [1, 2]}, 422, "embedding_invalid"),
        ({"store": "chest", "vector": [1e308] * 8}, 422, "embedding_invalid"),
        ({"store": "chest", "vector": [0] * 8}, 422, "embedding_invalid"),
        ({"store": "chest", "image": "%"}, 422, "image_bad_base64"),
    ],
)
def test_errors_of_search(server: ServerProcess, body: dict[str, Any], status: int, code: str):
    assert code_of(server.post("/api/search", body)) == (status, code)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/map", 400, "request_invalid"),
        ("/api/map?store=none", 404, "store_not_found"),
        ("/api/map?store=chest&color=none", 422, "column_unknown"),
        ("/api/map?store=chest&limit=0", 400, "request_invalid"),
        ("/api/map?store=chest&limit=1e9", 400, "request_invalid"),
        ("/api/map?store=chest&colour=finding", 400, "request_invalid"),
        ("/api/picture?store=chest", 400, "request_invalid"),
        ("/api/picture?store=chest&id=none", 404, "ids_unknown"),
        ("/api/picture?store=chest&id=0&size=100000", 400, "request_invalid"),
    ],
)
def test_errors_of_map_and_thumbnail(server: ServerProcess, path: str, status: int, code: str):
    assert code_of(server.get(path)) == (status, code)


def test_changes_of_another_process_are_found_and_drawn(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path):
    chest = make_chest_store(toy, tmp_path)
    with (
        search.open_store(chest.location) as store,
        run_server(tmp_path, "--model", str(toy_bundle), *chest.options) as server,
    ):
        assert len(server.get("/api/map?store=chest").json["points"]) == 6
        store.delete(["5"])
        assert "5" not in ids(server.post("/api/search", {"store": "chest", "id": "0"}))
        assert len(server.get("/api/map?store=chest").json["points"]) == 5
        add(toy, store, chest, range(5, 6))
        assert "5" in ids(server.post("/api/search", {"store": "chest", "id": "0"}))


def test_a_postgresql_store_is_served(postgres_url: str, toy: MedImageInsight, toy_bundle: Path, tmp_path: Path):
    chest = make_chest_store(toy, tmp_path)
    location = f"{postgres_url}#served"
    with search.create_store(location, identity=search.Identity.of(toy)) as store:
        add(toy, store, chest, range(6))
    with run_server(tmp_path, "--model", str(toy_bundle), "--store", location) as server:
        assert server.get("/api/about").json["stores"][0]["name"] == "served"
        assert ids(server.post("/api/search", {"store": "served", "id": "2", "k": 1})) == ["2"]


def test_a_map_has_no_deleted_image_though_the_count_is_the_same(
    toy: MedImageInsight, toy_bundle: Path, tmp_path: Path
):
    chest = make_chest_store(toy, tmp_path)
    with (
        search.open_store(chest.location) as store,
        run_server(tmp_path, "--model", str(toy_bundle), *chest.options) as server,
    ):
        assert len(server.get("/api/map?store=chest&color=finding").json["points"]) == 6
        store.delete(["5"])
        store.add([search.Item(id="new", path="5.png", embedding=toy.embed_images(chest.bytes_of(5)))])
        points = server.get("/api/map?store=chest&color=finding").json["points"]
        assert {point["id"] for point in points} == {"0", "1", "2", "3", "4", "new"}


def test_images_are_preprocessed_as_the_store_states(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path):
    azure = dataclasses.replace(toy.preprocessing, default="azure")
    image = make_image(3, size=(16, 16))
    identity = dataclasses.replace(search.Identity.of(toy), preprocessing=azure.to_dict())
    with search.create_store(tmp_path / "azure", identity=identity) as store:
        store.add([search.Item(id="a", embedding=toy.embed_images(image, preprocessing=azure), metadata={"is": "a"})])
    body = {"store": "azure", "image": b64(image)}
    with run_server(tmp_path, "--model", str(toy_bundle), "--store", str(tmp_path / "azure")) as server:
        (hit,) = server.post("/api/search", body).json["hits"]
        assert hit["score"] == pytest.approx(1, abs=1e-5)
        (result,) = server.post("/api/neighbours", {"store": "azure", "images": [b64(image)], "label": "is"}).json[
            "results"
        ]
        assert result["neighbours"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert float(toy.embed_images(image) @ toy.embed_images(image, preprocessing=azure)) < 0.999  # the two ways differ


def test_every_worker_serves_the_stores(toy_bundle: Path, chest: ChestStore, tmp_path: Path):
    with run_server(tmp_path, "--model", str(toy_bundle), *chest.options, "--workers", "2") as server:
        wait_for(lambda: server.log.count('"message": "ready"') == 2)  # each has opened its stores
        for _ in range(20):  # each on a new connection, which any worker accepts
            assert ids(server.post("/api/search", {"store": "chest", "id": "2", "k": 1})) == ["2"]


def test_an_unreachable_database_is_reported_and_other_stores_are_served(
    toy: MedImageInsight, toy_bundle: Path, tmp_path: Path
):
    chest = make_chest_store(toy, tmp_path)
    with running_postgres() as url:
        with search.create_store(f"{url}#away", identity=search.Identity.of(toy)) as store:
            add(toy, store, chest, range(6))
        with run_server(tmp_path, "--model", str(toy_bundle), "--store", f"{url}#away", *chest.options) as server:
            assert ids(server.post("/api/search", {"store": "away", "id": "2", "k": 1})) == ["2"]
            shut_down(url)
            for _ in range(2):
                gone = server.post("/api/search", {"store": "away", "id": "2"})
                assert code_of(gone) == (503, "store_unreachable")
                assert int(gone.headers["retry-after"]) > 0
            assert code_of(server.get("/api/map?store=away")) == (503, "store_unreachable")
            assert ids(server.post("/api/search", {"store": "chest", "id": "2", "k": 1})) == ["2"]
            assert server.get("/health/ready").status == 200


@pytest.fixture
def tagger_file(toy: MedImageInsight, tmp_path: Path) -> Path:
    """Create a tagger by prompts, for images that are not preprocessed as by default."""
    azure = dataclasses.replace(toy.preprocessing, default="azure")
    prompts = tag_prompts(["nodule", "normal"], negative=["no finding"])
    scores = np.array([[0.1, 0.2], [0.8, 0.9], [0.7, 0.3]])
    truth = np.array([[False, False], [True, True], [True, False]])
    save_tagger(
        fit_tagger(prompts, scores, truth, model=ModelIdentity.of(toy.manifest, azure)), tmp_path / "found.json"
    )
    return tmp_path / "found.json"


def test_a_tagger_is_served(tagger_file: Path, toy: MedImageInsight, toy_bundle: Path, tmp_path: Path):
    image = make_image(3, size=(16, 16))
    azure = dataclasses.replace(toy.preprocessing, default="azure")
    tagger = load_tagger(tagger_file)
    expected = tagger.scores(toy.embed_images([image], preprocessing=azure), toy.embed_texts, toy.logit_scale)[0]
    with run_server(tmp_path, "--model", str(toy_bundle), "--tagger", str(tagger_file)) as server:
        assert server.get("/api/about").json["taggers"] == [{"name": "found", "tags": ["nodule", "normal"]}]
        good, bad = server.post("/api/tag", {"images": [b64(image), "%"], "tagger": "found"}).json["results"]
    assert bad["error"]["code"].startswith("image_")
    assert list(good["tags"]) == ["nodule", "normal"]
    for tag, score, threshold in zip(good["tags"].values(), expected, tagger.thresholds, strict=True):
        assert tag["score"] == pytest.approx(float(score), abs=1e-5)
        assert tag["threshold"] == pytest.approx(float(threshold))
        assert tag["present"] is (tag["score"] >= tag["threshold"])


def test_a_tagger_of_another_model_ends_the_start(tagger_file: Path, tmp_path: Path):
    assert "adapter_other_model" in start(tmp_path, "--model", "mini", "--tagger", str(tagger_file))


def test_keys_guard_stores(toy_bundle: Path, chest: ChestStore, tmp_path: Path):
    key = "0123456789abcdef"
    (tmp_path / "keys").write_text(key)
    options = ("--model", str(toy_bundle), *chest.options, "--api-key-file", str(tmp_path / "keys"))
    with run_server(tmp_path, *options) as server:
        assert get_thumbnail(server, "0").status == 401
        assert server.get("/api/about").status == 401
        assert server.post("/api/search", {"store": "chest", "id": "0"}).status == 401
        assert server.get("/api/about", Authorization=f"Bearer {key}").status == 200


def start(folder: Path, *options: str) -> str:
    """Return the log of a server that does not start."""
    with run_server(folder, *options, ready=False) as server:
        assert server.process.wait(60) == 1
        return server.log


def test_a_store_of_another_model_ends_the_start(toy_bundle: Path, chest: ChestStore, tmp_path: Path):
    assert "store_other_model" in start(tmp_path, "--model", "mini", *chest.options)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--store", "no/such/store"), "store_not_found"),
        (("--store", "a={chest}", "--store", "a={chest}"), "names_equal"),
        (("--pictures", "no/such/folder"), "folder_not_found"),
        (("--tagger", "no/such/tagger.json"), "FileNotFoundError"),
    ],
)
def test_a_missing_store_folder_or_tagger_ends_the_start(
    options: tuple[str, ...], code: str, toy_bundle: Path, chest: ChestStore, tmp_path: Path
):
    filled = [option.replace("{chest}", str(chest.location)) for option in options]
    assert code in start(tmp_path, "--model", str(toy_bundle), *filled)


def test_the_log_contains_no_ids_texts_or_filters(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path):
    chest = make_chest_store(toy, tmp_path)
    with run_server(tmp_path, "--model", str(toy_bundle), *chest.options, "--log-level", "debug") as server:
        server.post("/api/search", {"store": "chest", "text": "SECRETTEXT"})
        server.post("/api/search", {"store": "chest", "id": "SECRETID"})
        server.post("/api/search", {"store": "chest", "id": "0", "where": "finding = 'SECRETVALUE'"})
        server.get("/api/map?store=chest&color=SECRETCOLUMN")
        get_thumbnail(server, "SECRETID")
        get_thumbnail(server, "0")
        assert "SECRET" not in server.log
