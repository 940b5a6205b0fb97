"""The known keys of the original's fine-tuning config, and how each is used.

The keys are those of the release's ``config.yaml`` and of the published example of the hosted fine-tuning. Any other
key is an error: a setting that is silently ignored trains another model than requested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is used.

    ``used``: read into the field ``field`` of `AzureMLConfig`; must be one of ``values`` if there are any. ``fixed``:
    only the values ``values`` are supported. ``unused``: read and ignored, for the reason ``why``. ``data``: names a
    file of the dataset.
    """

    kind: Literal["used", "fixed", "unused", "data"]
    field: str = ""
    values: tuple[Any, ...] = ()
    why: str = ""


def _used(field: str, *values: object) -> Key:
    return Key("used", field=field, values=values)


def _fixed(*values: object) -> Key:
    return Key("fixed", values=values)


def _unused(why: str) -> Key:
    return Key("unused", why=why)


_DATA = Key("data")
_LOGGING = _unused("the run has its own logging")
_DEVICES = _unused("the devices follow from how the run is started")
_MODEL = _unused("it is a property of the model")
_PRETRAINED = _unused("the base model is named by the run")
_SAMPLER = _unused("the run's sampler shuffles and resumes exactly")
_FORMAT = _unused("it follows from the files themselves")
_EVALUATION = _unused("the run has its own validation")

