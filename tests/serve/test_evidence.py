"""Percentages of the server stand next to the best cosine, the mark of unlike images and warnings about words."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.bundle import (
    STATISTICS,
    VOCABULARY,
    Bundle,
    ImageGroups,
    ValidationStatistics,
    add_file,
    write_statistics,
    write_words,
)

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
from tests.serve.server_process import b64, make_image, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

KNOWN, OTHER = make_image(1), make_image(2)


def known_image(vector: np.ndarray) -> ImageGroups:
    """Return groups of one image, (1, D), with distances of 1e-9 as usual."""
    return ImageGroups(
        means=vector,
        made_means=-vector,
        directions=np.eye(1, vector.shape[1], dtype=np.float32),
        weights=np.zeros(1),
        log_means=np.array([np.log(1e-9)]),
        log_spreads=np.ones(1),
    )


@pytest.fixture(scope="module")
def checked_server(toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of the toy model, whose statistics know one image alone, and whose vocabulary two words."""
    folder = tmp_path_factory.mktemp("evidence")
    bundle = Bundle.open(shutil.copytree(toy_bundle, folder / "toy"))
    with MedImageInsight.load(bundle.folder) as model:
        statistics = ValidationStatistics(
            model=model.identity,
            groups=known_image(model.embed_images([KNOWN])),
            threshold=0.0,
            level=0.01,
            images=100,
            data={},
        )
    bundle = add_file(bundle, STATISTICS, lambda path: write_statistics(path, statistics))
    bundle = add_file(bundle, VOCABULARY, lambda path: write_words(path, ["chest", "skin"]))
    with run_server(folder, "--model", str(bundle.folder)) as process:
        yield process


def test_classify_shows_cosine_mark_and_unknown_words(checked_server: ServerProcess) -> None:
    body = {"images": [b64(KNOWN), b64(OTHER), "bm8="], "labels": ["chest", "a banana"]}
    reply = checked_server.post("/api/classify", body)
    first, second, broken = reply.json["results"]
    assert (first["unlike_validation"], second["unlike_validation"]) == (False, True)
    assert "error" in broken
    compared = checked_server.post(
        "/api/compare", {"a": [{"image": b64(KNOWN)}], "b": [{"text": "chest"}, {"text": "a banana"}]}
    ).json["similarity"]
    assert first["cosine"] == pytest.approx(max(compared[0]), abs=1e-5)
    assert [(warning["code"], warning["words"]) for warning in reply.json["warnings"]] == [
        ("words_unknown", ["a", "banana"])
    ]
    assert "words_unknown" in reply.headers["x-warnings"]


def test_known_words_give_no_warning(checked_server: ServerProcess) -> None:
    reply = checked_server.post("/api/classify", {"images": [b64(KNOWN)], "labels": ["chest", "skin"]})
    assert "warnings" not in reply.json
    assert "x-warnings" not in reply.headers


def test_tag_shows_cosine_and_mark(checked_server: ServerProcess) -> None:
    body = {"images": [b64(KNOWN), b64(OTHER)], "vocabulary": "modality"}
    results = checked_server.post("/api/tag", body).json["results"]
    assert [result["unlike_validation"] for result in results] == [False, True]
    assert results[0]["cosine"] == max(tag["cosine"] for tag in results[0]["tags"].values())


def test_without_statistics_the_mark_is_absent(server: ServerProcess) -> None:
    (result,) = server.post("/api/classify", {"images": [b64(KNOWN)], "labels": ["chest", "skin"]}).json["results"]
    assert list(result) == ["probabilities", "cosine"]


@pytest.mark.parametrize("labels", [["chest"], {"chest": ["x-ray chest", "chest film"]}])
def test_a_single_label_is_refused(server: ServerProcess, labels: object) -> None:
    reply = server.post("/api/classify", {"images": [b64(KNOWN)], "labels": labels})
    assert (reply.status, reply.json["error"]["code"]) == (422, "labels_too_few")
