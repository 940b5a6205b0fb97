"""Embedding sources: one or many, valid or invalid, in order and in bounded memory."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight, images
from medimageinsight.bundle import Bundle
from medimageinsight.embedder import Embedder, prefetch_map
from medimageinsight.engine import Engine, available_cpus
from medimageinsight.errors import ImageError, InputError, ModelError, TextError
from medimageinsight.preprocess import Preprocessing, preprocess
from tests.toy import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine(toy_bundle: Path) -> Iterator[Engine]:
    with Engine(Bundle.open(toy_bundle), threads=1) as engine:
        yield engine


@pytest.fixture
def embedder(toy_bundle: Path, engine: Engine) -> Embedder:
    return Embedder(Bundle.open(toy_bundle), engine)


@pytest.fixture
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(20)]


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def decode_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mi2-decode")]


def test_every_kind_of_source_gives_the_same_embedding(
    embedder: Embedder, arrays: list[np.ndarray], tmp_path: Path
) -> None:
    array, data = arrays[0], png(arrays[0])
    path = tmp_path / "image.png"
    path.write_bytes(data)
    sources = [path, str(path), data, bytearray(data), io.BytesIO(data), Image.fromarray(array), array]
    expected = embedder.embed_images(array)
    assert expected.shape == (DIM,)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(embedder.embed_images(list(sources)), np.tile(expected, (len(sources), 1)))
    sources[4] = io.BytesIO(data)
    for source in sources:
        np.testing.assert_array_equal(embedder.embed_images(source), expected)


@pytest.mark.parametrize("many", [list, tuple, iter, np.stack])
def test_many_sources_give_rows(embedder: Embedder, arrays: list[np.ndarray], many: type) -> None:
    embeddings = embedder.embed_images(many(arrays))
    assert embeddings.shape == (20, DIM)
    np.testing.assert_allclose(embeddings[17], embedder.embed_images(arrays[17]), atol=1e-6)


def test_no_sources(embedder: Embedder) -> None:
    assert embedder.embed_images([]).shape == (0, DIM)
    assert embedder.embed_images(iter(())).dtype == np.float32
    assert embedder.embed_images([], errors="return") == []


def test_the_batch_size_does_not_matter(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    expected = embedder.embed_images(arrays)
    for batch_size in (1, 7, 64):
        np.testing.assert_allclose(embedder.embed_images(arrays, batch_size=batch_size), expected, atol=1e-6)


def test_the_error_of_a_bad_source_has_its_index(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    with pytest.raises(ImageError) as caught:
        embedder.embed_images([*arrays, b"no image", arrays[0]])
    assert caught.value.__notes__ == ["source 20, counted from 0"]
    assert not decode_threads()


def test_bad_sources_are_skipped(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    sources = [b"bad", *arrays[:3], "no-such-file.png", *arrays[3:]]
    np.testing.assert_allclose(embedder.embed_images(sources, errors="skip"), embedder.embed_images(arrays), atol=1e-6)
    assert embedder.embed_images([b"bad", b"", b"worse"], errors="skip").shape == (0, DIM)


def test_errors_are_returned_in_order(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    results = embedder.embed_images([b"", *arrays[:9], "no-such-file.png"], errors="return")
    assert [isinstance(result, ImageError) for result in results] == [True, *[False] * 9, True]
    assert [results[0].code, results[-1].code] == ["image_empty", "image_not_found"]
    np.testing.assert_allclose(results[9], embedder.embed_images(arrays[8]), atol=1e-6)


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_a_single_bad_source_raises(embedder: Embedder, errors: str) -> None:
    with pytest.raises(ImageError):
        embedder.embed_images(b"bad", errors=errors)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"errors": "ignore"}, "errors_invalid"), ({"batch_size": 0}, "batch_size_invalid")],
)
def test_rejects_wrong_arguments(embedder: Embedder, arguments: dict[str, object], code: str) -> None:
    with pytest.raises(InputError) as caught:
        embedder.embed_images([], **arguments)
    assert caught.value.code == code


def test_progress_counts_to_the_end(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    seen: list[int] = []
    embedder.embed_images(arrays, batch_size=8, progress=seen.append)
    assert seen == [*range(1, 21)]


def test_another_preprocessing_for_one_call(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    azure = Preprocessing.from_dict({**embedder.preprocessing.to_dict(), "default": "azure"})
    direct = embedder.embed_images(arrays[0])
    assert not np.array_equal(embedder.embed_images(arrays[0], preprocessing=azure), direct)
    np.testing.assert_array_equal(embedder.embed_images(arrays[0]), direct)


def test_the_network_receives_preprocessed_pixels(embedder: Embedder, engine: Engine, arrays: list[np.ndarray]) -> None:
    pixels = preprocess(images.open(arrays[0]), embedder.preprocessing)
    np.testing.assert_array_equal(embedder.embed_images(arrays[0]), engine.embed_pixels(pixels[np.newaxis])[0])


def test_a_chosen_frame(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    buffer = io.BytesIO()
    first, *pages = [Image.fromarray(array) for array in arrays[:3]]
    first.save(buffer, "TIFF", save_all=True, append_images=pages)
    np.testing.assert_array_equal(embedder.embed_images(buffer.getvalue(), frame=2), embedder.embed_images(arrays[2]))


def test_a_generator_is_never_read_far_ahead(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield arrays[0]

    stream = embedder.stream_images(endless(), batch_size=4)
    furthest = max(read - next(stream).index for _ in range(100))
    stream.close()
    assert furthest <= 3 * 4 + available_cpus() + 1
    assert not decode_threads()


def test_an_unfinished_stream_does_not_prevent_python_from_exiting(toy_bundle: Path) -> None:
    program = """
