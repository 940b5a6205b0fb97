"""Validate the teacher's heads on the features of this project's own network with the teacher's weights.

python tools/mini/check_encoder.py configs/mini2.yaml --work runs/mini2

Prints the last line of the teacher's curve and the same figures of `network.EfficientNet`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file
from student_from_teacher import LITE0, teacher_weights
from teacher import FEATURES, MEAN, STD
from torch import Tensor, nn
from train_teacher import Data, validate

from medimageinsight.network.efficientnet import EfficientNet


class Classifier(nn.Module):
    """Our image encoder and the teacher's heads, with the teacher's interface."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.encoder = EfficientNet(LITE0)
        self.encoder.load_state_dict(teacher_weights(tensors))
        heads = {name.split(".")[1]: len(value) for name, value in tensors.items() if name.endswith("bias")}
        names = {name.split(".")[1] for name in tensors if name.startswith("heads.")}
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, heads[name]) for name in sorted(names)})
        self.heads.load_state_dict(
            {name.removeprefix("heads."): value for name, value in tensors.items() if name.startswith("heads.")}
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features and the logits of all heads of pixels (B, 3, S, S) uint8."""
        features = self.encoder((pixels.float() - MEAN) / STD)
        return features, {name: head(features) for name, head in self.heads.items()}


def main() -> None:
    """Parse the arguments, validate and print."""
    parser = argparse.ArgumentParser(description="Validate the teacher's heads on our network's features.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="the folder of tools/mini/train.py")
    args = parser.parse_args()
    data = Data(args.config, args.work)
    print((args.work / "teacher_curve.jsonl").read_text("utf-8").splitlines()[-1])
    print(validate(Classifier(load_file(args.work / "teacher.safetensors")), data))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
