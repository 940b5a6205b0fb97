"""The response shape ``labels``, as the hosted fine-tuning's classifier answers."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")

from medimageinsight import MedImageInsight
from medimageinsight.bundle import Manifest
from medimageinsight.client import Endpoint
from medimageinsight.errors import InputError
from medimageinsight.serve import score, to_json
from tests.serve.server_process import b64, make_image, run_server, score_request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

LABELS = ["endoscopy upper pylorus", "endoscopy lower polyps, colon", "endoscopy lower cecum"]
IMAGES = [make_image(seed) for seed in range(3)]


def with_labels(bundle: Path, labels: list[Any], folder: Path) -> Path:
    """Copy a bundle, as one of a fine-tuning on these labels."""

    copy = folder / "labelled"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest["provenance"]["labels"] = labels
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return copy


def expected(toy: MedImageInsight, image: bytes) -> dict[str, float]:
    (result,) = toy.classify([image], LABELS, template="{}.")
    return dict(zip(LABELS, result.tolist(), strict=True))


def check(rows: Any, toy: MedImageInsight) -> None:
    for row, image in zip(rows, IMAGES, strict=True):
        assert [set(item) for item in row] == [{"label", "score"}] * len(LABELS)
        values = [item["score"] for item in row]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-5)
        assert {item["label"]: item["score"] for item in row} == pytest.approx(expected(toy, image), abs=1e-5)


def test_the_last_step_of_the_tutorial(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path) -> None:
    """Rows of images alone are classified, and the highest score of each is the prediction."""
    bundle = with_labels(toy_bundle, LABELS, tmp_path)
    with run_server(tmp_path, "--model", str(bundle), "--response-shape", "labels") as server:
        data = {"columns": ["image", "text"], "index": [0, 1, 2], "data": [[b64(image), ""] for image in IMAGES]}
        rows = server.post("/score", {"input_data": data, "params": {}}).json
        check(rows, toy)
        predicted = [max(row, key=lambda item: item["score"])["label"] for row in rows]
        for label, image in zip(predicted, IMAGES, strict=True):  # the toy model's best scores may be nearly equal
            scores = expected(toy, image)
            assert scores[label] == pytest.approx(max(scores.values()), abs=1e-5)
        good, bad, text = server.score([b64(IMAGES[0]), None], ["!", None], [None, "x"]).json
        assert len(good) == len(LABELS)
        assert [bad["error"]["code"], text["error"]["code"]] == ["image_bad_base64", "image_empty"]
        assert server.score(["!", None]).status == 422
        assert "image_features" in server.score([b64(IMAGES[0]), None], response_shape="rows").json[0]
        with Endpoint(server.url) as endpoint:
            answers = endpoint.label_scores([*IMAGES, b"no image"])
            for found, image in zip(answers, IMAGES, strict=False):
                assert found == pytest.approx(expected(toy, image), abs=1e-5)
            assert isinstance(answers[-1], InputError)
            assert endpoint.embed_images([IMAGES[0]]).shape == (1, toy.embedding_dim)


def test_labels_of_a_file(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "unique_texts.txt"
    file.write_text("\n".join([*LABELS, ""]), "utf-8")
    with run_server(tmp_path, "--model", str(toy_bundle), "--labels", str(file)) as server:
        check(server.score(*[[b64(image), None] for image in IMAGES], response_shape="labels").json, toy)
        assert "image_features" in server.score([b64(IMAGES[0]), None]).json[0]


def test_without_labels(server: ServerProcess, toy_bundle: Path, tmp_path: Path) -> None:
    refused = server.score([b64(IMAGES[0]), None], response_shape="labels")
    assert (refused.status, refused.json["error"]["code"]) == (400, "labels_missing")
    with run_server(tmp_path, "--model", str(toy_bundle), "--response-shape", "labels", ready=False) as process:
        assert process.process.wait(60) != 0
        assert "labels_missing" in process.log


def test_without_a_server(toy: MedImageInsight, toy_bundle: Path, tmp_path: Path) -> None:
    bundle = with_labels(toy_bundle, LABELS, tmp_path)
    body = score_request(*[[b64(image), None] for image in IMAGES])
    with MedImageInsight.load(bundle, threads=1) as model:
        check(json.loads(to_json(score(body, model, response_shape="labels"))), toy)
    assert score(body, toy, response_shape="labels").status == 400


def test_labels_of_a_bundle_are_texts(toy_bundle: Path, tmp_path: Path) -> None:
    assert Manifest.load(toy_bundle).labels == ()
    assert Manifest.load(with_labels(toy_bundle, ["a", "b", "a"], tmp_path)).labels == ("a", "b")
    assert Manifest.load(with_labels(toy_bundle, [1], tmp_path / "wrong")).labels == ()