KEYS: dict[str, Key] = {
    # what is trained
    "TASK": _fixed("UniCLTask"),
    "LOSS.LOSS": _fixed("UniCL"),
    "NAME": _used("name"),
    "SEED": _used("seed"),
    "IMAGE_ENCODER.NAME": _fixed("davit_v1"),
    "IMAGE_ENCODER.NUM_CLASSES": _fixed(0),
    "IMAGE_ENCODER.IMAGE_SIZE": _used("image_size"),
    "IMAGE_ENCODER.IMAGE_MEAN": _MODEL,
    "IMAGE_ENCODER.IMAGE_STD": _MODEL,
    "IMAGE_ENCODER.LOAD_PRETRAINED": _PRETRAINED,
    "IMAGE_ENCODER.PRETRAINED": _PRETRAINED,
    "IMAGE_ENCODER.PRETRAINED_LAYERS": _PRETRAINED,
    "IMAGE_ENCODER.SPEC.DROP_RATE": _unused("the image encoder has no dropout"),
    "IMAGE_ENCODER.SPEC.DROP_PATH_RATE": _used("drop_path"),
    "IMAGE_ENCODER.SPEC.PATCH_SIZE": _MODEL,
    "IMAGE_ENCODER.SPEC.PATCH_STRIDE": _MODEL,
    "IMAGE_ENCODER.SPEC.PATCH_PADDING": _MODEL,
    "IMAGE_ENCODER.SPEC.PATCH_PRENORM": _MODEL,
    "IMAGE_ENCODER.SPEC.DIM_EMBED": _MODEL,
    "IMAGE_ENCODER.SPEC.NUM_HEADS": _MODEL,
    "IMAGE_ENCODER.SPEC.NUM_GROUPS": _MODEL,
    "IMAGE_ENCODER.SPEC.DEPTHS": _MODEL,
    "IMAGE_ENCODER.SPEC.WINDOW_SIZE": _MODEL,
    "IMAGE_ENCODER.SPEC.ENABLE_CHECKPOINT": _used("gradient_checkpointing"),
    "LANG_ENCODER.NAME": _fixed("transformer"),
    "LANG_ENCODER.LOAD_PRETRAINED": _PRETRAINED,
    "LANG_ENCODER.PRETRAINED": _PRETRAINED,
    "LANG_ENCODER.PRETRAINED_LAYERS": _PRETRAINED,
    "LANG_ENCODER.PRETRAINED_TOKENIZER": _PRETRAINED,
    "LANG_ENCODER.TOKENIZER": _fixed("clip"),
    "LANG_ENCODER.CONTEXT_LENGTH": _MODEL,
    "LANG_ENCODER.WIDTH": _MODEL,
    "LANG_ENCODER.HEADS": _MODEL,
    "LANG_ENCODER.LAYERS": _MODEL,
    "LANG_ENCODER.AUTOGRESSIVE": _fixed(False),
    "UNICL_MODEL.DIM_PROJECTION": _MODEL,
    "UNICL_MODEL.GATHER_TENSORS": _unused("features are always gathered over all processes"),
    "UNICL_MODEL.LOAD_PRETRAINED": _PRETRAINED,
    "UNICL_MODEL.PRETRAINED": _PRETRAINED,
    "UNICL_MODEL.PRETRAINED_LAYERS": _PRETRAINED,
    "MODEL.NAME": _MODEL,
    # data
    "DATASET.DATASET": _fixed("image_text_pairs_v2"),
    "DATASET.TEXT_FORMAT": _fixed("json"),
    "DATASET.DATA_FORMAT": _fixed("tsv"),
    "DATASET.ROOT": _DATA,
    "DATASET.TRAIN_SET": _DATA,
    "DATASET.TRAIN_TSV_LIST": _DATA,
    "DATASET.TEST_SET": _unused("a test set is for mi2 evaluate"),
    "DATASET.TEST_TSV_LIST": _unused("a test set is for mi2 evaluate"),
    "DATASET.SAMPLER": _SAMPLER,
    "DATASET.LOADER": _SAMPLER,
    "DATASET.TOKEN_FILE": _unused("nothing is fetched from a network"),
    "DATASET.PROMPT_ENGINEERING": _unused("class names are the prompts, unchanged"),
    "DATASET.CONCAT_QUERIES": _fixed(False),
    "DATASET.NUM_CAPTIONS": _fixed(1),
    "DATASET.CLASSIFICATION_SETS": _unused("every source has class ids of its own anyway"),
    "DATASET.NUM_CLASSES": _unused("every source has class ids of its own anyway"),
    "IMAGE_TSV": _DATA,
    "TEXT_TSV": _DATA,
    "EVAL_IMAGE_TSV": _DATA,
    "EVAL_TEXT_TSV": _DATA,
    "LABEL_FILE": _DATA,
    "WORKERS": _used("workers"),
    "PIN_MEMORY": _DEVICES,
    "PREFETCH_FACTOR": _SAMPLER,
    # augmentation
    "AUG.SCALE": _used("crop_scale"),
    "AUG.RATIO": _used("crop_ratio"),
    "AUG.INTERPOLATION": _fixed("bicubic"),
    "AUG.MIXUP_PROB": _fixed(0, 0.0),
    "AUG.MIXUP": _unused("without effect, as MIXUP_PROB is 0"),
    "AUG.MIXCUT": _unused("without effect, as MIXUP_PROB is 0"),
    "AUG.MIXCUT_MINMAX": _unused("without effect, as MIXUP_PROB is 0"),
    "AUG.MIXUP_SWITCH_PROB": _unused("without effect, as MIXUP_PROB is 0"),
    "AUG.MIXUP_MODE": _unused("without effect, as MIXUP_PROB is 0"),
    "AUG.TORCHVISION_AUG.AUTO_AUGMENT": _used("auto_augment", "", "ta_wide"),
    "AUG.TORCHVISION_AUG.RE_PROB": _used("erase"),
    "AUG.TORCHVISION_AUG.HFLIP": _used("horizontal_flip"),
    "AUG.TORCHVISION_AUG.VFLIP": _used("vertical_flip"),
    # steps
    "TRAIN.BATCH_SIZE_TOTAL": _used("batch_size"),
    "TRAIN.BATCH_SIZE_PER_GPU": _used("batch_size_per_process"),
    "TRAIN.SHUFFLE": _fixed(True),
    "TEST.BATCH_SIZE_PER_GPU": _EVALUATION,
    "TEST.MODEL_FILE": _EVALUATION,
    "TEST.CENTER_CROP": _fixed(False),
    "TEST.SHUFFLE": _EVALUATION,
    "MAX_NUM_EPOCHS": _used("epochs"),
    "START_LEARNING_RATE": _used("learning_rate"),
    "OPTIMIZER": _fixed("AdamW"),
    "OPTIMIZER_PARAMS.weight_decay": _used("weight_decay"),
    "GRAD_CLIPPING": _used("clip_norm"),
    "GRADIENT_ACCUMULATE_STEP": _unused("follows from the batch sizes, as in the original"),
    "CUSTOMIZED_PARAMS_CONF.NO_WEIGHT_DECAY_MODULES": _used("no_weight_decay"),
    "CUSTOMIZED_PARAMS_CONF.WEIGHT_DECAY_PATTERNS": _used("weight_decay_patterns"),
    "CUSTOMIZED_PARAMS_CONF.LR_SCALE_PATTERNS": _used("learning_rate_patterns"),
    "CUSTOMIZED_PARAMS_CONF.FREEZE_PATTERNS": _used("freeze"),
    "LR_SCHEDULER": _fixed("TimmScheduler"),
    "LR_SCHEDULER_PARAMS.sched": _fixed("cosine"),
    "LR_SCHEDULER_PARAMS.warmup_steps": _used("warmup_steps"),
    "LR_SCHEDULER_PARAMS.warmup_lr": _unused("the warm-up begins at the rate over its steps"),
    "LR_SCHEDULER_PARAMS.min_lr": _used("final_learning_rate"),
    "LR_SCHEDULER_PARAMS.epochs": _unused("MAX_NUM_EPOCHS replaces it, as in the original"),
    "LR_SCHEDULER_PARAMS.steps_update_per_epoch": _unused("the rate follows the step"),
    "WEIGHT_SMOOTHING.decay": _used("ema_decay"),
    "WEIGHT_SMOOTHING.use_cpu": _DEVICES,
    "WEIGHT_SMOOTHING.eval_smoothed_weight": _fixed(True),
    "NO_AUTO_LR_SCALING": _fixed(True),
    # the run
    "FP16": _used("mixed_precision"),
    "AMP": _DEVICES,
    "DEEPSPEED": _fixed(False),
    "ZERO_STAGE": _fixed(0),
    "FIND_UNUSED_PARAMETERS": _DEVICES,
    "SAVE_DIR": _unused("the run's folder is named on the command line"),
    "RESUME": _unused("a run resumes when its folder has a state"),
    "RESET_DATA_LOADER": _SAMPLER,
    "SET_SAMPLER_EPOCH": _SAMPLER,
    "ALWAYS_ENABLE_SAMPLER": _SAMPLER,
    "DONT_LOAD_MODEL": _PRETRAINED,
    "SAVE_PER_OPTIM_STEPS": _used("checkpoint_every"),
    "EVAL_PER_OPTIM_STEPS": _used("evaluate_every"),
    "SAVE_PER_UPDATE_NUM": _LOGGING,
    "EVAL_PER_UPDATE_NUM": _LOGGING,
    "EVAL_AT_START": _EVALUATION,
    "EVAL_STRATEGY.EVAL_LAST_MODEL": _EVALUATION,
    "EVALUATION_SPLITS": _EVALUATION,
    "SAVE_TIMER_LOG": _LOGGING,
    "LOG_EVERY": _LOGGING,
    "LOGLEVEL_OVERRIDE": _LOGGING,
    "LOG_GPU_MEM": _LOGGING,
    "VERBOSE": _LOGGING,
    "user_dir": _unused("there is no code to import"),
}

