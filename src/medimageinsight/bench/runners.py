"""The candidates as they are inside their worker: each opens what it needs and gives a call for each case.

A call takes arrays that are in memory and returns the number of rows it made; everything before it is not timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bench.figures import Side
    from medimageinsight.network.model import UniCLModel

Call: TypeAlias = "Callable[[], int]"
Opened: TypeAlias = "Callable[[dict[str, Any]], Call]"
"""From a case, in the plain form of the protocol, to its call."""

_FACES = {"image": ("image_encoder", "image_embeddings"), "text": ("text_encoder", "text_embeddings")}


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a candidate opens.

    Attributes:
        candidate: Its name.
        bundle: The bundle's folder.
        side: ``image`` or ``text``: the one encoder that is loaded.
        architecture: The manifest's.
        threads: CPU threads.
        providers: Execution providers of ONNX Runtime, as the engine takes them; the CPU last.
        graph: Another graph in place of the bundle's, or where to export one.
        images: Files to embed.
    """

    candidate: str
    bundle: str
    side: Side
    architecture: dict[str, Any]
    threads: int
    providers: list[str]
    graph: str = ""
    images: tuple[str, ...] = ()


def open_bundle(opening: Opening) -> Opened:
    """The bundle through the engine, as users get it; padded texts, which the engine never makes, through a session."""
    from medimageinsight.bundle import TEXT_ENCODER, Bundle
    from medimageinsight.engine import Engine

    bundle = Bundle.open(opening.bundle)
    engine = Engine(bundle, providers=opening.providers, threads=opening.threads)

    def prepare(case: dict[str, Any]) -> Call:
        if opening.side == "image":
            pixels = _noise(opening, case["batch"])
            return lambda: len(engine.embed_pixels(pixels))
        if case["tokens"] == case["length"]:
            rows = _inputs(opening, case)["input_ids"].tolist()
            return lambda: len(engine.embed_tokens(rows))
        engine.close()  # the encoder is in memory once; padded texts are the last case
        bundle.verify(TEXT_ENCODER)
        return _open_graph(bundle.path(TEXT_ENCODER), opening)(case)

    return prepare


def open_plain(opening: Opening) -> Opened:
    """The graph that `open_export` wrote, through the same session."""
    return _open_graph(Path(opening.graph), opening)


def open_export(opening: Opening) -> Opened:
    """Writes one encoder of the architecture as the exporter gives it. There is nothing to time."""
    from medimageinsight.export import graphs

    model, path = _network(opening, device="cpu"), Path(opening.graph)
    if opening.side == "image":
        graphs.export_image_encoder(model, path)
    else:
        graphs.export_text_encoder(model, path)
    return lambda _: lambda: 0


def open_eager(opening: Opening) -> Opened:
    """PyTorch as the network is written; ``tuned`` differs in its process's environment."""
    return _open_torch(opening, compiled=False)


def open_compile(opening: Opening) -> Opened:
    """PyTorch with ``torch.compile``, anew for each shape."""
    return _open_torch(opening, compiled=True)


def open_openvino(opening: Opening) -> Opened:
    """The bundle's graph in OpenVINO, in float32 and compiled for each shape."""
    from importlib import import_module

    openvino = import_module("openvino")
    core = openvino.Core()
    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": opening.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    name, output = _FACES[opening.side]

    def prepare(case: dict[str, Any]) -> Call:
        inputs = _inputs(opening, case)
        model = core.read_model(str(Path(opening.bundle) / f"{name}.onnx"))
        model.reshape({key: list(value.shape) for key, value in inputs.items()})
        request = core.compile_model(model, "CPU", config).create_infer_request()
        return lambda: len(request.infer(inputs)[output])

    return prepare


def open_matmul(opening: Opening) -> Opened:
    """The machine's matrix product; a case is ``{"by": "onnxruntime"}`` or ``{"by": "numpy"}``."""
    from medimageinsight.bench.matmul import products

    ways = products(opening.threads, opening.providers)
    return lambda case: ways[case["by"]]


