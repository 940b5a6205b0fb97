"""The candidates inside their workers: each opener loads a candidate and returns a function that prepares a case.

The prepared call takes arrays in memory and returns the number of its rows; only the call is timed.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bench.cases import Encoder
    from medimageinsight.network.model import UniCLModel

Call: TypeAlias = "Callable[[], int]"
PrepareCase: TypeAlias = "Callable[[dict[str, Any]], Call]"
"""Prepares the call of a case, which is in the JSON form of the protocol."""

_GRAPHS = {"image": ("image_encoder", "image_embeddings"), "text": ("text_encoder", "text_embeddings")}


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """A candidate and its settings."""

    candidate: str
    bundle: str  # folder
    encoder: Encoder  # the only one that is loaded
    architecture: dict[str, Any]  # as in the manifest
    threads: int
    providers: list[str]  # execution providers of ONNX Runtime, the CPU last
    graph: str = ""  # path of a graph that replaces the bundle's, or to export one to
    images: tuple[str, ...] = ()  # paths of files to embed


def open_bundle(config: CandidateConfig) -> PrepareCase:
    """Open the bundle's engine as a user does; padded texts, which the engine never makes, use a session."""
    from medimageinsight.bundle import TEXT_ENCODER, Bundle
    from medimageinsight.engine import Engine

    bundle = Bundle.open(config.bundle)
    engine = Engine(bundle, providers=config.providers, threads=config.threads)

    def prepare(case: dict[str, Any]) -> Call:
        if config.encoder == "image":
            pixels = _noise(config, case["batch"])
            return lambda: len(engine.embed_pixels(pixels))
        if case["tokens"] == case["length"]:
            rows = _inputs(config, case)["input_ids"].tolist()
            return lambda: len(engine.embed_tokens(rows))
        engine.close()  # so that the encoder is in memory once; padded texts are the last case
        bundle.verify(TEXT_ENCODER)
        return _open_graph(bundle.path(TEXT_ENCODER), config)(case)

    return prepare


def open_plain(config: CandidateConfig) -> PrepareCase:
    """Open the graph that `open_export` wrote, in the same kind of session."""
    return _open_graph(Path(config.graph), config)


def open_export(config: CandidateConfig) -> PrepareCase:
    """Export one encoder of the architecture without rewriting; there is nothing to time."""
    from medimageinsight.export import graphs

    model, path = _network(config, device="cpu"), Path(config.graph)
    if config.encoder == "image":
        graphs.export_image_encoder(model, path)
    else:
        graphs.export_text_encoder(model, path)
    return lambda _: lambda: 0


def open_torch(config: CandidateConfig) -> PrepareCase:
    """Open the network in PyTorch, eager or compiled for each shape; ``tuned`` differs in its environment."""
    import torch

    compiled = config.candidate == "compile"

    device = "cuda" if config.providers[0] == "CUDAExecutionProvider" else "cpu"
    torch.set_num_threads(config.threads)
    model = _network(config, device=device)
    encode: Callable[..., torch.Tensor] = model.encode_image if config.encoder == "image" else model.encode_text
    if compiled:
        encode = torch.compile(encode, dynamic=False)

    def prepare(case: dict[str, Any]) -> Call:
        inputs = [torch.from_numpy(value) for value in _inputs(config, case).values()]

        def run() -> int:
            with torch.inference_mode():
                return len(encode(*(tensor.to(device) for tensor in inputs)).cpu())

        if compiled:
            try:
                run()
            except Exception as error:  # the compiler's errors have no common base, and their messages contain paths
                raise _compile_failed(error) from error
        return run

    return prepare


def open_openvino(config: CandidateConfig) -> PrepareCase:
    """Open the bundle's graph in OpenVINO, in float32 and compiled for each shape."""
    core = importlib.import_module("openvino").Core()
    properties = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": config.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    name, output = _GRAPHS[config.encoder]

    def prepare(case: dict[str, Any]) -> Call:
        inputs = _inputs(config, case)
        model = core.read_model(str(Path(config.bundle) / f"{name}.onnx"))
        model.reshape({key: list(value.shape) for key, value in inputs.items()})
        request = core.compile_model(model, "CPU", properties).create_infer_request()
        return lambda: len(request.infer(inputs)[output])

    return prepare


