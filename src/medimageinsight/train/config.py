"""A training run as data; `config_file` reads it from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medimageinsight.datasets import CheckSettings, DataSource
from medimageinsight.network.config import ModelConfig
from medimageinsight.train.augment_pixels import PixelAugmentation


@dataclass(frozen=True, kw_only=True)
class OriginalData:
    """A dataset as it was made for the hosted fine-tuning: its YAML config and the files that were given beside it.

    What the YAML says of the training (rates, epochs, batches, changes to pictures, freezing ...) lies under the run's
    config as a `base` does: what the config does not say is taken from it, see `original_settings`.
    """

    config: str
    image_tsv: str | None = None
    text_tsv: str | None = None
    eval_image_tsv: str | None = None
    eval_text_tsv: str | None = None
    label_file: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures and how often each is drawn.

    A source is drawn in proportion to its number of training pictures to the power of `sampling_power`, times its
    factor in `source_weights`; classes within it likewise with `class_power`. A power of 1 draws every picture
    alike, 0 every group alike.

    Exactly one of `table`, `sources` and `original` says where the pictures are; paths are relative to the config file.
    Pictures are held in memory and changed as `images` says; with `on_disk` they are decoded when they are drawn, and
    changed as `pixels` says.
    """

    table: str | None = None  # CSV or Parquet
    sources: tuple[DataSource, ...] = ()
    original: OriginalData | None = None
    leave_out: tuple[str, ...] = ()  # sources that are neither learned nor validated on, nor is a choice made by them
    splits: dict[str, float] = field(default_factory=dict)  # shares, by patient, of the samples that have no split
    split_seed: int = 0  # of that division, whatever the run's seed: runs of several seeds share their test set
    checks: CheckSettings = field(default_factory=CheckSettings)  # before the first step
    on_disk: bool = False
    workers: int = 4  # threads that decode, with on_disk
    ahead: int = 1  # batches that are made before they are needed
    train_split: str = "train"
    val_split: str = "val"
    sampling_power: float = 1.0
    class_power: float = 1.0
    source_weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The byte-pair vocabulary made from the captions, their synonyms and further texts."""

    vocab_size: int
    corpus: str | None = None  # a CSV whose column `text` adds words, relative to the config file


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """Random changes to a training picture; a symmetric range [-x, x] unless said otherwise."""

    rotation: float = 0.0  # degrees
    scale: tuple[float, float] = (1.0, 1.0)  # of the side that is seen; below 1 zooms in
    stretch: float = 0.0  # log of the aspect ratio
    shift: float = 0.0  # of the side
    brightness: float = 0.0  # added, of the full range
    contrast: float = 0.0  # log of the factor
    gamma: float = 0.0  # log of the exponent
    noise: float = 0.0  # largest standard deviation, of the full range
    erase: float = 0.0  # probability of one grey rectangle of 2 to 20 % of the area
    flips: dict[str, tuple[Literal["horizontal", "vertical", "transpose"], ...]] = field(
        default_factory=dict
    )  # by "modality anatomy"


@dataclass(frozen=True, kw_only=True)
class CaptionAugmentation:
    """Random changes to a training caption, so that a prompt worded otherwise still works; probabilities."""

    synonym: float = 0.0  # for each part that has any
    shuffle: float = 0.0
    punctuate: float = 0.0
    sentence: float = 0.0
    drop_modality: float = 0.0
    drop_anatomy: float = 0.0
    drop_view: float = 0.0
    drop_finding: float = 0.0
    broaden: float = 0.0  # replace a finding by one that covers it, such as a tumour for a glioma
    synonyms: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # a part, as captions have it, to others of its meaning
    broader: dict[str, tuple[str, ...]] = field(default_factory=dict)  # a general finding to the findings it covers
    shared_labels: bool = False  # a label is the same finding in every source, rather than within its own


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """A stretch of training at one picture size.

    With `sources_per_batch` a batch holds pictures of that many sources in equal parts, so that each meets more of its
    own kind; without it, every picture is drawn from all sources.

    With `logit_scale` the factor before the softmax begins the stage at that value and is learned on from there: soft
    targets keep it low, and a sharper one tells findings of one kind apart.

    Parameters whose name a pattern of `freeze` finds stay as they are: the first layers of a network settle long before
    its last ones, and cost most.

    A stage is a stretch of the run's learning-rate schedule. With `learning_rate` it has a schedule and an averaging of
    weights of its own, from that rate down; such stages come last.
    """

    steps: int
    image_size: int  # pixels, both sides
    batch_size: int
    sources_per_batch: int | None = None
    logit_scale: float | None = None  # the factor, not its logarithm
    freeze: tuple[str, ...] = ()  # regular expressions
    learning_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then half a cosine down to `final_learning_rate`.

    `weight_decay` spares biases, norms, depth-wise filters, embeddings and the scale. Of `rate_factors` and
    `weight_decays`, regular expressions, the first that is found in a parameter's name counts.
    """

    learning_rate: float
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    layer_decay: float = 1.0  # factor on the rate, for each block further from the output
    rate_factors: dict[str, float] = field(default_factory=dict)  # on the rate, besides layer_decay
    weight_decays: dict[str, float] = field(default_factory=dict)  # in place of weight_decay
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    max_logit_scale: float = 100.0  # of the factor, not its logarithm


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """How the work is laid on the machine. One process, or as many as ``torchrun`` starts, on one node or several.

    `batch_size` of a stage is of all processes together. With `micro_batch` a process embeds that many pictures at a
    time, twice: the loss is still over the whole batch. `checkpointing` keeps a block's input alone and computes its
    inside again on the way back. ``shard`` lays parameters, gradients and the optimizer's state over all processes
    (FSDP); ``replicate`` gives each process all of them.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    strategy: Literal["replicate", "shard"] = "replicate"
    micro_batch: int | None = None
    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """The model that a fine-tuning begins with, and what of it is learned.

    ``full``: everything. ``last``: the last `blocks` of each encoder with what follows them. ``lora``: low-rank updates
    of the attention's and the MLP's weights, which are added to them at the end.
    """

    checkpoint: str  # the public release's folder, or `best` of a run; relative to the config file
    learn: Literal["full", "last", "lora"] = "full"
    blocks: int = 1
    rank: int = 16
    alpha: float = 16.0
    drop_path: float | None = None  # in place of the checkpoint's


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What training from scratch and fine-tuning share.

    With the objective ``unicl`` pictures and texts are told apart from each other; with ``labels`` a linear head on the
    picture's embedding learns the labels of the training split, and the text encoder rests.
    """

    name: str
    description: str = ""  # one line, for the bundle
    licence: str = ""  # of the weights, for the bundle
    seed: int
    data: DataConfig
    stages: tuple[StageConfig, ...]
    optimizer: OptimizerConfig
    objective: Literal["unicl", "labels"] = "unicl"
    images: ImageAugmentation = ImageAugmentation()
    pixels: PixelAugmentation = field(default_factory=PixelAugmentation)
    captions: CaptionAugmentation = CaptionAugmentation()
    templates: tuple[str, ...] = ()  # sentences of a caption's parts, see `prompts.Template`
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    parallel: ParallelConfig = ParallelConfig()
    evaluate_every: int = 500  # steps
    checkpoint_every: int = 500  # steps

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """Everything that training from scratch depends on besides the pictures."""

    model: ModelConfig
    tokenizer: TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """Everything that a fine-tuning depends on besides the pictures and the checkpoint."""

    start: StartConfig