import sys, numpy as np
from medimageinsight import MedImageInsight
stream = MedImageInsight.load(sys.argv[1], threads=1).stream_images(np.zeros((9, 9), np.uint8) for _ in iter(int, 1))
print(next(stream).index)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(toy_bundle)], check=True, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_an_error_of_the_iterable_itself_ends_the_call(embedder: Embedder, arrays: list[np.ndarray]) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from arrays
        raise ConnectionError

    with pytest.raises(ConnectionError):
        embedder.embed_images(broken())
    assert not decode_threads()


def test_an_error_of_the_network_ends_the_call(embedder: Embedder, engine: Engine, arrays: list[np.ndarray]) -> None:
    engine.close()
    with pytest.raises(ModelError):
        embedder.embed_images(arrays, errors="return")
    assert not decode_threads()


def test_decoding_continues_while_the_network_runs() -> None:
    """The function runs for a later item before the earlier result is used."""
    second_ran = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            second_ran.set()
        return item

    results = prefetch_map(work, iter(range(5)), ahead=2)
    assert next(results) == 0
    assert second_ran.wait(10)
    assert list(results) == [1, 2, 3, 4]


def test_one_thread_for_each_core() -> None:
    barrier = threading.Barrier(available_cpus())
    assert sorted(prefetch_map(lambda _: barrier.wait(10), range(available_cpus()), ahead=64)) == [
        *range(available_cpus())
    ]


def test_texts(embedder: Embedder) -> None:
    embeddings = embedder.embed_texts(["ct chest", "mr", "ct chest"])
    assert embeddings.shape == (3, DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings[0], embeddings[2])
    np.testing.assert_allclose(embedder.embed_texts("ct chest"), embeddings[0], atol=1e-6)
    np.testing.assert_array_equal(embedder.embed_texts(iter(["ct chest", "mr", "ct chest"])), embeddings)
    assert embedder.embed_texts([]).shape == (0, DIM)


@pytest.mark.parametrize("texts", [None, 3, b"ct", ["ct", 3]])
def test_rejects_anything_but_text(embedder: Embedder, texts: object) -> None:
    with pytest.raises(TextError) as caught:
        embedder.embed_texts(texts)
    assert caught.value.code == "text_not_a_string"


def test_a_dataset_is_one_source() -> None:
    from pydicom import Dataset

    assert images.is_single(Dataset())


@pytest.mark.parametrize("source", ["a.png", b"", memoryview(b""), io.BytesIO(), np.zeros((2, 2)), None, 3])
def test_one_source(source: object) -> None:
    assert images.is_single(source)


@pytest.mark.parametrize("sources", [[], (), iter([]), {"a.png"}, np.zeros((1, 2, 2, 3)), np.array(["a.png"])])
def test_several_sources(sources: object) -> None:
    assert not images.is_single(sources)


def test_defects_of_images_are_logged_once_by_code(toy_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "medimageinsight.embedder")
    model = MedImageInsight.load(toy_bundle)
    photograph = np.zeros((8, 8, 3), np.uint8)
    model.embed_images([photograph] * 3)
    assert not caplog.records
    model.embed_images([photograph] * 3, window="lung")
    model.classify(photograph, ["a", "b"], window="1%-99%")
    assert [record.getMessage() for record in caplog.records] == [
        "defects of images, by code: window_not_applied 3",
        "defects of images, by code: window_not_applied 1",
    ]
