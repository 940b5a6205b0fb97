"""The methods and results of the local model on a remote one."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom import Dataset

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from medimageinsight.errors import EndpointError, ImageError, InputError, TextError
from tests.client.scripted_server import ScriptedServer, encode
from tests.toy import DIM, LOGIT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_many_images(endpoint: Endpoint, model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    embeddings = endpoint.embed_images(arrays)
    assert (embeddings.shape, embeddings.dtype) == ((20, DIM), np.float32)
    np.testing.assert_array_equal(embeddings, model.embed_images(arrays))
    np.testing.assert_array_equal(endpoint.embed_images(iter(arrays)), embeddings)
    np.testing.assert_array_equal(endpoint.embed_images(np.stack(arrays)), embeddings)


def test_texts(endpoint: Endpoint, model: MedImageInsight, server: ScriptedServer) -> None:
    texts = ["ct chest", "", "mr", "ct chest", "Röntgen"]
    embeddings = endpoint.embed_texts(iter(texts))
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, model.embed_texts(texts))
    assert server.sent_cells(1) == [["ct chest", " ", "mr", "Röntgen"]]
    np.testing.assert_array_equal(endpoint.embed_texts("mr"), model.embed_texts("mr"))


def test_empty_input_gives_no_rows(endpoint: Endpoint) -> None:
    assert endpoint.embed_images([]).shape == endpoint.embed_texts([]).shape == (0, DIM)
    assert endpoint.embed_images([], errors="return") == []


def test_classify_and_similarity(endpoint: Endpoint, model: MedImageInsight, arrays: list[np.ndarray]) -> None:
    options: dict[str, Any] = {"template": ["{modality} {}", "{}"], "fields": {"modality": "ct"}}
    labels = {"a": ["chest", "lung"], "b": "brain"}
    for sources in (arrays, arrays[0]):
        probabilities = endpoint.classify(sources, labels, **options)
        np.testing.assert_array_equal(probabilities, model.classify(sources, labels, **options))
    _, error = endpoint.classify([arrays[0], b"bad"], labels, errors="return")
    assert isinstance(error, ImageError)
    images = endpoint.embed_images(arrays)
    np.testing.assert_array_equal(endpoint.similarity(images, images), model.similarity(images, images))


def test_the_scale_and_the_length_are_requested_once(endpoint: Endpoint, server: ScriptedServer) -> None:
    assert (endpoint.logit_scale, endpoint.logit_scale, endpoint.embedding_dim) == (LOGIT_SCALE, LOGIT_SCALE, DIM)
    ((_, _, body),) = server.requests
    assert body["params"] == {"get_scaling_factor": True, "response_shape": "rows"}
    assert body["input_data"]["data"][0][0] is None


def test_preprocessing(server: ScriptedServer, toy_bundle: Path, arrays: list[np.ndarray]) -> None:
    with (
        MedImageInsight.load(toy_bundle, threads=1, preprocessing="azure") as local,
        Endpoint(server.url, preprocessing="azure") as endpoint,
    ):
        np.testing.assert_array_equal(endpoint.embed_images(arrays), local.embed_images(arrays))


def test_a_generator_is_never_read_far_ahead(endpoint: Endpoint, arrays: list[np.ndarray]) -> None:
    read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield arrays[0]

    stream = endpoint.stream_images(endless(), batch_size=4)
    furthest = max(read - next(stream).index for _ in range(40))
    stream.close()
    assert furthest <= 3 * 4


def test_progress_counts_to_the_end(endpoint: Endpoint, arrays: list[np.ndarray]) -> None:
    seen: list[int] = []
    endpoint.embed_images(arrays, progress=seen.append)
    assert seen == [*range(1, 21)]


@pytest.fixture
def sources(arrays: list[np.ndarray]) -> list[Any]:
    truncated = encode(arrays[0])[:200]
    return [b"", *arrays[:9], b"not an image", "no-such-file.png", truncated, "http://example.org/a.png", Dataset(), 3]


def test_bad_images_are_returned_in_order_as_by_the_local_model(
    endpoint: Endpoint, model: MedImageInsight, sources: list[Any]
) -> None:
    results, expected = (either.embed_images(sources, errors="return") for either in (endpoint, model))
    assert [type(result) for result in results] == [type(result) for result in expected]
    np.testing.assert_allclose(results[1:10], expected[1:10], atol=1e-6)
    codes = [getattr(result, "code", None) for result in results]
    expected_codes = [getattr(result, "code", None) for result in expected]
    assert codes[:14] == expected_codes[:14]
    assert codes[15] == expected_codes[15] == "image_bad_source"


def test_bad_images_are_skipped(endpoint: Endpoint, sources: list[Any]) -> None:
    assert endpoint.embed_images(sources, errors="skip").shape == (9, DIM)
    assert endpoint.embed_images([b"", b"bad"], errors="skip").shape == (0, DIM)


@pytest.mark.parametrize("bad", [b"", b"not an image"])
def test_a_bad_image_is_raised_and_named(endpoint: Endpoint, arrays: list[np.ndarray], bad: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        endpoint.embed_images([*arrays[:10], bad, arrays[0]])
    assert caught.value.__notes__ == ["source 10, counted from 0"]
    with pytest.raises(ImageError):
        endpoint.embed_images(bad, errors="skip")


def test_a_request_that_fails_for_one_row_is_repeated_row_by_row(
    endpoint: Endpoint, server: ScriptedServer, model: MedImageInsight, arrays: list[np.ndarray]
) -> None:
    """The hosted platform answers 424 for a model that failed on one of the rows."""
    server.script = [(424, {}, b"model error")]
    first, second, third = endpoint.embed_images([arrays[0], b"bad", arrays[1]], errors="return")
    np.testing.assert_array_equal([first, third], [model.embed_images(array) for array in arrays[:2]])
    assert (type(second), second.code) == (ImageError, "image_not_an_image")
    server.script = [(424, {}, b"model error")]
    with pytest.raises(ImageError) as caught:
        endpoint.embed_images(b"bad")
    assert caught.value.code == "image_refused"


@pytest.mark.parametrize("texts", [None, 3, b"ct", ["ct", 3]])
def test_rejects_anything_but_text(endpoint: Endpoint, server: ScriptedServer, texts: Any) -> None:
    with pytest.raises(TextError) as caught:
        endpoint.embed_texts(texts)
    assert caught.value.code == "text_not_a_string"
    assert server.requests == []


@pytest.mark.parametrize("texts", ["\ud800", ["ct", "\ud800"]])
def test_a_text_that_the_server_refuses(endpoint: Endpoint, texts: Any) -> None:
    with pytest.raises(TextError) as caught:
        endpoint.embed_texts(texts)
    assert caught.value.code == "text_not_unicode"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"timeout_s": 0}, "timeout_invalid"),
        ({"retries": -1}, "retries_invalid"),
        ({"batch_size": 0}, "batch_size_invalid"),
        ({"preprocessing": "best"}, "preprocessing_invalid"),
        ({"key": ""}, "key_invalid"),
        ({"key": "s3cret\r\nHost: a"}, "key_invalid"),
        ({"key": "s3crét"}, "key_invalid"),
        *(
            ({"url": url}, "url_invalid")
            for url in (
                *(
                    "",
                    "localhost",
                    "ftp://s3cret",
                    "http://",
                    "http://s3cret:a",
                    "http://s3cret:99999",
                    "http://[a",
                ),
                *("http://me:s3cret@host", "http://host/s3cret a", "http://host/s3crét", "http://host/s3cret\n"),
            )
        ),
    ],
)
def test_wrong_arguments_are_rejected_and_not_quoted(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        Endpoint(**{"url": "http://127.0.0.1", **arguments})
    assert caught.value.code == code
    assert "s3cr" not in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "code"), [({"errors": "ignore"}, "errors_invalid"), ({"batch_size": 0}, "batch_size_invalid")]
)
def test_wrong_arguments_of_a_call(endpoint: Endpoint, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        endpoint.embed_images([], **arguments)
    assert caught.value.code == code


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(EndpointError("expected", code="a", status=500)))
    assert (error.message, error.code, error.status) == ("expected", "a", 500)
