"""Stored features in place of a frozen image encoder: the check that they are the encoder's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from medimageinsight.errors import ConfigError
from medimageinsight.train.images_on_disk import TaughtImages

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.train.batches import BatchMaker

IMAGES = 8
MIN_COSINE = 0.999  # stored features have 11 significant bits


def check_replay(maker: BatchMaker, model: UniCLModel) -> None:
    """Compare the stored features of the first images with those of the model's image encoder, if a run replays them.

    Raises:
        ConfigError: They differ, or there are none (``replay_misfit``).
        DatasetError: An image cannot be read.
    """
    loader = maker.loader
    if not isinstance(loader, TaughtImages) or not loader.replay:
        return
    pixels, stored = loader.load_first(IMAGES)
    device = model.logit_scale.device
    with torch.inference_mode():
        own = model.eval().image_encoder(((pixels - maker.mean) / maker.std).to(device)).cpu()
    shape = None if stored is None else tuple(stored.shape)
    cosine = 0.0 if stored is None or stored.shape != own.shape else float(F.cosine_similarity(own, stored).min())
    if not cosine >= MIN_COSINE:
        raise ConfigError(
            f"config.distill.replay: expected stored features of the image encoder itself, {tuple(own.shape)}, got "
            f"{shape} with a cosine of {cosine:.4f}: use the targets of this encoder, or remove replay",
            code="replay_misfit",
        )
