"""The initial model of a run: a new network, or a checkpoint and the choice of its trained parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from medimageinsight.bundle import collect_words
from medimageinsight.export import check_tokenizer, find_checkpoint, read_description, read_tokenizer
from medimageinsight.network.checkpoint import load_state_dict
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.model import UniCLModel
from medimageinsight.network.weights_files import describe_weights
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tokenizer import Tokenizer
from medimageinsight.train.lora import add_updates
from medimageinsight.train.tokenizer_training import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import FinetuneConfig, StartConfig, TrainConfig

# As in the config of the released model.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TOKENIZER = "tokenizer.json"
AFTER_BLOCKS = re.compile(
    r"image_encoder\.(norms|head)\.|lang_encoder\.ln_final\.|(image|lang)_projection$|logit_scale$"
)


@dataclass(frozen=True, kw_only=True)
class InitialModel:
    """A network before its first step, on the CPU, with its tokenizer and preprocessing."""

    architecture: ModelConfig
    network: UniCLModel
    tokenizer: Tokenizer
    preprocessing: Preprocessing  # of the finished model
    scoring_preprocessing: str = "direct"
    trained: set[str]  # names of the trained parameters
    parents: list[dict[str, Any]] = field(default_factory=list)  # models it derives from: name, sha256, their parents
    words: list[str] = field(default_factory=list)  # of all training texts, its parents' too; empty if not known


def create_model(config: TrainConfig, folder: Path, base: Path, writer: CaptionWriter) -> InitialModel:
    """Create a new network, and a tokenizer from the captions."""
    tokenizer = make_tokenizer(folder / TOKENIZER, config.tokenizer, writer.vocabulary(), base, config.model.text)
    torch.manual_seed(config.seed)
    network = UniCLModel(config.model)
    return InitialModel(
        architecture=config.model,
        network=network,
        tokenizer=tokenizer,
        preprocessing=Preprocessing(image_size=config.model.image.image_size, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        trained={name for name, _ in network.named_parameters()},
        words=collect_words(writer.vocabulary()),
    )


def load_pretrained(config: FinetuneConfig, folder: Path, base: Path, writer: CaptionWriter) -> InitialModel:
    """Load the network, tokenizer and preprocessing of the checkpoint to fine-tune.

    Raises:
        CheckpointError: The checkpoint cannot be found or loaded.
        ConfigError: The checkpoint's config describes another kind of network.
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
    network = UniCLModel(architecture)
    network.load_state_dict(load_state_dict(files.weights, architecture))
    torch.manual_seed(config.seed)
    parent = {
        "name": described.name or "checkpoint",
        "sha256": describe_weights(files.weights).sha256,
        "learned": config.start.learn,
    }
    if grandparents := described.provenance.get("parents"):
        parent["parents"] = grandparents
    return InitialModel(
        architecture=architecture,
        network=network,
        tokenizer=Tokenizer.from_file(folder / TOKENIZER, architecture.text.context_length),
        preprocessing=Preprocessing.from_dict(described.preprocessing),
        scoring_preprocessing=described.scoring_preprocessing,
        trained=choose_trained(network, config.start),
        parents=[parent],
        words=collect_words([*described.words, *writer.vocabulary()]) if described.words else [],
    )


def choose_trained(network: UniCLModel, settings: StartConfig) -> set[str]:
    """Return the names of the parameters to train; with ``lora``, add the low-rank updates to the network first."""
    names = {name for name, _ in network.named_parameters()}
    if settings.learn == "full":
        return names
    if settings.learn == "lora":
        add_updates(network, settings.rank, settings.alpha)
        return {name for name, _ in network.named_parameters()} - names | {"logit_scale"}
    depths = network.config.image.depths
    blocks = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)][-settings.blocks :]
    image_blocks = [f"image_encoder.blocks.{stage}.{block}." for stage, block in blocks]
    # The convolution at the start of a stage is trained if it is between two trained blocks.
    convolutions = [f"image_encoder.convs.{stage}." for stage, block in blocks[1:] if block == 0]
    text_blocks = [f"lang_encoder.resblocks.{layer}." for layer in range(network.config.text.layers)]
    prefixes = (*image_blocks, *convolutions, *text_blocks[-settings.blocks :])
    return {name for name in names if name.startswith(prefixes) or AFTER_BLOCKS.match(name)}
