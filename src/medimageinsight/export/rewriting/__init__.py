"""Rewritings of the network that give the same result with less work; the rewritten network is exported.

Each rewriting is a function that changes a model in place, if the model has the layers in question. All are exact in
real arithmetic; in float32 the embeddings change by rounding only, below 1e-6 (``tests/export/test_rewriting.py``).
``benchmarks/rewritings.py`` measures the gain of each.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeAlias

import torch

from medimageinsight.export.rewriting.attention import attend_in_one_operator
from medimageinsight.export.rewriting.batch_norm import fold_batch_norm
from medimageinsight.export.rewriting.channel_attention import merge_channel_attention_into_projection
from medimageinsight.export.rewriting.mean_pooling import average_before_last_layer
from medimageinsight.export.rewriting.text_encoder import finish_end_token_alone, separate_text_queries
from medimageinsight.export.rewriting.window_attention import skip_window_padding

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.network.model import UniCLModel

Rewriting: TypeAlias = "Callable[[UniCLModel], None]"

# In the order of application: the ONNX operator replaces the attention of windows and texts from earlier rewritings.
REWRITINGS: tuple[Rewriting, ...] = (
    skip_window_padding,
    merge_channel_attention_into_projection,
    average_before_last_layer,
    fold_batch_norm,
    separate_text_queries,
    finish_end_token_alone,
    attend_in_one_operator,
)


def rewrite(model: UniCLModel, rewritings: tuple[Rewriting, ...] = REWRITINGS) -> UniCLModel:
    """Return a rewritten copy of the model, for inference only; `model` is unchanged.

    Weights that no rewriting changes are shared with `model`, so that the copy takes little memory.
    """
    shared = {id(tensor): tensor for tensor in model.parameters()}
    rewritten = copy.deepcopy(model, shared).eval()
    with torch.no_grad():
        for rewriting in rewritings:
            rewriting(rewritten)
    return rewritten
