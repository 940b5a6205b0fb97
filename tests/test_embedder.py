"""Sources in, vectors out: one or many, good or bad, in order and in bounded memory."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import images
from medimageinsight.bundle import Bundle
from medimageinsight.embedder import Embedder, map_ahead
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
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(20)]


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def decode_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mi2-decode")]


def test_every_kind_of_source_is_the_same_picture(
    embedder: Embedder, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    picture, data = pictures[0], png(pictures[0])
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    sources = [path, str(path), data, bytearray(data), io.BytesIO(data), Image.fromarray(picture), picture]
    expected = embedder.embed_images(picture)
    assert expected.shape == (DIM,)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(embedder.embed_images(list(sources)), np.tile(expected, (len(sources), 1)))
    sources[4] = io.BytesIO(data)
    for source in sources:
        np.testing.assert_array_equal(embedder.embed_images(source), expected)


@pytest.mark.parametrize("many", [list, tuple, iter, np.stack])
def test_many_sources_give_rows(embedder: Embedder, pictures: list[np.ndarray], many: type) -> None:
    embeddings = embedder.embed_images(many(pictures))
    assert embeddings.shape == (20, DIM)
    np.testing.assert_allclose(embeddings[17], embedder.embed_images(pictures[17]), atol=1e-6)


def test_no_sources(embedder: Embedder) -> None:
    assert embedder.embed_images([]).shape == (0, DIM)
    assert embedder.embed_images(iter(())).dtype == np.float32
    assert embedder.embed_images([], errors="return") == []


def test_the_batch_size_does_not_matter(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    expected = embedder.embed_images(pictures)
    for batch_size in (1, 7, 64):
        np.testing.assert_allclose(embedder.embed_images(pictures, batch_size=batch_size), expected, atol=1e-6)


def test_a_bad_source_raises_and_is_named(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    with pytest.raises(ImageError) as caught:
        embedder.embed_images([*pictures, b"no image", pictures[0]])
    assert caught.value.__notes__ == ["source 20, counted from 0"]
    assert not decode_threads()


def test_bad_sources_are_skipped(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    sources = [b"bad", *pictures[:3], "no-such-file.png", *pictures[3:]]
    np.testing.assert_allclose(
        embedder.embed_images(sources, errors="skip"), embedder.embed_images(pictures), atol=1e-6
    )
    assert embedder.embed_images([b"bad", b"", b"worse"], errors="skip").shape == (0, DIM)


def test_bad_sources_are_returned_in_their_place(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    results = embedder.embed_images([b"", *pictures[:9], "no-such-file.png"], errors="return")
    assert [isinstance(result, ImageError) for result in results] == [True, *[False] * 9, True]
    assert [results[0].code, results[-1].code] == ["image_empty", "image_not_found"]
    np.testing.assert_allclose(results[9], embedder.embed_images(pictures[8]), atol=1e-6)


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_a_single_bad_source_raises(embedder: Embedder, errors: str) -> None:
    with pytest.raises(ImageError):
        embedder.embed_images(b"bad", errors=errors)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"errors": "ignore"}, "errors_invalid"), ({"batch_size": 0}, "batch_size_invalid")],
)
def test_wrong_arguments(embedder: Embedder, arguments: dict[str, object], code: str) -> None:
    with pytest.raises(InputError) as caught:
        embedder.embed_images([], **arguments)
    assert caught.value.code == code


def test_progress_counts_to_the_end(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    seen: list[int] = []
    embedder.embed_images(pictures, batch_size=8, progress=seen.append)
    assert seen == [*range(1, 21)]


def test_another_preprocessing_for_one_call(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    azure = Preprocessing.from_dict({**embedder.preprocessing.to_dict(), "default": "azure"})
    direct = embedder.embed_images(pictures[0])
    assert not np.array_equal(embedder.embed_images(pictures[0], preprocessing=azure), direct)
    np.testing.assert_array_equal(embedder.embed_images(pictures[0]), direct)


def test_the_network_sees_what_preprocess_gives(embedder: Embedder, engine: Engine, pictures: list[np.ndarray]) -> None:
    pixels = preprocess(images.open(pictures[0]), embedder.preprocessing)
    np.testing.assert_array_equal(embedder.embed_images(pictures[0]), engine.embed_pixels(pixels[np.newaxis])[0])


def test_a_chosen_frame(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(picture) for picture in pictures[:3]]
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    np.testing.assert_array_equal(embedder.embed_images(buffer.getvalue(), frame=2), embedder.embed_images(pictures[2]))


def test_a_generator_is_never_drawn_far_ahead(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    drawn = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal drawn
        while True:
            drawn += 1
            yield pictures[0]

    stream = embedder.stream_images(endless(), batch_size=4)
    furthest = max(drawn - next(stream).index for _ in range(100))
    stream.close()
    assert furthest <= 3 * 4 + available_cpus() + 1
    assert not decode_threads()


def test_an_abandoned_stream_does_not_keep_python_alive(toy_bundle: Path) -> None:
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


def test_an_error_of_the_iterable_itself_ends_the_call(embedder: Embedder, pictures: list[np.ndarray]) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from pictures
        raise ConnectionError

    with pytest.raises(ConnectionError):
        embedder.embed_images(broken())
    assert not decode_threads()


def test_an_error_of_the_network_ends_the_call(embedder: Embedder, engine: Engine, pictures: list[np.ndarray]) -> None:
    engine.close()
    with pytest.raises(ModelError):
        embedder.embed_images(pictures, errors="return")
    assert not decode_threads()


def test_decoding_goes_on_while_the_network_works() -> None:
    """The function of a later item runs before the earlier result is taken any further."""
    second_ran = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            second_ran.set()
        return item

    results = map_ahead(work, iter(range(5)), ahead=2)
    assert next(results) == 0
    assert second_ran.wait(10)
    assert list(results) == [1, 2, 3, 4]


def test_as_many_at_a_time_as_there_are_cores() -> None:
    barrier = threading.Barrier(available_cpus())
    assert sorted(map_ahead(lambda _: barrier.wait(10), range(available_cpus()), ahead=64)) == [
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
def test_what_is_no_text(embedder: Embedder, texts: object) -> None:
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
