"""Loss scaling for training in fp16."""

from __future__ import annotations

import torch

from medimageinsight.errors import ModelError
from medimageinsight.train.distributed import local_shard


class LossScale:
    """The factor on the loss in fp16, whose gradients would otherwise underflow; adjusted as training proceeds.

    Unlike `torch.amp.GradScaler` it decides by the gradient norm over all processes and shards, so all processes decide
    alike, and its state is two numbers.
    """

    GROWTH_STEPS = 2000
    MIN_VALUE = 2.0**-14  # gradients that overflow even with this factor are not caused by the number format

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self.value = 2.0**16 if enabled else 1.0
        self.finite_steps = 0  # since the last overflow

    def unscale(self, parameters: list[torch.nn.Parameter]) -> None:
        """Divide the gradients by the factor, in place."""
        gradients = [local_shard(parameter.grad) for parameter in parameters if parameter.grad is not None]
        if self.enabled and gradients:
            torch._foreach_div_(gradients, self.value)

    def update(self, norm: float) -> bool:
        """Return True if a step with this gradient norm can be taken, and adjust the factor.

        Raises:
            ModelError: The gradients are not finite for any factor (``training_diverged``).
        """
        finite = norm < float("inf")
        if not finite and (not self.enabled or self.value < self.MIN_VALUE):
            raise ModelError(
                f"expected finite gradients, got a norm of {norm}: lower the learning rate and begin in a new folder; "
                "the best model so far remains",
                code="training_diverged",
            )
        if not self.enabled:
            return True
        self.finite_steps = self.finite_steps + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.finite_steps % self.GROWTH_STEPS == 0:
            self.value *= 2
        return finite
