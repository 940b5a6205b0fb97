"""Pooling: its default and blocks, and studies in the methods of a model, local and remote."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight, images, studies, tasks
from medimageinsight.client import Endpoint
from medimageinsight.errors import InputError
from medimageinsight.metrics import normalize
from tests.cli.study_folders import write_pages, write_series
from tests.client.scripted_server import KEY, ScriptedServer, running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model(toy_bundle: Path):
    with MedImageInsight.load(toy_bundle, threads=1) as loaded:
        yield loaded


@pytest.fixture(params=["local", "remote"])
def encoders(request: pytest.FixtureRequest, model: MedImageInsight):
    if request.param == "local":
        yield model
        return
    with running(ScriptedServer(model)) as server, Endpoint(server.url, KEY) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ct")
    for number in range(3):
        write_series(path / str(number), patient=str(number), study=str(number), series="1", level=800 * number)
    return path


def test_statistics_of_many_rows_are_those_of_numpy() -> None:
    rows = np.random.default_rng(0).normal(size=(70_000, 100)).astype(np.float32)
    np.testing.assert_allclose(
        studies.pool(rows, "median"), normalize(np.median(rows.astype(float), axis=0)), atol=1e-6
    )
    joined = studies.pool(rows[:5], "statistics").reshape(7, 100)
    reduced = {
        "mean": rows[:5].mean(axis=0), "median": np.median(rows[:5], axis=0), "std": rows[:5].std(axis=0),
        "min": rows[:5].min(axis=0), "max": rows[:5].max(axis=0),
        "q25": np.quantile(rows[:5], 0.25, axis=0), "q75": np.quantile(rows[:5], 0.75, axis=0),
    }  # fmt: skip
    for name, row in zip(studies.STATISTICS, joined, strict=True):
        np.testing.assert_allclose(row, normalize(reduced[name]) / np.sqrt(7), atol=1e-6)


def test_studies_are_sources_of_all_methods(encoders, folder: Path) -> None:
    found = list(studies.read(folder))
    vectors = np.stack([studies.pool(encoders.embed_images(study.series[0].images)) for study in found])
    np.testing.assert_allclose(encoders.embed_images(found), vectors, atol=1e-5)
    labels = ["x-ray", "photograph"]
    np.testing.assert_allclose(encoders.classify(found, labels)[1], encoders.classify(found[1], labels), atol=1e-5)
    results = encoders.zero_shot([study.series[0] for study in found], labels)
    np.testing.assert_allclose(
        [list(result.probabilities.values()) for result in results], encoders.classify(found, labels), atol=1e-5
    )
    assert len(encoders.tag(found, "modality")) == 3
    np.testing.assert_allclose(encoders.compare(found), encoders.similarity(vectors, vectors), atol=1e-4)
    assert encoders.compare(found[0], tasks.Text("x-ray")).shape == ()
    detector = tasks.fit_outliers(vectors[:2], vectors[1:], k=1)
    assert len(detector.detect(vectors)) == 3


def test_statistics_are_not_compared_with_texts_and_images(encoders, folder: Path) -> None:
    joined, single = (next(studies.read(folder / "0", pooling=name)) for name in ("statistics", "median"))
    for call in (
        lambda: encoders.classify(joined, ["a", "b"]),
        lambda: encoders.zero_shot([joined], ["a", "b"]),
        lambda: encoders.tag(joined, "modality"),
        lambda: encoders.compare(joined, tasks.Text("a")),
        lambda: encoders.compare([joined, tasks.Text("a")]),
        lambda: encoders.compare(joined, single),
    ):
        with pytest.raises(InputError) as raised:
            call()
        assert raised.value.code == "embeddings_bad_shape"
        assert "pool it with mean, median or max" in raised.value.message
    assert encoders.compare([joined, joined]).shape == (2, 2)


def test_the_first_of_several_frames_is_used_with_a_warning(model: MedImageInsight, tmp_path: Path) -> None:
    pages = str(write_pages(tmp_path / "pages.tif"))
    (study,) = studies.read(pages, select="all")
    sources = [pages, study.series[0].images[0], study]
    with closing(model.stream_images(sources)) as stream:
        codes = [[warning.code for warning in result.warnings] for result in stream]
    assert codes == [["frames_unused"], [], []], "an image of a series is chosen on purpose"
    (warning,) = images.open(pages).warnings
    assert isinstance(warning, images.FramesUnused)
    assert warning.frames == 3
    assert images.open(pages, frame=1).warnings == ()
