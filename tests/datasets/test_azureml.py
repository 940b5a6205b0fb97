"""Configs of the hosted fine-tuning: the dataset is read unchanged, settings are parsed, unknown keys are reported."""

from __future__ import annotations

import pytest

from tests.datasets.sample_files import caption_json, png_bytes, write_tsv_pair

yaml = pytest.importorskip("yaml", reason="a config needs the train extra")

from medimageinsight.datasets import AzureMLFiles, DatasetProblems, Problems, read_azureml
from medimageinsight.errors import ConfigError

# The layout of a config of the hosted fine-tuning.
CONFIG = """
TASK: UniCLTask
NAME: 'finetune'
SAVE_DIR: ''
RESUME: True
FP16: true
AMP: PYTORCH
SAVE_PER_OPTIM_STEPS: 100
EVAL_STRATEGY:
  EVAL_LAST_MODEL: true
GRAD_CLIPPING: 0.07
user_dir: ""
IMAGE_ENCODER:
  NAME: davit_v1
  IMAGE_SIZE: [480, 480]
  IMAGE_MEAN: [0.485, 0.456, 0.406]
  SPEC:
    DROP_PATH_RATE: 0.2
    DEPTHS: [1, 1, 9, 1]
    ENABLE_CHECKPOINT: true
LANG_ENCODER:
  NAME: transformer
  CONTEXT_LENGTH: 77
  AUTOGRESSIVE: false
AUG:
  MIXUP_PROB: 0.0
  SCALE: [0.8, 1.0]
  RATIO: [0.75, 1.3333333]
  TORCHVISION_AUG:
    AUTO_AUGMENT: ta_wide
    RE_PROB: 0.25
    HFLIP: 0.0
LOSS:
  LOSS: UniCL
DATASET:
  DATASET: 'image_text_pairs_v2'
  TEXT_FORMAT: 'json'
  ROOT: ''
  TRAIN_TSV_LIST: []
  TRAIN_SET: 'full'
  DATA_FORMAT: 'tsv'
EVALDATASET_KNN_CLASSIFICATION:
  FORMAT: 'tsv'
  EVAL_IMAGE_TSV: ''
  LABEL_FILE: ''
  KNN: 64
TRAIN:
  BATCH_SIZE_TOTAL: 48
  BATCH_SIZE_PER_GPU: 4
START_LEARNING_RATE: 0.000005
MAX_NUM_EPOCHS: 15
OPTIMIZER: AdamW
OPTIMIZER_PARAMS:
  weight_decay: 0.4
CUSTOMIZED_PARAMS_CONF:
  NO_WEIGHT_DECAY_MODULES: ['dw', 'norm']
  WEIGHT_DECAY_PATTERNS:
    "\\\\.bias$": 0.0
  #LR_SCALE_PATTERNS:
  FREEZE_PATTERNS:
    - "^lang_encoder.resblocks.0\\\\."
LR_SCHEDULER_PARAMS:
  sched: cosine
  warmup_steps: 5
  min_lr: 0.000000001
"""
EDEMA, NORMAL = "x-ray chest Edema", "x-ray chest No Finding"


@pytest.fixture
def folder(tmp_path):
    """A folder with a config and its data, as for the hosted fine-tuning."""
    (tmp_path / "train.yaml").write_text(CONFIG)
    rows = [(f"{n}.png", png_bytes(n), caption_json(n % 2, (EDEMA, NORMAL)[n % 2])) for n in range(6)]
    write_tsv_pair(tmp_path, rows[:4], "train")
    write_tsv_pair(tmp_path, rows[4:], "validation")
    (tmp_path / "labels.txt").write_text(f"{EDEMA}\n{NORMAL}\n")
    return tmp_path


def files(folder):
    return AzureMLFiles(
        image_tsv=folder / "train_images.tsv",
        text_tsv=folder / "train_text.tsv",
        eval_image_tsv=folder / "validation_images.tsv",
        eval_text_tsv=folder / "validation_text.tsv",
        label_file=folder / "labels.txt",
    )


def change(folder, old, new):
    path = folder / "train.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return path


