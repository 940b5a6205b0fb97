"""How closely a bundle reproduces its network in PyTorch: the figures, their bounds, and ``parity.json``."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.bundle import PARITY
from medimageinsight.errors import BundleError, ParityError
from medimageinsight.export.text_precision import TextPrecision  # noqa: TC001 (mappings are read by field types)
from medimageinsight.files.strict import build

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_PARITY_BYTES = 16 << 20
_ADVICE = "report this with the output of mi2 doctor"


@dataclass(frozen=True, kw_only=True)
class EncoderParity:
    """Figures of one encoder over all sample inputs."""

    inputs: int
    max_abs_diff: float  # ONNX Runtime against PyTorch, for inputs alone, padded and in batches
    min_cosine: float
    max_batch_diff: float  # the same input alone and in a batch
    repeatable: bool  # two calls give the same bits


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A bundle against its network in float32 PyTorch: the best prompt and the nearest images of an image."""

    images: int
    labels: int  # the prompts of a label are averaged
    real: bool  # the user's images; else the generated samples that every bundle is compared on
    min_cosine: float  # between the two embeddings of an image
    top1: float  # share of images with the same best label
    nearest_ten: float  # mean share of an image's ten nearest images that both have


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The bounds that a precision must meet; None where it promises nothing."""

    max_abs_diff: float | None = None
    max_batch_diff: float
    min_cosine: float | None = None
    top1: float | None = None


# Differences between components of unit vectors. In float32, rounding gives below 1e-6, a wrong operator 1e-3 or more.
BOUNDS = {
    "fp32": Bounds(max_abs_diff=1e-5, max_batch_diff=1e-6),
    "fp16": Bounds(max_batch_diff=1e-6, min_cosine=0.9999),
    "int8": Bounds(max_batch_diff=1e-6, min_cosine=0.995, top1=0.99),
}


SOURCE_GRAPHS = "graphs"  # key of a manifest's provenance: the bundle was made from graphs, not from a checkpoint
# For such a bundle: a batch may round differently, as its own arithmetic decides.
GRAPH_BOUNDS = {
    "fp32": Bounds(max_abs_diff=1e-5, max_batch_diff=1e-5),
    "fp16": Bounds(max_batch_diff=1e-2, min_cosine=0.9999),
    "int8": Bounds(max_batch_diff=5e-2, min_cosine=0.995),
}


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Figures of a bundle against its network in float32 PyTorch; `check` compares them with their bounds."""

    image: EncoderParity
    text: EncoderParity
    agreement: Agreement
    bounds: Bounds
    forced: bool = False  # accepted although a figure is out of bounds
    text_precision: TextPrecision | None = None  # of an int8 bundle

    def check(self) -> None:
        """Check every figure against its bound; NaN fails.

        Raises:
            ParityError: The message names the encoder, the figure and its bound.
        """
        _check_encoder("image", self.image, self.bounds)
        _check_encoder("text", self.text, self.bounds)
        advice = "take another precision, or keep the bundle with --force, which labels it"
        _check_cosine("image", self.agreement.min_cosine, self.bounds, advice)
        top1, bound = self.agreement.top1, self.bounds.top1
        if bound is not None and not top1 >= bound:
            raise _failed("image", f"have PyTorch's best label in {bound:.0%} of images, got {top1:.1%}", advice)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, ready for JSON."""
        data = asdict(self)
        agreement = data["agreement"]
        return data | {"agreement": {"pictures": agreement.pop("images"), **agreement}}


@dataclass(frozen=True)
class Reference:
    """PyTorch's embeddings of the sample inputs, stored so that a bundle can be verified without PyTorch."""

    image: NDArray[np.float32]  # (images, D)
    text: NDArray[np.float32]  # (texts, D)


def to_json(parity: Parity, reference: Reference) -> str:
    """Return the text of ``parity.json``."""
    embeddings = {
        key: base64.b64encode(array.astype("<f4").tobytes()).decode() for key, array in vars(reference).items()
    }
    return json.dumps({"parity": parity.to_dict(), "reference": embeddings}, indent=2) + "\n"


def read_parity(folder: Path, embedding_dim: int) -> tuple[Parity, Reference]:
    """Read the figures and the reference of a bundle.

    Raises:
        BundleError: ``parity.json`` is missing or malformed (``bundle_parity_unreadable``).
    """
    path = folder / PARITY
    try:
        if path.stat().st_size > MAX_PARITY_BYTES:
            raise ValueError("too large")
        data = json.loads(path.read_text(encoding="utf-8"))
        image, text = (
            np.frombuffer(base64.b64decode(data["reference"][key], validate=True), "<f4").reshape(-1, embedding_dim)
            for key in ("image", "text")
        )
        agreement = dict(data["parity"]["agreement"])
        if "images" in agreement:
            raise ValueError("unknown images")
        figures = data["parity"] | {"agreement": {"images": agreement.pop("pictures"), **agreement}}
        return build(Parity, figures, PARITY), Reference(image=image, text=text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BundleError(
            f"expected a readable {PARITY}, got a file that is missing or malformed: "
            "compare the bundle with its checkpoint, which writes it",
            code="bundle_parity_unreadable",
        ) from None


def _check_encoder(name: str, encoder: EncoderParity, bounds: Bounds) -> None:
    difference, bound = encoder.max_abs_diff, bounds.max_abs_diff
    if bound is not None and not difference <= bound:
        raise _failed(name, f"differ from PyTorch's by at most {bound:g}, got {difference:.3g}")
    _check_cosine(name, encoder.min_cosine, bounds)
    if not encoder.max_batch_diff <= bounds.max_batch_diff:
        raise _failed(
            name, f"be the same in a batch within {bounds.max_batch_diff:g}, got {encoder.max_batch_diff:.3g}"
        )
    if not encoder.repeatable:
        raise _failed(name, "be the same bits in two calls, got different bits")


def _check_cosine(name: str, cosine: float, bounds: Bounds, advice: str = _ADVICE) -> None:
    bound = bounds.min_cosine
    if bound is not None and not cosine >= bound:
        raise _failed(name, f"have a cosine with PyTorch's of at least {bound:g}, got {cosine:.5f}", advice)


def _failed(encoder: str, message: str, advice: str = _ADVICE) -> ParityError:
    return ParityError(f"{encoder} embeddings: expected them to {message}: {advice}")
