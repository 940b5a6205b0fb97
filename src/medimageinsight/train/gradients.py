"""The gradients of one step over the whole batch, even if a process can hold only part of it at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional as F

from medimageinsight.train.loss import unicl_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.network.model import UniCLModel
    from medimageinsight.train.batches import Batch
    from medimageinsight.train.distillation import Distillation
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.head import LabelHead

    Embeddings = tuple[Tensor, Tensor | None]  # of images and texts, (b, D) each; no texts with a label head

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Each step, process and chunk has a random seed of its own; large primes separate them.
_SEED_FACTOR, _RANK_FACTOR, _CHUNK_FACTOR = 1_000_003, 15_485_863, 32_452_843


def compute_gradients(
    model: UniCLModel,
    batch: Batch,  # this process's part, on its device
    step: int,  # counted from 0; the only source of randomness together with the seed
    processes: Processes,
    *,
    seed: int,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    micro_batch: int | None = None,  # images of a process that are embedded at a time; None: all
    loss_scale: float = 1.0,  # the factor on the gradients
    head: LabelHead | None = None,  # its cross-entropy replaces the UniCL objective
    classes: Tensor | None = None,  # with a head, (B,) int64, of the images of all processes
    distillation: Distillation | None = None,  # whose losses are added
) -> float:
    """Add the gradients of the whole batch's loss to the model's and return the loss."""
    count = len(batch.pixel_values)
    size = micro_batch or count
    chunks = [slice(start, start + size) for start in range(0, count, size)]

    def embed(index: int) -> Embeddings:
        torch.manual_seed(
            seed * _SEED_FACTOR + step + processes.rank * _RANK_FACTOR + index * _CHUNK_FACTOR
        )  # for stochastic depth and dropout
        return _embed(model, batch, chunks[index], precision, texts=head is None)

    def compute_loss(images: Tensor, texts: Tensor | None) -> Tensor:
        if texts is None:
            assert head is not None and classes is not None  # only then are texts omitted  # noqa: S101, PT018
            return F.cross_entropy(head(processes.gather(images)), classes)
        loss = unicl_loss(processes.gather(images), processes.gather(texts), model.logit_scale, batch.positives)
        return loss if distillation is None else loss + _distill(model, batch, images, distillation, precision)

    if len(chunks) > 1:
        return _backward_in_chunks(model, chunks, embed, compute_loss, loss_scale)
    loss = compute_loss(*embed(0))
    (loss if loss_scale == 1.0 else loss * loss_scale).backward()  # type: ignore[no-untyped-call]
    return loss.item()


def _backward_in_chunks(
    model: UniCLModel,
    chunks: list[slice],
    embed: Callable[[int], Embeddings],
    compute_loss: Callable[[Tensor, Tensor | None], Tensor],
    loss_scale: float,
) -> float:
    """Compute the gradients chunk by chunk (GradCache, arXiv 2101.06983) and return the loss.

    A contrastive loss has a term for each pair, so it is not a sum over chunks. All chunks are embedded without a
    graph, the gradient of the loss by the embeddings is computed, and each chunk is embedded again, with the same
    random numbers, to propagate its gradient to the weights.
    """
    with torch.no_grad():
        parts = [embed(index) for index in range(len(chunks))]
    images = torch.cat([image for image, _ in parts]).requires_grad_()
    with_texts = [text for _, text in parts if text is not None]
    texts = torch.cat(with_texts).requires_grad_() if with_texts else None
    loss = compute_loss(images, texts)
    (loss * loss_scale).backward()  # type: ignore[no-untyped-call]
    for index, chunk in enumerate(chunks):
        _sync_gradients(model, enabled=index == len(chunks) - 1)
        pairs = [
            (embedded, cached.grad[chunk])
            for embedded, cached in zip(embed(index), (images, texts), strict=True)
            if embedded is not None and embedded.requires_grad and cached is not None and cached.grad is not None
        ]
        if pairs:
            torch.autograd.backward([embedded for embedded, _ in pairs], [gradient for _, gradient in pairs])
    return loss.item()


def _embed(model: UniCLModel, batch: Batch, chunk: slice, precision: str, *, texts: bool) -> Embeddings:
    device = batch.pixel_values.device.type
    with torch.autocast(device, dtype=AUTOCAST.get(precision), enabled=precision != "fp32"):
        stored = batch.features  # of a frozen image encoder
        image_features = model.image_encoder(batch.pixel_values[chunk]) if stored is None else stored[chunk]
        text_features = model.lang_encoder(batch.input_ids[chunk], batch.attention_mask[chunk]) if texts else None
    # Full precision from here: embeddings of one modality differ only slightly.
    images = model.project_image(image_features.float())
    return images, None if text_features is None else model.project_text(text_features.float())


def _distill(model: UniCLModel, batch: Batch, images: Tensor, distillation: Distillation, precision: str) -> Tensor:
    """Return the distillation losses of this process's images (b, D) and of its unlabelled ones.

    The mean of the gradients over processes is then that of the whole batch.
    """
    assert batch.targets is not None  # a run with distillation makes them  # noqa: S101
    prompts = None
    with torch.autocast(images.device.type, dtype=AUTOCAST.get(precision), enabled=precision != "fp32"):
        further = None if batch.unlabelled is None else model.image_encoder(batch.unlabelled)
        if distillation.with_texts:
            prompts = model.lang_encoder(distillation.input_ids, distillation.attention_mask)
    if further is not None:
        images = torch.cat([images, model.project_image(further.float())])
    texts = None if prompts is None else model.project_text(prompts.float())
    loss: Tensor = distillation(images, texts, model.logit_scale, batch.targets)
    return loss


def _sync_gradients(model: UniCLModel, *, enabled: bool) -> None:
    """With FSDP, sum the gradients of the chunks locally and reduce them over processes once, after the last chunk."""
    for encoder in (model.image_encoder, model.lang_encoder):
        if isinstance(encoder, FSDPModule):
            encoder.set_requires_gradient_sync(enabled)