def test_reads_the_given_files_and_the_settings(folder):
    config, table = read_azureml(folder / "train.yaml", files=files(folder))
    assert table.splits == {"train": 4, "val": 2}
    assert table.root == folder
    assert (config.batch_size, config.batch_size_per_process, config.epochs) == (48, 4, 15)
    assert (config.learning_rate, config.final_learning_rate, config.warmup_steps) == (5e-6, 1e-9, 5)
    assert (config.image_size, config.crop_scale, config.erase, config.auto_augment) == (
        (480, 480),
        (0.8, 1.0),
        0.25,
        "ta_wide",
    )
    assert config.freeze == (r"^lang_encoder.resblocks.0\.",)
    assert config.weight_decay_patterns == {r"\.bias$": 0.0}
    assert config.no_weight_decay == ("dw", "norm")
    assert config.unused["user_dir"] == "there is no code to import"


@pytest.mark.parametrize(
    "lines",
    [
        "IMAGE_TSV: train_images.tsv\nTEXT_TSV: train_text.tsv\n",
        "image_tsv: train_images.tsv\ntext_tsv: train_text.tsv\n",
        "DATASET.TRAIN_SET: ''\nDATASET.TRAIN_TSV_LIST: [train_text.tsv, train_images.tsv]\n",
    ],
)
def test_reads_files_named_in_the_config(folder, lines):
    change(folder, "TASK: UniCLTask\n", "TASK: UniCLTask\nEVAL_IMAGE_TSV: validation_images.tsv\n")
    path = change(folder, "  EVAL_IMAGE_TSV: ''\n", "  EVAL_TEXT_TSV: validation_text.tsv\n")
    path.write_text(path.read_text() + lines)
    assert read_azureml(path)[1].splits == {"train": 4, "val": 2}


def test_finds_the_pairs_of_a_folder_by_name(folder):
    (folder / "data" / "full").mkdir(parents=True)
    for name in ("images", "text"):
        (folder / f"train_{name}.tsv").rename(folder / "data" / "full" / f"{name}-0.tsv")
    path = change(folder, "ROOT: ''", "ROOT: 'data'")
    assert read_azureml(path)[1].splits == {"train": 4}


def test_reports_unknown_keys_and_invalid_values_in_one_list(folder):
    change(folder, "TRAIN:\n", "TRAIN:\n  BATCH_SIZ: 3\n")
    change(folder, "MIXUP_PROB: 0.0", "MIXUP_PROB: 0.5")
    change(folder, "LOSS: UniCL\n", "LOSS: CLIP\n")
    change(folder, "MAX_NUM_EPOCHS: 15", "MAX_NUM_EPOCHS: many\nSURPRISE: {A: 1}")
    change(folder, "SAVE_DIR: ''", "NAMES: 1\nSAVE_DIR: ${HOME}")
    path = change(folder, "  KNN: 64", "  KNN: 64\n  KNNN: 64")
    (folder / "train_text.tsv").unlink()
    problems = Problems()
    read_azureml(path, files=files(folder), problems=problems)
    found = {(problem.kind, problem.location.removeprefix("train.yaml: ")) for problem in problems.found}
    assert found == {
        ("config_key_unknown", "TRAIN.BATCH_SIZ"),
        ("config_key_unknown", "SURPRISE"),
        ("config_key_unknown", "NAMES"),
        ("config_key_unknown", "EVALDATASET_KNN_CLASSIFICATION.KNNN"),
        ("config_value_invalid", "AUG.MIXUP_PROB"),
        ("config_value_invalid", "LOSS.LOSS"),
        ("config_value_invalid", "MAX_NUM_EPOCHS"),
        ("config_value_invalid", "SAVE_DIR"),
        ("file_missing", "train_text.tsv"),
    }
    with pytest.raises(DatasetProblems, match=r"train\.yaml: TRAIN\.BATCH_SIZ"):
        problems.raise_any()


def test_names_missing_data(folder):
    with pytest.raises(DatasetProblems, match="IMAGE_TSV, TEXT_TSV"):
        read_azureml(folder / "train.yaml")


@pytest.mark.parametrize("content", ["[1, 2]", "a: !!python/object/apply:os.system ['true']", "a: [", "1: 2"])
def test_rejects_files_that_are_not_configs(tmp_path, content):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError):
        read_azureml(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_azureml(tmp_path / "none.yaml")


def test_knows_every_key_of_the_release_config(shared):
    problems = Problems()
    config, _ = read_azureml(shared / "release" / "2024.09.27" / "config.yaml", problems=problems)
    assert {problem.kind for problem in problems.found} == {"file_missing"}
    assert config.batch_size == 1024
