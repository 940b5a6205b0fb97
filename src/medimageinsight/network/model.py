"""The joint model: two encoders and two projections into one embedding space (UniCL, arXiv 2204.03610)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medimageinsight.network.config import EfficientNetConfig
from medimageinsight.network.davit import DaViT
from medimageinsight.network.efficientnet import EfficientNet
from medimageinsight.network.text_encoder import SelfAttention, TextTransformer

if TYPE_CHECKING:
    from medimageinsight.network.config import ModelConfig


class UniCLModel(nn.Module):
    """The network of MedImageInsight, or one with another image encoder, initialised for training from scratch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        image = config.image
        self.image_encoder: DaViT | EfficientNet
        self.image_encoder = EfficientNet(image) if isinstance(image, EfficientNetConfig) else DaViT(image)
        self.lang_encoder = TextTransformer(config.text)
        self.image_projection = nn.Parameter(torch.empty(image.features, config.embedding_dim))
        self.lang_projection = nn.Parameter(torch.empty(config.text.width, config.embedding_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP (arXiv 2103.00020), section 2.5
        self._initialise()

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode normalised pixels (B, 3, H, W) as L2-normalised embeddings (B, D)."""
        return self.project_image(self.image_encoder(pixel_values))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode token ids and mask (B, L), int64, as L2-normalised embeddings (B, D)."""
        return self.project_text(self.lang_encoder(input_ids, attention_mask))

    def project_image(self, features: Tensor) -> Tensor:
        """Project features of the image encoder (B, features) to L2-normalised embeddings (B, D)."""
        return F.normalize(features @ self.image_projection, dim=-1)

    def project_text(self, features: Tensor) -> Tensor:
        """Project features of the text encoder (B, width) to L2-normalised embeddings (B, D)."""
        return F.normalize(features @ self.lang_projection, dim=-1)

    def _initialise(self) -> None:
        """Preserve the scale of activations from layer to layer, so that narrow networks train from the first step."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, SelfAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=module.in_proj_weight.shape[1] ** -0.5)
        nn.init.normal_(self.lang_encoder.token_embedding.weight, std=0.02)
        nn.init.normal_(self.lang_encoder.positional_embedding, std=0.01)
        nn.init.normal_(self.image_projection, std=self.image_projection.shape[0] ** -0.5)
        nn.init.normal_(self.lang_projection, std=self.lang_projection.shape[0] ** -0.5)
