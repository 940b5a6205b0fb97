"""What a run begins with: a new network, or a checkpoint and what of it is learned."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from medimageinsight.bundle.bundle import describe_file
from medimageinsight.export.source import find_checkpoint, read_description
from medimageinsight.export.tokenizer_file import check_tokenizer, read_tokenizer
from medimageinsight.network.checkpoint import load_state_dict
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.model import UniCLModel
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tokenizer import Tokenizer
from medimageinsight.train.lora import add_updates
from medimageinsight.train.vocabulary import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import FinetuneConfig, StartConfig, TrainConfig

# Both are of the released model's config: new models are normalised alike.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TOKENIZER = "tokenizer.json"
AFTER_BLOCKS = re.compile(r"image_encoder\.norms\.|lang_encoder\.ln_final\.|(image|lang)_projection$|logit_scale$")


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network before its first step, on the CPU, and what goes with it."""

    architecture: ModelConfig
    model: UniCLModel
    tokenizer: Tokenizer
    preprocessing: Preprocessing  # of the finished model
    scoring_preprocessing: str = "direct"
    trained: set[str]  # names of the parameters that are ever learned
    parents: list[dict[str, Any]] = field(default_factory=list)  # the models it comes from: name, sha256, and theirs


def start_new(config: TrainConfig, folder: Path, base: Path, writer: CaptionWriter) -> Start:
    """A new network and a vocabulary made from the captions."""
    tokenizer = make_tokenizer(folder / TOKENIZER, config.tokenizer, writer.vocabulary(), base, config.model.text)
    torch.manual_seed(config.seed)
    model = UniCLModel(config.model)
    return Start(
        architecture=config.model,
        model=model,
        tokenizer=tokenizer,
        preprocessing=Preprocessing(image_size=config.model.image.image_size, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        trained={name for name, _ in model.named_parameters()},
    )


def start_from_checkpoint(config: FinetuneConfig, folder: Path, base: Path, writer: CaptionWriter) -> Start:  # noqa: ARG001 - the vocabulary is the checkpoint's
    """A checkpoint's network, vocabulary and preprocessing.

    Raises:
        CheckpointError: It cannot be found or loaded.
        ConfigError: Its config describes another kind of network.
    """
    files = find_checkpoint(base / config.start.checkpoint)
    described = read_description(files)
    architecture = ModelConfig.from_dict(described.architecture)
    if config.start.drop_path is not None:
        architecture = replace(architecture, image=replace(architecture.image, drop_path=config.start.drop_path))
    if not (folder / TOKENIZER).exists():
        vocabulary = read_tokenizer(files.tokenizer)
        check_tokenizer(vocabulary, architecture.text.vocab_size)
        vocabulary.save(str(folder / TOKENIZER), pretty=False)
    model = UniCLModel(architecture)
    model.load_state_dict(load_state_dict(files.weights, architecture))
    torch.manual_seed(config.seed)
    parent = {
        "name": described.name or "checkpoint",
        "sha256": describe_file(files.weights).sha256,
        "learned": config.start.learn,
    }
    if earlier := described.provenance.get("parents"):
        parent["parents"] = earlier
    return Start(
        architecture=architecture,
        model=model,
        tokenizer=Tokenizer.from_file(folder / TOKENIZER, architecture.text.context_length),
        preprocessing=Preprocessing.from_dict(described.preprocessing),
        scoring_preprocessing=described.scoring_preprocessing,
        trained=choose_trained(model, config.start),
        parents=[parent],
    )


def choose_trained(model: UniCLModel, settings: StartConfig) -> set[str]:
    """Names of the parameters that are learned; with ``lora`` the updates are added to the model first."""
    names = {name for name, _ in model.named_parameters()}
    if settings.learn == "full":
        return names
    if settings.learn == "lora":
        add_updates(model, settings.rank, settings.alpha)
        return {name for name, _ in model.named_parameters()} - names | {"logit_scale"}
    depths = model.config.image.depths
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    learned = places[-settings.blocks :]
    pictures = [f"image_encoder.blocks.{stage}.{block}." for stage, block in learned]
    # What lies between two learned blocks is learned too: where a stage begins with one, unless it is the first.
    between = [f"image_encoder.convs.{stage}." for stage, block in learned[1:] if block == 0]
    texts = [f"lang_encoder.resblocks.{layer}." for layer in range(model.config.text.layers)]
    last = (*pictures, *between, *texts[-settings.blocks :])
    return {name for name in names if name.startswith(last) or AFTER_BLOCKS.match(name)}
