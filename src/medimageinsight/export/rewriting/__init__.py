"""The network with less work in it, and the same result: what is exported is this, not the network as it is trained.

Each rewriting is one function that changes a model in place. All are exact in real arithmetic; in float32 the
embeddings move by rounding alone, below 1e-6 (``tests/export/test_rewriting.py``). What each one gains is measured by
``benchmarks/rewritings.py``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeAlias

import torch

from medimageinsight.export.rewriting.channels import merge_channel_attention_into_projection
from medimageinsight.export.rewriting.head import average_before_last_layer
from medimageinsight.export.rewriting.operator import attend_in_one_operator
from medimageinsight.export.rewriting.text import finish_end_token_alone, separate_text_queries
from medimageinsight.export.rewriting.windows import skip_window_padding

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.network.model import UniCLModel

Rewriting: TypeAlias = "Callable[[UniCLModel], None]"

# In the order they are made: the operator replaces what the windows and the text have put in place.
REWRITINGS: tuple[Rewriting, ...] = (
    skip_window_padding,
    merge_channel_attention_into_projection,
    average_before_last_layer,
    separate_text_queries,
    finish_end_token_alone,
    attend_in_one_operator,
)


def rewrite(model: UniCLModel, rewritings: tuple[Rewriting, ...] = REWRITINGS) -> UniCLModel:
    """A copy of the model with rewritings made, for inference alone; `model` stays as it is.

    Weights that no rewriting touches are shared with `model`, so that the copy costs little memory.
    """
    shared = {id(tensor): tensor for tensor in model.parameters()}
    rewritten = copy.deepcopy(model, shared).eval()
    with torch.no_grad():
        for rewriting in rewritings:
            rewriting(rewritten)
    return rewritten
