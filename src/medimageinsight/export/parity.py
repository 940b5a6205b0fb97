"""Whether a bundle gives what its network in PyTorch gives, in figures, and the file that keeps them."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.bundle.bundle import IMAGE_ENCODER, PARITY, TEXT_ENCODER, half_graph
from medimageinsight.engine.session import CPU, Session
from medimageinsight.errors import BundleError, ParityError
from medimageinsight.export.agreement import Agreement, agree, embed_in_pytorch
from medimageinsight.export.samples import sample_pixels, sample_tokens
from medimageinsight.files.strict import MappingError, build
from medimageinsight.tokenizer import pad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.export.calibration import Judged
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.preprocess import Preprocessing

_OTHER_PRECISION = "take another precision, or keep the bundle with --force, which labels it"
MAX_PARITY_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class EncoderParity:
    """How one encoder's embeddings compare, over all sample inputs."""

    inputs: int
    max_abs_diff: float  # ONNX Runtime against PyTorch, alone, padded and in batches
    min_cosine: float
    max_batch_diff: float  # the same input alone and in a batch
    repeatable: bool  # two calls give the same bits


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a precision must reach to be kept; None where it promises nothing."""

    max_abs_diff: float | None = None
    max_batch_diff: float
    min_cosine: float | None = None
    top1: float | None = None


# Of components of unit vectors. In float32, rounding gives below 1e-6 and a wrong operator 1e-3 and more.
BOUNDS = {
    "fp32": Bounds(max_abs_diff=1e-5, max_batch_diff=1e-6),
    "fp16": Bounds(max_batch_diff=1e-6, min_cosine=0.9999),
    "int8": Bounds(max_batch_diff=1e-6, min_cosine=0.995, top1=0.99),
}


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The figures of a bundle against its network in float32 PyTorch; `check` tells whether they are good enough."""

    image: EncoderParity
    text: EncoderParity
    agreement: Agreement
    bounds: Bounds
    forced: bool = False  # kept although a figure is out of bounds

    def check(self) -> None:
        """Raise where a figure is out of bounds.

        Raises:
            ParityError: The message names the encoder, the figure and its bound.
        """
        bounds = self.bounds
        for name, encoder in (("image", self.image), ("text", self.text)):
            # Written so that NaN fails.
            if bounds.max_abs_diff is not None and not encoder.max_abs_diff <= bounds.max_abs_diff:
                raise _failed(
                    name, f"differ from PyTorch's by at most {bounds.max_abs_diff:g}, got {encoder.max_abs_diff:.3g}"
                )
            if bounds.min_cosine is not None and not encoder.min_cosine >= bounds.min_cosine:
                raise _failed(
                    name,
                    f"have a cosine with PyTorch's of at least {bounds.min_cosine:g}, got {encoder.min_cosine:.5f}",
                )
            if not encoder.max_batch_diff <= bounds.max_batch_diff:
                raise _failed(
                    name, f"be the same in a batch within {bounds.max_batch_diff:g}, got {encoder.max_batch_diff:.3g}"
                )
            if not encoder.repeatable:
                raise _failed(name, "be the same bits in two calls, they are not")
        agreement = self.agreement
        if bounds.min_cosine is not None and not agreement.min_cosine >= bounds.min_cosine:
            raise _failed(
                "image",
                f"have a cosine with PyTorch's of at least {bounds.min_cosine:g}, got {agreement.min_cosine:.5f}",
                _OTHER_PRECISION,
            )
        if bounds.top1 is not None and not agreement.top1 >= bounds.top1:
            raise _failed(
                "image",
                f"have PyTorch's best label in {bounds.top1:.0%} of pictures, got {agreement.top1:.1%}",
                _OTHER_PRECISION,
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Reference:
    """What PyTorch gives for the sample inputs; kept with the figures, so that any machine can check itself later."""

    image: NDArray[np.float32]  # (pictures, D)
    text: NDArray[np.float32]  # (texts, D)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The inputs of a comparison."""

    pixels: NDArray[np.float32]  # (pictures, 3, H, W)
    tokens: list[list[int]]
    context_length: int

    @classmethod
    def of(cls, preprocessing: Preprocessing, *, vocab_size: int, context_length: int) -> Samples:
        """For a model's own image size and vocabulary."""
        tokens = sample_tokens(vocab_size, context_length)
        return cls(pixels=sample_pixels(preprocessing), tokens=tokens, context_length=context_length)


def compute_reference(model: UniCLModel, samples: Samples) -> Reference:
    """Each sample alone through the network in PyTorch."""
    image, text = embed_in_pytorch(model, samples.pixels, samples.tokens)
    return Reference(image=image, text=text)


def measure(
    folder: Path,
    samples: Samples,
    reference: Reference,
    precision: str,
    progress: Callable[[float], None] = lambda _: None,
) -> Parity:
    """Run a bundle folder's graphs on the samples, one after the other, and compare.

    Args:
        folder: Has both graphs, and their float16 ones where there are any.
        samples: What to run.
        reference: What to compare with.
        precision: The bundle's, which decides the bounds.
        progress: Told the part that is done, 0 to 1.
    """
    image, pictures = measure_images(folder / IMAGE_ENCODER, samples.pixels, reference.image)
    progress(0.8)
    text, prompts = measure_texts(folder / TEXT_ENCODER, samples, reference.text)
    progress(1.0)
    if (half := folder / half_graph(IMAGE_ENCODER)).exists():
        image = _worse(image, measure_images(half, samples.pixels, reference.image)[0])
        half = folder / half_graph(TEXT_ENCODER)
        text = _worse(text, measure_texts(half, samples, reference.text)[0])
    labels = list(range(len(prompts)))
    agreement = agree((pictures, reference.image), (prompts, reference.text), labels, real=False)
    return Parity(image=image, text=text, agreement=agreement, bounds=BOUNDS[precision])


def judge(folder: Path, judged: Judged, reference: Reference) -> Agreement:
    """Run a bundle folder's graphs on real pictures and prompts and compare.

    Args:
        folder: Has both graphs.
        judged: What to run.
        reference: The network's embeddings of it.
    """
    image, text = (Session(folder / graph, providers=[CPU]) for graph in (IMAGE_ENCODER, TEXT_ENCODER))
    pictures = [image.run("image_embeddings", {"pixel_values": one[np.newaxis]}) for one in judged.pixels]
    prompts = [
        text.run("text_embeddings", dict(zip(("input_ids", "attention_mask"), pad([row], row[-1]), strict=True)))
        for row in judged.tokens
    ]
    embeddings = np.concatenate(pictures), np.concatenate(prompts)
    return agree((embeddings[0], reference.image), (embeddings[1], reference.text), judged.labels, real=True)


def measure_images(
    graph: Path, pixels: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[EncoderParity, NDArray[np.float32]]:
    """Each picture alone, then batches of two and of three; the figures, and the embeddings made alone."""
    session = Session(graph, providers=[CPU])

    def embed(rows: slice) -> NDArray[np.float32]:
        return session.run("image_embeddings", {"pixel_values": pixels[rows]})

    alone = np.concatenate([embed(slice(row, row + 1)) for row in range(len(pixels))])
    batched = [(rows, embed(rows)) for rows in (slice(0, 2), slice(0, 3))]
    return _compare(alone, batched, expected, repeatable=np.array_equal(embed(slice(0, 1)), alone[:1])), alone


def measure_texts(
    graph: Path, samples: Samples, expected: NDArray[np.float32]
) -> tuple[EncoderParity, NDArray[np.float32]]:
    """Each text alone, alone padded to the context, and all in one batch; the figures, and what was made alone."""
    session = Session(graph, providers=[CPU])

    def embed(rows: list[list[int]], length: int = 0) -> NDArray[np.float32]:
        ids, mask = pad(rows, rows[0][-1])
        missing = max(0, length - ids.shape[1])
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=rows[0][-1])
        return session.run(
            "text_embeddings", {"input_ids": ids, "attention_mask": np.pad(mask, ((0, 0), (0, missing)))}
        )

    alone = np.concatenate([embed([row]) for row in samples.tokens])
    padded = np.concatenate([embed([row], samples.context_length) for row in samples.tokens])
    together = embed(samples.tokens)
    everything = slice(0, len(alone))
    repeatable = np.array_equal(embed(samples.tokens), together)
    return _compare(alone, [(everything, padded), (everything, together)], expected, repeatable=repeatable), alone


def to_json(parity: Parity, reference: Reference) -> str:
    """The text of ``parity.json``."""
    kept = {
        "image": base64.b64encode(reference.image.astype("<f4").tobytes()).decode(),
        "text": base64.b64encode(reference.text.astype("<f4").tobytes()).decode(),
    }
    return json.dumps({"parity": parity.to_dict(), "reference": kept}, indent=2) + "\n"


def read_parity(folder: Path, embedding_dim: int) -> tuple[Parity, Reference]:
    """The figures and the reference that a bundle keeps.

    Raises:
        BundleError: ``parity.json`` is missing or not of the form (``bundle_parity_unreadable``).
    """
    path = folder / PARITY
    try:
        if path.stat().st_size > MAX_PARITY_BYTES:
            raise ValueError("too large")
        data = json.loads(path.read_text(encoding="utf-8"))
        image, text = (
            np.frombuffer(base64.b64decode(data["reference"][key], validate=True), dtype="<f4").reshape(
                -1, embedding_dim
            )
            for key in ("image", "text")
        )
        return build(Parity, data["parity"], PARITY), Reference(image=image, text=text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, MappingError):
        raise BundleError(
            f"expected a readable {PARITY}, there is none: compare the bundle with its checkpoint, which writes it",
            code="bundle_parity_unreadable",
        ) from None


def _compare(
    alone: NDArray[np.float32],
    batched: list[tuple[slice, NDArray[np.float32]]],
    expected: NDArray[np.float32],
    *,
    repeatable: bool,
) -> EncoderParity:
    """Figures from embeddings (N, D) made alone, rows of them made together, and the reference's."""
    pairs = [(alone, expected), *((rows, expected[index]) for index, rows in batched)]
    return EncoderParity(
        inputs=len(alone),
        max_abs_diff=max(float(np.abs(got - wanted).max()) for got, wanted in pairs),
        min_cosine=min(float((got.astype(np.float64) * wanted).sum(axis=-1).min()) for got, wanted in pairs),
        max_batch_diff=max(float(np.abs(rows - alone[index]).max()) for index, rows in batched),
        repeatable=repeatable,
    )


def _worse(wide: EncoderParity, half: EncoderParity) -> EncoderParity:
    """How far either graph is from the reference. In float16 a batch may round otherwise, which is no promise here."""
    return replace(
        wide,
        max_abs_diff=max(wide.max_abs_diff, half.max_abs_diff),
        min_cosine=min(wide.min_cosine, half.min_cosine),
    )


def _failed(encoder: str, message: str, advice: str = "report this with the output of mi2 doctor") -> ParityError:
    return ParityError(f"{encoder} embeddings: expected them to {message}: {advice}")
