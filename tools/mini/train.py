"""Train the built-in model: the teacher, its targets, the texts, and the student; repeat the command to continue.

python tools/mini/train.py configs/mini2.yaml --work runs/mini2

The config's `distill.targets` and `captions.texts` are files in that folder; the student is trained in its folder
`student`; `mi2 convert runs/mini2/student/best --out DIR` makes its bundle.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from teacher import IGNORED
from texts import write_texts
from train_teacher import SIZE, Trainer, train_teacher

from medimageinsight.files.atomic import replace_file
from medimageinsight.train import TargetGroup, TeacherOutput, read_config, train, write_targets

if TYPE_CHECKING:
    from collections.abc import Callable

COPIES = 6  # of each image


def make_groups(trainer: Trainer) -> list[TargetGroup]:
    """Return the heads as groups; each applies to the sources that it was trained on."""
    data = trainer.data
    groups = []
    for head in data.heads:
        sources = {data.samples[row].source for row in np.flatnonzero(head.classes != IGNORED)}
        groups.append(TargetGroup(name=head.name, texts=head.texts, sources=tuple(sorted(sources))))
    return groups


def make_teach(trainer: Trainer) -> Callable[[np.ndarray], TeacherOutput]:
    """Return the function that computes the teacher's outputs with its averaged weights."""
    model = trainer.average.eval()

    @torch.inference_mode()
    def teach(pixels: np.ndarray) -> TeacherOutput:
        features, logits = model(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        probabilities = {name: values.softmax(dim=1).numpy() for name, values in logits.items()}
        return TeacherOutput(features=features.numpy(), probabilities=probabilities)

    return teach


def save_weights(trainer: Trainer, path: Path) -> None:
    """Save the averaged weights as float16, 7 MB, with the names of the heads' classes."""
    state = trainer.average.state_dict()
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in state.items()
        if not name.startswith("frozen.")  # again under `network`
    }
    heads = json.dumps({head.name: head.texts for head in trainer.data.heads})
    with replace_file(path) as partial:
        save_file(weights, partial, {"heads": heads, "step": str(trainer.step)})


def main() -> None:
    """Parse the arguments and run each part that is not complete."""
    parser = argparse.ArgumentParser(description="Train the built-in model.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for all intermediate files")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    captions = Path("../shared/data/medmix2/roco_captions.csv")
    parser.add_argument("--captions", type=Path, default=captions, help="figure captions, a CSV")
    parser.add_argument("--without-student", action="store_true", help="end when the targets are written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = read_config(args.config)
    distill, texts = config.distill, config.captions.texts
    if distill is None or texts is None:
        parser.error("the config has no distill or no captions.texts")
    if not (args.config.parent / texts).exists():
        write_texts(args.config, args.captions, args.config.parent / texts)
    targets = args.config.parent / distill.targets
    if not targets.exists():
        trainer = train_teacher(args.config, args.work)
        save_weights(trainer, args.work / "teacher.safetensors")
        write_targets(
            args.config,
            make_teach(trainer),
            make_groups(trainer),
            copies=COPIES,
            image_size=SIZE,
            teacher="EfficientNet-Lite0 (Apache-2.0), fine-tuned by tools/mini/train_teacher.py",
        )
    if not args.without_student:
        train(args.config, args.work / "student")


if __name__ == "__main__":
    main()
