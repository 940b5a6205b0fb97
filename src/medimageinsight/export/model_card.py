"""The short model card of a converted bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.bundle.bundle import EVALUATION_BEGIN, EVALUATION_END

if TYPE_CHECKING:
    from medimageinsight.bundle.manifest import Manifest
    from medimageinsight.export.parity import Parity

_CARD = """# {name}

{description}

For research and development, not for diagnosis or treatment.

| | |
|---|---|
| Input | {height} x {width} pixels, or text of up to {context} tokens |
| Output | embeddings of {dim} numbers, L2-normalised, one space for images and texts |
| Precision | {precision} |
| Logit scale | {logit_scale:.4f} (a logarithm) |
| Checkpoint | SHA-256 `{sha256}` |
| Licence | {licence} |

## Agreement with PyTorch

| encoder | inputs | largest difference | smallest cosine | alone against in a batch |
|---|---|---|---|---|
{rows}

On {pictures} {kind} images and {labels} labels: smallest cosine {min_cosine:.6f}, the same best label for {top1:.2%},
the same nearest ten for {nearest_ten:.2%}.{forced}

`mi2 verify` repeats the comparison on any machine.

## Evaluation

`mi2 evaluate TABLE --update-card` writes its figures here.

{begin}
{end}
"""


def generate_model_card(manifest: Manifest, parity: Parity) -> str:
    """What is known of a model from its conversion alone, in Markdown."""
    height, width = manifest.preprocessing["image_size"]
    rows = [
        f"| {name} | {one.inputs} | {one.max_abs_diff:.2g} | {one.min_cosine:.7f} | {one.max_batch_diff:.2g} |"
        for name, one in (("image", parity.image), ("text", parity.text))
    ]
    return _CARD.format(
        name=manifest.name,
        description=manifest.description or "A bundle of medimageinsight-onnx.",
        height=height,
        width=width,
        context=manifest.context_length,
        dim=manifest.embedding_dim,
        precision=manifest.precision,
        logit_scale=manifest.logit_scale,
        sha256=manifest.provenance["checkpoint"]["sha256"],
        licence=manifest.provenance.get("licence", "that of the checkpoint"),
        rows="\n".join(rows),
        pictures=parity.agreement.pictures,
        kind="real" if parity.agreement.real else "made",
        labels=parity.agreement.labels,
        min_cosine=parity.agreement.min_cosine,
        top1=parity.agreement.top1,
        nearest_ten=parity.agreement.nearest_ten,
        forced=" **Forced: a figure is out of its bound.**" if parity.forced else "",
        begin=EVALUATION_BEGIN,
        end=EVALUATION_END,
    )
