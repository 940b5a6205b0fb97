"""The engine on the toy bundle: reproducible bits, any batch, and errors."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER, Bundle, Manifest, find, write_manifest
from medimageinsight.engine import Engine, choose_providers
from medimageinsight.engine import engine as engine_module
from medimageinsight.engine.machine import lacks_int8_instructions
from medimageinsight.errors import BundleError, InputError, ModelError
from tests.toy import CONTEXT, DIM, SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine(toy_bundle: Path) -> Iterator[Engine]:
    with Engine(Bundle.open(toy_bundle), threads=1) as engine:
        yield engine


@pytest.fixture
def copied(toy_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toy_bundle, tmp_path / "copied")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((8, 3, SIZE, SIZE), dtype=np.float32)


ROWS = [[1, 9, 513], [1, 513], [1, 9, 8, 7, 6, 5, 513], [1, 9, 513], [1, *[4] * (CONTEXT - 2), 513]]


def test_image_embeddings_are_normalised_and_reproducible(engine: Engine, pixels: np.ndarray) -> None:
    first, second = engine.embed_pixels(pixels), engine.embed_pixels(pixels)
    assert first.shape == (8, DIM)
    assert first.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert first.tobytes() == second.tobytes()


def test_an_image_has_the_same_embedding_alone_and_in_a_batch(engine: Engine, pixels: np.ndarray) -> None:
    together = engine.embed_pixels(pixels)
    for index in range(8):
        np.testing.assert_allclose(engine.embed_pixels(pixels[index : index + 1])[0], together[index], atol=1e-6)


def test_text_embeddings_are_in_input_order(engine: Engine) -> None:
    together = engine.embed_tokens(ROWS)
    assert together.shape == (len(ROWS), DIM)
    for row, embedding in zip(ROWS, together, strict=True):
        np.testing.assert_allclose(engine.embed_tokens([row])[0], embedding, atol=1e-6)


def test_texts_exceeding_the_batch_size(engine: Engine) -> None:
    rows = [[1, *range(2, 2 + index % 9), 513] for index in range(150)]
    embeddings = engine.embed_tokens(rows)
    np.testing.assert_allclose(embeddings[:9], embeddings[9:18], atol=1e-6)


def test_empty_inputs_give_empty_outputs(engine: Engine, pixels: np.ndarray) -> None:
    assert engine.embed_pixels(pixels[:0]).shape == (0, DIM)
    assert engine.embed_tokens([]).shape == (0, DIM)


def test_concurrent_calls(engine: Engine, pixels: np.ndarray) -> None:
    expected = engine.embed_pixels(pixels)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: engine.embed_pixels(pixels), range(16)))
    assert all(np.array_equal(result, expected) for result in results)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, SIZE, SIZE), r"expected shape \(batch, 3, 16, 16\), got \(3, 16, 16\): add a batch axis"),
        ((1, 3, SIZE, 20), r"got \(1, 3, 16, 20\)"),
        ((1, SIZE, SIZE, 3), r"got \(1, 16, 16, 3\)"),
        ((SIZE, SIZE), r"got \(16, 16\)"),
    ],
)
def test_a_wrong_shape_is_refused(engine: Engine, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        engine.embed_pixels(np.zeros(shape, np.float32))
    assert caught.value.code == "pixels_bad_shape"


def test_a_wrong_dtype_is_refused(engine: Engine, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected dtype float32, got float64") as caught:
        engine.embed_pixels(pixels.astype(np.float64))
    assert caught.value.code == "pixels_bad_dtype"


@pytest.mark.parametrize("row", [[], [1] * (CONTEXT + 1)])
def test_texts_of_invalid_length_are_refused(engine: Engine, row: list[int]) -> None:
    with pytest.raises(InputError, match="expected 1 to 12 tokens") as caught:
        engine.embed_tokens([[1, 513], row])
    assert caught.value.code == "tokens_bad_length"


def test_a_failure_of_the_runtime_is_a_model_error(engine: Engine) -> None:
    with pytest.raises(ModelError, match="mi2 verify") as caught:
        engine.embed_tokens([[10**6]])
    assert caught.value.code == "inference_failed"


def test_nan_pixels_are_an_error(engine: Engine, pixels: np.ndarray) -> None:
    pixels[2] = np.nan
    with pytest.raises(ModelError) as caught:
        engine.embed_pixels(pixels)
    assert caught.value.code == "inference_not_finite"


def test_a_closed_engine_is_an_error(engine: Engine, pixels: np.ndarray) -> None:
    engine.embed_pixels(pixels)
    engine.close()
    with pytest.raises(ModelError) as caught:
        engine.embed_pixels(pixels)
    assert caught.value.code == "model_closed"


def test_a_changed_byte_is_detected_when_its_graph_is_used(copied: Path, pixels: np.ndarray) -> None:
    content = bytearray((copied / TEXT_ENCODER).read_bytes())
    content[-1] ^= 1
    (copied / TEXT_ENCODER).write_bytes(content)
    engine = Engine(Bundle.open(copied), threads=1)
    assert engine.embed_pixels(pixels).shape == (8, DIM)
    with pytest.raises(BundleError, match=TEXT_ENCODER) as caught:
        engine.embed_tokens([[1, 513]])
    assert caught.value.code == "bundle_checksum"


def test_a_graph_that_cannot_be_loaded_is_an_error(copied: Path, pixels: np.ndarray) -> None:
    (copied / IMAGE_ENCODER).write_bytes(b"no graph")
    write_manifest(copied, Manifest.load(copied), tuple(Manifest.load(copied).files))
    with pytest.raises(ModelError) as caught:
        Engine(Bundle.open(copied)).embed_pixels(pixels)
    assert caught.value.code == "graph_invalid"
    assert str(copied) not in str(caught.value)


def test_external_weights_give_equal_embeddings(copied: Path, engine: Engine, pixels: np.ndarray) -> None:
    model = onnx.load(copied / IMAGE_ENCODER)
    data = IMAGE_ENCODER + ".data"
    onnx.save(model, copied / IMAGE_ENCODER, save_as_external_data=True, location=data, size_threshold=0)
    write_manifest(copied, Manifest.load(copied), (*Manifest.load(copied).files, data))
    np.testing.assert_array_equal(Engine(Bundle.open(copied)).embed_pixels(pixels), engine.embed_pixels(pixels))


def test_the_cpu_is_always_the_last_provider() -> None:
    assert choose_providers()[-1] == "CPUExecutionProvider"
    assert choose_providers("cpu") == choose_providers(["CPUExecutionProvider"]) == ["CPUExecutionProvider"]


@pytest.mark.parametrize("providers", [["abacus"], [], ["cpu", "abacus"]])
def test_unknown_providers_are_refused(toy_bundle: Path, providers: list[str]) -> None:
    with pytest.raises(InputError, match=r"expected providers among .*cpu") as caught:
        Engine(Bundle.open(toy_bundle), providers=providers)
    assert caught.value.code == "provider_unknown"


def test_zero_threads_are_refused(toy_bundle: Path, pixels: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        Engine(Bundle.open(toy_bundle), threads=0)
    assert caught.value.code == "threads_invalid"


@pytest.fixture(scope="module")
def mini() -> Bundle:
    return Bundle.open(find("mini"))


def embed_with(mini: Bundle, threads: int) -> tuple[bytes, bytes]:
    size = tuple(mini.manifest.preprocessing["image_size"])
    pixels = np.random.default_rng(9).standard_normal((3, 3, *size), dtype=np.float32)
    rows = [[1, *range(320, 320 + length), 2] for length in (1, 7, 20)]
    with Engine(mini, providers=["cpu"], threads=threads) as engine:
        return engine.embed_pixels(pixels).tobytes(), engine.embed_tokens(rows).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_two_engines_give_the_same_bits(mini: Bundle, threads: int) -> None:
    assert embed_with(mini, threads) == embed_with(mini, threads)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_only_the_last_bits(mini: Bundle, threads: int) -> None:
    for single, multiple in zip(embed_with(mini, 1), embed_with(mini, threads), strict=True):
        np.testing.assert_allclose(
            np.frombuffer(multiple, np.float32), np.frombuffer(single, np.float32), rtol=0, atol=1e-6
        )


def test_the_text_encoder_is_loaded_with_the_first_text(copied: Path, pixels: np.ndarray) -> None:
    (copied / TEXT_ENCODER).write_bytes(b"no graph")
    write_manifest(copied, Manifest.load(copied), tuple(Manifest.load(copied).files))
    with Engine(Bundle.open(copied), threads=1) as engine:
        assert engine.embed_pixels(pixels).shape == (8, DIM)
        with pytest.raises(ModelError):
            engine.embed_tokens([[1, 513]])


@pytest.mark.parametrize(
    ("cpuinfo", "lacks"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f\n", True),
        ("processor : 0\nflags\t\t: fpu avx2 avx_vnni\n", False),
        ("processor : 0\nflags\t\t: fpu avx512f avx512_vnni\n\nprocessor : 1\nflags : fpu\n", False),
        ("processor : 0\nFeatures\t: fp asimd asimddp\n", False),
        ("processor : 0\nFeatures\t: fp asimd\n", True),
        ("processor : 0\n", False),
    ],
)
def test_instructions_for_int8_are_read_from_the_processor(tmp_path, cpuinfo, lacks):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert lacks_int8_instructions(tmp_path / "cpuinfo") == lacks
    assert not lacks_int8_instructions(tmp_path / "missing")


def test_an_int8_model_on_a_processor_without_vnni_is_a_warning(toy_bundle, monkeypatch):
    bundle = Bundle.open(toy_bundle)
    monkeypatch.setattr(engine_module, "lacks_int8_instructions", lambda: True)
    Engine(bundle, providers=["cpu"]).close()
    bundle.manifest = dataclasses.replace(bundle.manifest, precision="int8")
    with pytest.warns(RuntimeWarning, match="VNNI"):
        Engine(bundle, providers=["cpu"]).close()