def open_files(opening: Opening) -> Opened:
    """``{"files": n}``: files to vectors, the first n of them; ``{"batch": n}``: noise through the same engine."""
    model = _load(opening)

    def prepare(case: dict[str, Any]) -> Call:
        if "files" in case:
            files = opening.images[: case["files"]]
            return lambda: len(model.embed_images(files, errors="skip", batch_size=case["batch"]))
        pixels = _noise(opening, case["batch"])
        return lambda: len(model.engine.embed_pixels(pixels))

    return prepare


def open_cold(opening: Opening) -> Opened:
    """A user's first picture, from pixels in memory."""
    model = _load(opening)
    height, width = opening.architecture["image"]["image_size"]
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return lambda _: lambda: len(model.embed_images([picture]))


OPENERS: dict[str, Callable[[Opening], Opened]] = {
    "bundle": open_bundle,
    "plain": open_plain,
    "eager": open_eager,
    "tuned": open_eager,
    "compile": open_compile,
    "openvino": open_openvino,
    "matmul": open_matmul,
    "export": open_export,
    "files": open_files,
    "cold": open_cold,
}


def _load(opening: Opening) -> MedImageInsight:
    from medimageinsight.api import MedImageInsight

    return MedImageInsight.load(Path(opening.bundle), providers=opening.providers, threads=opening.threads)


def _open_graph(path: Path, opening: Opening) -> Opened:
    from medimageinsight.engine import Session

    session = Session(path, providers=opening.providers, threads=opening.threads)
    output = _FACES[opening.side][1]

    def prepare(case: dict[str, Any]) -> Call:
        inputs = _inputs(opening, case)
        return lambda: len(session.run(output, inputs))

    return prepare


def _open_torch(opening: Opening, *, compiled: bool) -> Opened:
    import torch

    device = "cuda" if opening.providers[0] == "CUDAExecutionProvider" else "cpu"
    torch.set_num_threads(opening.threads)
    model = _network(opening, device=device)
    encode: Callable[..., torch.Tensor] = model.encode_image if opening.side == "image" else model.encode_text
    if compiled:
        encode = torch.compile(encode, dynamic=False)

    def prepare(case: dict[str, Any]) -> Call:
        inputs = [torch.from_numpy(value) for value in _inputs(opening, case).values()]

        def run() -> int:
            with torch.inference_mode():
                return len(encode(*(one.to(device) for one in inputs)).cpu())

        if compiled:
            try:
                run()
            except Exception as error:  # the compiler's errors have no common base, and their messages hold paths
                raise _compile_failed(error) from error
        return run

    return prepare


def _network(opening: Opening, *, device: str) -> UniCLModel:
    """The bundle's architecture with one of its encoders in memory, its weights random."""
    import torch

    from medimageinsight.network.checkpoint import meta_model
    from medimageinsight.network.config import ModelConfig

    model = meta_model(ModelConfig.from_dict(opening.architecture))
    if opening.side == "image":
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
    return model.eval().requires_grad_(False)


def _inputs(opening: Opening, case: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Of a graph with the bundle's face, in its order: ``pixel_values``, or ``input_ids`` and ``attention_mask``."""
    if opening.side == "image":
        return {"pixel_values": _noise(opening, case["batch"])}
    end = opening.architecture["text"]["vocab_size"] - 1
    shape = (case["batch"], case["length"])
    input_ids = np.full(shape, end, dtype=np.int64)
    input_ids[:, : case["tokens"] - 1] = np.random.default_rng(0).integers(1, end - 1, (shape[0], case["tokens"] - 1))
    attention_mask = np.zeros(shape, dtype=np.int64)
    attention_mask[:, : case["tokens"]] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _noise(opening: Opening, batch: int) -> NDArray[np.float32]:
    """Prepared images (batch, 3, H, W) float32."""
    height, width = opening.architecture["image"]["image_size"]
    return np.random.default_rng(0).standard_normal((batch, 3, height, width), dtype=np.float32)


def _compile_failed(error: BaseException) -> ModelError:
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "InvalidCxxCompiler":
            return ModelError(
                "torch.compile needs a C++ compiler, it found none that works: install g++ or set CXX",
                code="compiler_missing",
            )
        cause = cause.__cause__ or cause.__context__
    return ModelError(f"torch.compile failed ({type(error).__name__}): leave this baseline out", code="compile_failed")
