"""The window of a request: parameters, tasks, stores, warnings."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from medimageinsight import search
from medimageinsight.serve import score
from medimageinsight.tagging import fit_tagger, load_tagger, save_tagger, tag_prompts
from tests.windowed_ct import BONE, LUNG, OWN, ct_bytes, ct_file, stretched, windowed

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

CT = base64.b64encode(ct_bytes()).decode()


def encode(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PARAMS: list[tuple[dict[str, Any], np.ndarray]] = [
    ({"window": "lung"}, windowed(LUNG)),
    ({"window": [-600, 1500]}, windowed(LUNG)),
    ({"window": "bone"}, windowed(BONE)),
    ({"window": 1}, windowed(BONE)),
    ({"window": None, "percentiles": None}, windowed(OWN)),
    ({"percentiles": [1, 99]}, stretched(1, 99)),
]


@pytest.mark.parametrize(("params", "pixels"), PARAMS)
def test_scoring(server: ServerProcess, toy: MedImageInsight, params: dict[str, Any], pixels: np.ndarray) -> None:
    expected = toy.embed_images(pixels)
    reply = server.score([CT, None], **params)
    assert reply.status == 200, reply.body
    np.testing.assert_array_equal(np.float32(reply.json[0]["image_features"][0]), expected)
    body = {"input_data": {"columns": ["image"], "data": [[CT]]}, "params": params}
    np.testing.assert_array_equal(score(body, toy).body[0]["image_features"][0], expected)
    tensors = {"parameters": params, "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [CT]}]}
    inferred = server.post("/v2/models/toy/infer", tensors).json["outputs"][0]["data"]
    np.testing.assert_array_equal(np.float32(inferred), expected)


@pytest.mark.parametrize(
    "params",
    [
        {"window": "lungs"},
        {"window": [40]},
        {"window": True},
        {"window": {"center": 40}},
        {"window": "40/0"},
        {"percentiles": [99, 1]},
        {"percentiles": "1,99"},
        {"window": "lung", "percentiles": [1, 99]},
        {"frame": -1},
        {"frame": "1"},
    ],
)
def test_wrong_parameters_are_refused(server: ServerProcess, params: dict[str, Any]) -> None:
    reply = server.score([CT, None], **params)
    assert (reply.status, reply.json["error"]["code"]) == (400, "params_invalid")
    (name, *_) = params
    assert name in reply.json["error"]["message"]


def test_the_frame_of_a_scoring_request(server: ServerProcess, toy: MedImageInsight) -> None:
    frames = [np.full((8, 8), grey, np.uint8) + np.eye(8, dtype=np.uint8) * 50 for grey in (10, 100)]
    buffer = io.BytesIO()
    Image.fromarray(frames[0]).save(buffer, "TIFF", save_all=True, append_images=[Image.fromarray(frames[1])])
    cell = base64.b64encode(buffer.getvalue()).decode()
    for frame, pixels in enumerate(frames):
        reply = server.score([cell, None], frame=frame)
        np.testing.assert_array_equal(np.float32(reply.json[0]["image_features"][0]), toy.embed_images(pixels))
    missing = server.score([cell, None], frame=2)
    assert (missing.status, missing.json["error"]["code"]) == (422, "image_frame_out_of_range")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/classify", {"images": [CT], "labels": ["a", "b"]}),
        ("/api/tag", {"images": [CT], "vocabulary": "modality"}),
    ],
)
def test_tasks(server: ServerProcess, path: str, body: dict[str, Any]) -> None:
    for window, pixels in (("lung", windowed(LUNG)), ("bone", windowed(BONE))):
        image = encode(pixels)
        replaced = {"image": image, "images": [image]}
        by_hand = {name: replaced.get(name, value) for name, value in body.items()}
        assert server.post(path, {**body, "window": window}).json == server.post(path, by_hand).json
    refused = server.post(path, {**body, "window": "lungs"})
    assert (refused.status, refused.json["error"]["code"]) == (400, "window_invalid")


def test_items_of_a_comparison_have_their_own_windows(server: ServerProcess, toy: MedImageInsight) -> None:
    body = {"a": [{"image": CT, "window": "lung"}, {"image": CT, "window": [400, 1800]}, {"image": CT}]}
    vectors = toy.embed_images([windowed(window) for window in (LUNG, BONE, OWN)])
    np.testing.assert_allclose(
        server.post("/api/compare", body).json["similarity"], toy.similarity(vectors, vectors), atol=1e-6
    )


def test_a_query_has_the_window_of_the_store(tmp_path: Path, toy_bundle: Path, toy: MedImageInsight) -> None:
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    from medimageinsight import MedImageInsight
    from tests.serve.server_process import run_server

    location = str(tmp_path / "lungs")
    with (
        MedImageInsight.load(toy_bundle, threads=1, window="lung") as model,
        search.create_store(location, identity=search.Identity.of(model)) as store,
    ):
        assert search.index_images(model, store, [ct_file(tmp_path)]).added == 1
    with run_server(tmp_path, "--model", str(toy_bundle), "--store", location) as process:
        for body in ({}, {"window": "lung"}):
            (hit,) = process.post("/api/search", {"store": "lungs", "image": CT, **body}).json["hits"]
            assert hit["score"] == pytest.approx(1, abs=1e-6)
        for path, body in (
            ("/api/search", {"image": CT}),
            ("/api/neighbours", {"images": [CT], "label": "finding"}),
            ("/api/map", {"images": [CT]}),
        ):
            refused = process.post(path, {"store": "lungs", "window": "bone", **body})
            assert (refused.status, refused.json["error"]["code"]) == (422, "store_other_preprocessing")


def test_images_have_the_window_of_the_tagger(tmp_path: Path, toy_bundle: Path, toy: MedImageInsight) -> None:
    from tests.serve.server_process import run_server

    model = toy.identity.with_window("lung")
    scores = np.array([[0.1, 0.2], [0.8, 0.9], [0.7, 0.3]])
    truth = np.array([[False, False], [True, True], [True, False]])
    save_tagger(fit_tagger(tag_prompts(["nodule", "normal"]), scores, truth, model=model), tmp_path / "found.json")
    tagger = load_tagger(tmp_path / "found.json")
    expected = tagger.scores(toy.embed_images([windowed(LUNG)]), toy.embed_texts, toy.logit_scale)[0]
    body = {"images": [CT], "tagger": "found"}
    with run_server(tmp_path, "--model", str(toy_bundle), "--tagger", str(tmp_path / "found.json")) as process:
        for window in ({}, {"window": "lung"}):
            (found,) = process.post("/api/tag", {**body, **window}).json["results"]
            assert [tag["score"] for tag in found["tags"].values()] == pytest.approx(expected.tolist(), abs=1e-5)
        refused = process.post("/api/tag", {**body, "window": "bone"})
        assert (refused.status, refused.json["error"]["code"]) == (400, "window_invalid")


def test_unknown_parameters_are_ignored_with_a_warning(server: ServerProcess) -> None:
    reply = server.score([None, "x-ray"], colour="blue")
    assert (reply.status, reply.headers["x-warnings"]) == (200, "params_unknown")
    assert "x-warnings" not in server.score([None, "x-ray"], get_scaling_factor=True, window=None).headers


def test_warnings_are_a_header_and_a_metric(server: ServerProcess) -> None:
    photograph = encode(np.zeros((8, 8, 3), np.uint8))
    assert "x-warnings" not in server.score([photograph, None]).headers
    for reply in (
        server.score([photograph, None], [CT, None], window="lung"),
        server.post("/api/classify", {"images": [photograph], "labels": ["a", "b"], "window": "lung"}),
    ):
        assert reply.status == 200
        assert reply.headers["x-warnings"] == "window_not_applied"
    assert 'mi2_image_warnings_total{code="window_not_applied"}' in server.get("/metrics").body.decode()
    view = server.post("/api/view", {"image": photograph, "window": "lung"}).json
    assert [warning["code"] for warning in view["warnings"]] == ["window_not_applied"]
