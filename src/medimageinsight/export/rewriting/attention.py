"""What the attention of windows and of texts have in common once queries, keys and values are apart.

Two identities let keys and values do without their biases. A query adds its product with the keys' bias to each of its
logits, and softmax does not see what all logits have in common. The weights of the values sum to 1, so that their bias
comes out as it is and can go through the projection once and for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

# (queries (B, Q, C), keys and values (B, K, C), heads, mask to add to the logits or None) to (B, Q, C).
Attend: TypeAlias = "Callable[[Tensor, Tensor, Tensor, int, Tensor | None], Tensor]"


class Projections(nn.Module):
    """Queries, keys, values and the way back, as matrices to multiply tokens with from the right.

    Args:
        qkv: Weight (3 C, C) and bias (3 C,) of queries, keys and values together.
        out: The projection of what attention gives.
        scale: Of the logits; the queries take it.
    """

    def __init__(self, qkv: tuple[Tensor, Tensor], out: nn.Linear, scale: float) -> None:
        super().__init__()
        (query, key, value), (query_bias, _, value_bias) = (tensor.chunk(3) for tensor in qkv)
        self.query, self.query_bias = fixed((scale * query).T), fixed(scale * query_bias)
        self.key = fixed(key.T)
        self.value = fixed(value.T)
        self.out, self.out_bias = fixed(out.weight.T), fixed(out.bias + out.weight @ value_bias)


def attend_in_steps(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention, one operation after the other; the scale is in the queries already.

    Args:
        q: Queries (B, Q, C).
        k: Keys (B, K, C).
        v: Values (B, K, C).
        heads: Into how many parts the channels are cut.
        mask: To be added to the logits (B, heads, Q, K): (Q, K), or (B, 1, Q, K).

    Returns:
        (B, Q, C).
    """
    q, k, v = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (q, k, v))  # (B, heads, Q or K, dim)
    logits = q @ k.transpose(-2, -1)
    if mask is not None:
        logits = logits + mask
    return (logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(-2)


def fixed(tensor: Tensor) -> nn.Parameter:
    """A weight in its final place in memory, not to be trained."""
    return nn.Parameter(tensor.detach().contiguous(), requires_grad=False)