def open_matmul(config: CandidateConfig) -> PrepareCase:
    """Open the machine's matrix product; a case is ``{"library": "onnxruntime"}`` or ``{"library": "numpy"}``."""
    from medimageinsight.bench.machine_peak import matrix_products

    products = matrix_products(config.threads, config.providers)
    return lambda case: products[case["library"]]


def open_files(config: CandidateConfig) -> PrepareCase:
    """Open the model; ``{"files": n, ...}`` embeds the first n files, ``{"batch": n}`` noise in the same engine."""
    model = _load(config)

    def prepare(case: dict[str, Any]) -> Call:
        if "files" in case:
            files = config.images[: case["files"]]
            return lambda: len(model.embed_images(files, errors="skip", batch_size=case["batch"]))
        pixels = _noise(config, case["batch"])
        return lambda: len(model.engine.embed_pixels(pixels))

    return prepare


def open_cold(config: CandidateConfig) -> PrepareCase:
    """Open the model as a user does, for the first image; its pixels are in memory."""
    model = _load(config)
    height, width = config.architecture["image"]["image_size"]
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return lambda _: lambda: len(model.embed_images([pixels]))


OPENERS: dict[str, Callable[[CandidateConfig], PrepareCase]] = {
    "bundle": open_bundle,
    "plain": open_plain,
    "eager": open_torch,
    "tuned": open_torch,
    "compile": open_torch,
    "openvino": open_openvino,
    "matmul": open_matmul,
    "export": open_export,
    "files": open_files,
    "cold": open_cold,
}


def _load(config: CandidateConfig) -> MedImageInsight:
    from medimageinsight.api import MedImageInsight

    return MedImageInsight.load(Path(config.bundle), providers=config.providers, threads=config.threads)


def _open_graph(path: Path, config: CandidateConfig) -> PrepareCase:
    from medimageinsight.engine import Session

    session = Session(path, providers=config.providers, threads=config.threads)
    output = _GRAPHS[config.encoder][1]

    def prepare(case: dict[str, Any]) -> Call:
        inputs = _inputs(config, case)
        return lambda: len(session.run(output, inputs))

    return prepare


def _network(config: CandidateConfig, *, device: str) -> UniCLModel:
    """Return the bundle's architecture with one encoder in memory and random weights."""
    import torch

    from medimageinsight.network.checkpoint import create_meta_model
    from medimageinsight.network.config import ModelConfig

    model = create_meta_model(ModelConfig.from_dict(config.architecture))
    if config.encoder == "image":
        del model.lang_encoder, model.lang_projection
    else:
        del model.image_encoder, model.image_projection
    model.to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        for name, buffer in model.named_buffers():
            buffer.fill_(1.0 if name.endswith("running_var") else 0.0)
    return model.eval().requires_grad_(False)


def _inputs(config: CandidateConfig, case: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the inputs of the bundle's graph in order: ``pixel_values``, or ``input_ids`` and ``attention_mask``."""
    if config.encoder == "image":
        return {"pixel_values": _noise(config, case["batch"])}
    end = config.architecture["text"]["vocab_size"] - 1
    shape = (case["batch"], case["length"])
    input_ids = np.full(shape, end, dtype=np.int64)
    input_ids[:, : case["tokens"] - 1] = np.random.default_rng(0).integers(1, end - 1, (shape[0], case["tokens"] - 1))
    attention_mask = np.zeros(shape, dtype=np.int64)
    attention_mask[:, : case["tokens"]] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _noise(config: CandidateConfig, batch: int) -> NDArray[np.float32]:
    """Return prepared images of noise, (batch, 3, H, W) float32."""
    height, width = config.architecture["image"]["image_size"]
    return np.random.default_rng(0).standard_normal((batch, 3, height, width), dtype=np.float32)


def _compile_failed(error: BaseException) -> ModelError:
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "InvalidCxxCompiler":
            return ModelError(
                "torch.compile needs a C++ compiler, got none that works: install g++ or set CXX",
                code="compiler_missing",
            )
        cause = cause.__cause__ or cause.__context__
    return ModelError(f"torch.compile failed ({type(error).__name__}): omit this baseline", code="compile_failed")