# Keys of each section whose name begins with EVALDATASET_, and of ZEROSHOT_EVAL_DATASET.
EVALUATION_KEYS: dict[str, Key] = {
    "EVAL_IMAGE_TSV": _DATA,
    "EVAL_TEXT_TSV": _DATA,
    "LABEL_FILE": _DATA,
    "IMAGE_TSV": _unused("the training set's own files replace it"),
    "TEXT_TSV": _unused("the training set's own files replace it"),
    "TEXT_FORMAT": _FORMAT,
    "FORMAT": _FORMAT,
    "ZIP_FILE": _fixed(""),
    "ZIP_MAP_FILE": _fixed(""),
    "CWEIGHT_FILE": _EVALUATION,
    "SPLIT": _EVALUATION,
    "ZS_MODE": _EVALUATION,
    "ZS_WEIGHT": _EVALUATION,
    "KNN": _EVALUATION,
    "TRACK_METRIC": _EVALUATION,
    "CLASSIFICATION_SETS": _EVALUATION,
    "NUM_CLASSES": _EVALUATION,
}
# Mappings of patterns to numbers: their keys are defined by the user.
OPEN_SECTIONS = ("CUSTOMIZED_PARAMS_CONF.WEIGHT_DECAY_PATTERNS", "CUSTOMIZED_PARAMS_CONF.LR_SCALE_PATTERNS")
EVALUATION_PREFIXES = ("EVALDATASET_", "ZEROSHOT_EVAL_DATASET")
