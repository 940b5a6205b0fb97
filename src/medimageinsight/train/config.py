"""The config of a training run as dataclasses; `config_file` reads it from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medimageinsight.datasets import CheckSettings, DataSource
from medimageinsight.network.config import ModelConfig
from medimageinsight.train.image_augmentation import PixelAugmentation


@dataclass(frozen=True, kw_only=True)
class AzureMLData:
    """A dataset prepared for the hosted (Azure ML) fine-tuning: its YAML config and its input files.

    The YAML's training settings (rates, epochs, batches, augmentation, freezing ...) are defaults for the run's config,
    as those of a `base` are; see `azureml_settings`.
    """

    config: str
    image_tsv: str | None = None
    text_tsv: str | None = None
    eval_image_tsv: str | None = None
    eval_text_tsv: str | None = None
    test_image_tsv: str | None = None
    test_text_tsv: str | None = None
    label_file: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images, and how often each is drawn.

    A source is drawn in proportion to its number of training images to the power of `sampling_power`, times its factor
    in `source_weights`; within it, each class in proportion to its number of images to the power of `class_power`. With
    a power of 1 all images are equally probable, with 0 all groups.

    Exactly one of `table`, `sources` and `original` locates the images; paths are relative to the config file. Images
    are held in memory and augmented as in `images`; with `on_disk` they are decoded when they are drawn, and augmented
    as in `pixels`.
    """

    table: str | None = None  # CSV or Parquet
    sources: tuple[DataSource, ...] = ()
    original: AzureMLData | None = None
    leave_out: tuple[str, ...] = ()  # sources used neither for training nor for validation and model selection
    splits: dict[str, float] = field(default_factory=dict)  # fractions, by patient, of the samples without a split
    split_seed: int = 0  # independent of the run's seed, so that runs with several seeds share their test set
    checks: CheckSettings = field(default_factory=CheckSettings)  # before the first step
    on_disk: bool = False
    workers: int = 4  # decoding threads, with on_disk
    ahead: int = 1  # batches that are made in advance
    train_split: str = "train"
    val_split: str = "val"
    sampling_power: float = 1.0
    class_power: float = 1.0
    source_weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The byte-pair vocabulary, trained on the captions, their synonyms and further texts."""

    vocab_size: int
    corpus: str | None = None  # a CSV whose column `text` adds words, relative to the config file


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """Random changes to the training images held in memory; a value x is the range [-x, x] unless noted otherwise."""

    rotation: float = 0.0  # degrees
    scale: tuple[float, float] = (1.0, 1.0)  # of the visible side; below 1 zooms in
    stretch: float = 0.0  # log of the aspect ratio
    shift: float = 0.0  # of the side
    brightness: float = 0.0  # added, of the full range
    contrast: float = 0.0  # log of the factor
    gamma: float = 0.0  # log of the exponent
    noise: float = 0.0  # maximum standard deviation, of the full range
    erase: float = 0.0  # probability of one grey rectangle of 2 to 20 % of the area
    flips: dict[str, tuple[Literal["horizontal", "vertical", "transpose"], ...]] = field(
        default_factory=dict
    )  # by "modality anatomy"


@dataclass(frozen=True, kw_only=True)
class CaptionAugmentation:
    """Probabilities of random changes to a training caption, so that differently worded prompts work too."""

    synonym: float = 0.0  # for each part that has any
    shuffle: float = 0.0
    punctuate: float = 0.0
    sentence: float = 0.0
    drop_modality: float = 0.0
    drop_anatomy: float = 0.0
    drop_view: float = 0.0
    drop_finding: float = 0.0
    broaden: float = 0.0  # replace a finding by a more general one, such as glioma by tumour
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by the words of a part in the captions
    broader: dict[str, tuple[str, ...]] = field(default_factory=dict)  # the findings that a general finding covers
    clip_templates: bool = False  # a class name as caption is written within one of `CLIP_TEMPLATES`
    shared_labels: bool = False  # a label is the same finding in every source, not only within its own
    texts: str | None = None  # a table of free texts, see `free_texts`; relative to the config
    free_text: float = 0.0  # replace a caption by a free text that is true of the image, where there are any


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """A part of a run with one image size and batch size.

    With `sources_per_batch` a batch contains images of that many sources in equal parts, so that more of its negatives
    are of the same kind; without it, every image is drawn from all sources.

    With `logit_scale` the factor before the softmax starts the stage at that value and is trained from there: soft
    targets keep it low, and a larger one separates findings of the same kind.

    Parameters whose names match a pattern of `freeze` are not trained: the first layers of a network converge long
    before its last ones, and cost most.

    Stages share the run's learning-rate schedule. A stage with `learning_rate` has its own schedule, starting at that
    rate, and its own weight averaging; such stages come last.
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

    `weight_decay` does not apply to biases, norms, depth-wise filters, embeddings and the logit scale. In
    `rate_factors` and `weight_decays`, the first regular expression that matches within a parameter's name applies.
    """

    learning_rate: float
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    layer_decay: float = 1.0  # factor on the learning rate for each block further from the output
    rate_factors: dict[str, float] = field(default_factory=dict)  # on the learning rate, in addition to layer_decay
    weight_decays: dict[str, float] = field(default_factory=dict)  # instead of weight_decay
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    max_logit_scale: float = 100.0  # of the factor, not its logarithm


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Devices and memory. One process, or as many as ``torchrun`` starts, on one node or several.

    A stage's `batch_size` is of all processes together. With `micro_batch` a process embeds that many images at a time,
    twice: the loss is still over the whole batch. `checkpointing` saves only a block's input and recomputes the rest in
    the backward pass. ``shard`` distributes parameters, gradients and optimizer state over all processes (FSDP);
    ``replicate`` holds all of them on each process.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    strategy: Literal["replicate", "shard"] = "replicate"
    micro_batch: int | None = None
    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """The checkpoint to fine-tune, and the parameters that are trained.

    ``full``: all. ``last``: the last `blocks` of each encoder and what follows them. ``lora``: low-rank updates of the
    attention and MLP weights, which are merged at the end.
    """

    checkpoint: str  # the public release's folder, or `best` of a run; relative to the config file
    learn: Literal["full", "last", "lora"] = "full"
    blocks: int = 1
    rank: int = 16
    alpha: float = 16.0
    drop_path: float | None = None  # instead of the checkpoint's


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Learning from the stored outputs of a teacher, in addition to the objective; see `write_targets`.

    `targets` is the file, relative to the config. `features`, `probabilities` and `texts` are weights of the losses;
    with 0 a loss is off. Of each training image the file has several copies, augmented as in `pixels`; a step draws one
    of them, so that network and teacher see the same pixels. Of the images of `unlabelled`, which need no captions, a
    step sees `unlabelled_per_batch` more, for these losses only.

    With `replay` the teacher is the run's own image encoder, frozen in all stages: its stored features replace its
    forward pass, and no image is decoded except for validation.
    """

    targets: str
    features: float = 1.0
    probabilities: float = 1.0
    texts: float = 1.0
    temperature: float = 2.0  # of both distributions that `probabilities` compares
    unlabelled: tuple[DataSource, ...] = ()
    unlabelled_per_batch: int = 0
    replay: bool = False


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The common part of training from scratch and fine-tuning.

    The objective ``unicl`` is contrastive, between images and texts; with ``labels`` a linear head on the image
    embedding is trained to classify the labels of the training split, and the text encoder is frozen.
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
    templates: tuple[str, ...] = ()  # sentences of a caption's parts, see `caption_wording.Template`
    distill: DistillConfig | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    parallel: ParallelConfig = ParallelConfig()
    evaluate_every: int = 500  # steps
    checkpoint_every: int = 500  # steps

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """The config of a training from scratch."""

    model: ModelConfig
    tokenizer: TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """The config of a fine-tuning."""

    start: StartConfig
