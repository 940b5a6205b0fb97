"""One step's gradients: of the whole batch, whatever a process can hold of it at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medimageinsight.errors import ModelError
from medimageinsight.train.loss import unicl_loss

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.train.data import Batch
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.head import LabelHead

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# A step, a process and a chunk each have chance of their own; large primes keep them apart.
_OF_SEED, _OF_RANK, _OF_CHUNK = 1_000_003, 15_485_863, 32_452_843


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How a step is computed."""

    seed: int
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    micro_batch: int | None = None  # pictures of a process embedded at a time; None: all


def compute_gradients(
    model: UniCLModel,
    batch: Batch,
    step: int,
    settings: StepSettings,
    processes: Processes,
    *,
    loss_scale: float = 1.0,
    head: LabelHead | None = None,
    classes: Tensor | None = None,
) -> float:
    """Adds the gradients of the batch's loss, as one process would have them of the whole batch.

    A contrastive loss is of all pairs, so it cannot be summed over parts of a batch. In parts, everything is embedded
    without a graph, the loss's gradient by the embeddings is taken, and each part is embedded once more, with the same
    chance, to carry its gradient on to the weights (GradCache, arXiv 2101.06983).

    Args:
        model: Its gradients are added to.
        batch: This process's part, on its device.
        step: Counted from 0; with the seed, the only source of chance.
        settings: How.
        processes: Those that share the batch.
        loss_scale: What the gradients come multiplied by.
        head: In place of the UniCL objective, the labels' cross-entropy.
        classes: With it, (B,) int64, of the pictures of all processes.

    Returns:
        The loss.
    """
    count = len(batch.pixel_values)
    size = settings.micro_batch or count
    chunks = [slice(start, start + size) for start in range(0, count, size)]

    def embed(chunk: int) -> tuple[Tensor, Tensor | None]:
        torch.manual_seed(
            settings.seed * _OF_SEED + step + processes.rank * _OF_RANK + chunk * _OF_CHUNK
        )  # stochastic depth and dropout
        return _embed(model, batch, chunks[chunk], settings.precision, texts=head is None)

    if len(chunks) == 1:
        loss = _loss(*embed(0), model, batch, processes, head, classes)
        (loss if loss_scale == 1.0 else loss * loss_scale).backward()  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            parts = [embed(chunk) for chunk in range(len(chunks))]
        pictures = torch.cat([picture for picture, _ in parts]).requires_grad_()
        texts = None if head else torch.cat([text for _, text in parts if text is not None]).requires_grad_()
        loss = _loss(pictures, texts, model, batch, processes, head, classes)
        (loss * loss_scale).backward()  # type: ignore[no-untyped-call]
        for chunk, part in enumerate(chunks):
            _share_gradients(model, last=chunk == len(chunks) - 1)
            again = zip(embed(chunk), (pictures, texts), strict=True)
            pairs = [
                (one, given.grad[part])
                for one, given in again
                if one is not None and one.requires_grad and given is not None and given.grad is not None
            ]
            if pairs:
                torch.autograd.backward([one for one, _ in pairs], [gradient for _, gradient in pairs])
    return loss.item()


def _embed(
    model: UniCLModel, batch: Batch, part: slice, precision: str, *, texts: bool
) -> tuple[Tensor, Tensor | None]:
    """Embeddings of some of the pictures and texts, (b, D) each."""
    device = batch.pixel_values.device.type
    with torch.autocast(device, dtype=AUTOCAST.get(precision), enabled=precision != "fp32"):
        picture_features = model.image_encoder(batch.pixel_values[part])
        text_features = model.lang_encoder(batch.input_ids[part], batch.attention_mask[part]) if texts else None
    # From here in full precision: embeddings of one modality differ in little.
    pictures = model.project_image(picture_features.float())
    return pictures, None if text_features is None else model.project_text(text_features.float())


def _loss(
    pictures: Tensor,
    texts: Tensor | None,
    model: UniCLModel,
    batch: Batch,
    processes: Processes,
    head: LabelHead | None,
    classes: Tensor | None,
) -> Tensor:
    if texts is None:
        assert head is not None and classes is not None  # texts are left out for them alone  # noqa: S101, PT018
        return F.cross_entropy(head(processes.gather(pictures)), classes)
    return unicl_loss(processes.gather(pictures), processes.gather(texts), model.logit_scale, batch.positives)


def _share_gradients(model: UniCLModel, *, last: bool) -> None:
    """With FSDP, gradients of a batch's parts are summed where they are and shared once."""
    from torch.distributed.fsdp import FSDPModule

    for tower in (model.image_encoder, model.lang_encoder):
        if isinstance(tower, FSDPModule):
            tower.set_requires_gradient_sync(last)


class LossScale:
    """What the loss is multiplied by in fp16, whose gradients would fall below its smallest number: as goes well.

    Unlike `torch.amp.GradScaler` it decides by the norm over all processes and shards, so all decide alike, and its
    state is two numbers.
    """

    GROWTH_STEPS = 2000
    SMALLEST = 2.0**-14  # gradients that are too large even so are not the format's fault

    def __init__(self, *, enabled: bool) -> None:
        self.value, self.good = (2.0**16 if enabled else 1.0), 0
        self.enabled = enabled

    def unscale(self, parameters: list[torch.nn.Parameter]) -> None:
        """Gradients as they are without it."""
        from medimageinsight.train.distributed import own_shard

        gradients = [own_shard(one.grad) for one in parameters if one.grad is not None]
        if self.enabled and gradients:
            torch._foreach_div_(gradients, self.value)

    def goes_on(self, norm: float) -> bool:
        """Whether a step with gradients of this norm may be taken; the factor follows.

        Raises:
            ModelError: They are not finite, whatever the factor (``training_diverged``).
        """
        finite = norm < float("inf")
        if not finite and (not self.enabled or self.value < self.SMALLEST):
            raise ModelError(
                "a gradient is not a finite number: lower the learning rate and begin in a new folder; the best one so "
                "far stays",
                code="training_diverged",
            )
        if not self.enabled:
            return True
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.good % self.GROWTH_STEPS == 0:
            self.value *= 2
        return finite
