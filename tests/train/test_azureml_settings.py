"""Training settings from the YAML of the hosted (Azure ML) fine-tuning, and their overrides."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
pytest.importorskip("safetensors")

from medimageinsight.datasets import DatasetProblems, Sample, read_table, write_tsv
from medimageinsight.errors import ConfigError
from medimageinsight.train import finetune, train
from medimageinsight.train.config import FinetuneConfig
from medimageinsight.train.config_file import read_config_as
from tests.train.sample_run import AZUREML, CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "image_tsv": "train_image.tsv",
    "text_tsv": "train_text.tsv",
    "eval_image_tsv": "val_image.tsv",
    "eval_text_tsv": "val_text.tsv",
    "label_file": "labels.txt",
}
OWN = {
    "name": "further",
    "seed": 1,
    "start": {"checkpoint": "base/best"},
    "data": {"original": {"config": "train.yaml", **FILES}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with TSVs, label file, YAML, and a minimal config."""
    for split in ("train", "val"):
        samples = [replace(sample, finding="") for sample in read_table(make_table(tmp_path)).of_split(split)]
        write_tsv(samples, tmp_path / f"{split}_image.tsv", tmp_path / f"{split}_text.tsv", tmp_path / "labels.txt")
    (tmp_path / "train.yaml").write_text(AZUREML)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(OWN))
    return tmp_path


def test_yaml_gives_defaults_for_the_config(folder: Path) -> None:
    config = read_config_as(folder / "run.yaml", FinetuneConfig)
    (stage,) = config.stages
    assert (stage.steps, stage.batch_size, stage.image_size) == (6, 4, 32), "two epochs of three batches"
    assert stage.freeze == (r"^image_encoder\.convs\.0",)
    assert (config.name, config.seed, config.precision, config.evaluate_every) == ("further", 1, "fp32", 3)
    assert (config.start.drop_path, config.parallel.checkpointing, config.parallel.micro_batch) == (0.3, True, 2)
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.final_learning_rate, optimizer.warmup_steps) == (0.001, 0.00001, 1)
    assert (optimizer.weight_decay, optimizer.ema_decay) == (0.4, 0.9)
    assert optimizer.weight_decays == {r"\.bias$": 0.0, "logit_scale": 0.0, "dw": 0.0, "norm": 0.0}
    assert optimizer.rate_factors == {"^lang_encoder": 0.1}
    pixels = config.pixels
    assert (pixels.crop_area, pixels.crop_ratio) == ((0.8, 1.0), (0.75, 1.3333333))
    assert (pixels.trivial, pixels.erase, pixels.flips) == (True, 0.25, {"*": ("horizontal",)})
    assert (config.data.on_disk, config.data.workers) == (True, 1)


def test_config_overrides_the_yaml(folder: Path) -> None:
    own = {"optimizer": {"learning_rate": 0.5}, "stages": [{"steps": 1, "image_size": 32, "batch_size": 2}]}
    data = OWN["data"] | {"on_disk": False}
    (folder / "run.yaml").write_text(yaml.safe_dump(OWN | own | {"data": data, "images": {"rotation": 5}}))
    (folder / "train_text.tsv").unlink()
    config = read_config_as(folder / "run.yaml", FinetuneConfig)
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (0.5, 0.4)
    assert (config.steps, config.stages[0].freeze) == (1, ())
    assert (config.images.rotation, config.pixels.trivial) == (5, False)


def test_values_that_mean_unset_are_unset(folder: Path) -> None:
    changed = AZUREML.replace("WORKERS: 1", "WORKERS: 0").replace("EVAL_PER_OPTIM_STEPS: 3", "EVAL_PER_OPTIM_STEPS: -1")
    (folder / "train.yaml").write_text(changed.replace("START_LEARNING_RATE: 0.001", "START_LEARNING_RATE: 1e-3"))
    config = read_config_as(folder / "run.yaml", FinetuneConfig)
    assert (config.data.workers, config.evaluate_every, config.optimizer.learning_rate) == (1, 500, 0.001)
    (folder / "train.yaml").write_text(AZUREML.replace("ta_wide", "rand-m9"))
    with pytest.raises(DatasetProblems, match=r"AUTO_AUGMENT \(expected '' or 'ta_wide'\)"):
        finetune(folder / "run.yaml", folder / "run", log=quiet)


def test_yaml_without_settings(folder: Path) -> None:
    (folder / "train.yaml").write_text("TASK: UniCLTask\n")
    own = {"optimizer": {"learning_rate": 0.5}, "stages": [{"steps": 1, "image_size": 32, "batch_size": 2}]}
    (folder / "run.yaml").write_text(yaml.safe_dump(OWN | own))
    assert read_config_as(folder / "run.yaml", FinetuneConfig).optimizer.weight_decays == {}


def test_trains_from_the_yaml_alone(folder: Path) -> None:
    (folder / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": CONFIG["stages"][:1]}))
    train(folder / "base.yaml", folder / "base", log=quiet)
    messages: list[str] = []
    best = finetune(folder / "run.yaml", folder / "run", log=messages.append)
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["data"]["splits"] == {"train": 12, "val": 4}
    assert record["config"]["stages"][0]["steps"] == 6
    (ignored,) = (message for message in messages if "ignored" in message)
    assert ignored.startswith("train.yaml: ")
    assert "user_dir (there is no code to import)" in ignored
    selected = json.loads((best / "model.json").read_text())["provenance"]
    assert selected["selected_by"] == "val_caption_auc", "there are no findings to score"
    # Without evaluation files the config can draw a validation split.
    shutil.rmtree(folder / "run")
    files = {"image_tsv": "train_image.tsv", "text_tsv": "train_text.tsv"}
    data = {"original": {"config": "train.yaml", **files}, "splits": {"train": 0.6, "val": 0.4}}
    (folder / "run.yaml").write_text(yaml.safe_dump(OWN | {"data": data}))
    finetune(folder / "run.yaml", folder / "run", log=quiet)
    assert sum(json.loads((folder / "run" / "run.json").read_text())["data"]["splits"].values()) == 12


# Keys and values as a YAML of the hosted fine-tuning has them; the last two patterns name no parameter.
HOSTED = """
TASK: UniCLTask
FP16: true
GRAD_CLIPPING: 0.07
IMAGE_ENCODER: {NAME: davit_v1, IMAGE_SIZE: [32, 32], SPEC: {DROP_RATE: 0.1, DROP_PATH_RATE: 0.2, WINDOW_SIZE: 12}}
LANG_ENCODER: {NAME: transformer, TOKENIZER: clip, CONTEXT_LENGTH: 77, WIDTH: 1024, AUTOGRESSIVE: false}
UNICL_MODEL: {DIM_PROJECTION: 1024, GATHER_TENSORS: true}
DEEPSPEED: true
ZERO_STAGE: 1
DATASET: {TEXT_FORMAT: json, TRAIN_SET: '', TRAIN_TSV_LIST: [train_image.tsv, train_text.tsv]}
EVALDATASET_PROMPT_CLASSIFICATION:
  {SPLIT: val, EVAL_IMAGE_TSV: val_image.tsv, EVAL_TEXT_TSV: val_text.tsv, LABEL_FILE: labels.txt, ZS_MODE: 2}
TRAIN: {BATCH_SIZE_TOTAL: 4, BATCH_SIZE_PER_GPU: 2, SHUFFLE: true}
START_LEARNING_RATE: 0.000005
MAX_NUM_EPOCHS: 1
OPTIMIZER: AdamW
CUSTOMIZED_PARAMS_CONF:
  LR_SCALE_PATTERNS: {'^no_such_encoder': 0.1}
  FREEZE_PATTERNS: ['^lang_encoder.resblocks.0\\.', '^convs\\.', '^blocks.0\\.']
LR_SCHEDULER: TimmScheduler
"""


def test_a_hosted_yaml_runs_unmodified_with_a_test_set(folder: Path) -> None:
    (folder / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": CONFIG["stages"][:1]}))
    train(folder / "base.yaml", folder / "base", log=quiet)
    (folder / "train.yaml").write_text(HOSTED)
    pixels = np.random.default_rng(9).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "test.png")
    sample = Sample(path=folder / "test.png", caption="phantom box Bright Spot", source="boxes", id="t")
    classes = (folder / "labels.txt").read_text().splitlines()
    write_tsv([sample], folder / "test_image.tsv", folder / "test_text.tsv", folder / "labels.txt", classes=classes)
    original = {"config": "train.yaml", "test_image_tsv": "test_image.tsv", "test_text_tsv": "test_text.tsv"}
    (folder / "run.yaml").write_text(yaml.safe_dump(OWN | {"data": {"original": original}}))
    messages: list[str] = []
    finetune(folder / "run.yaml", folder / "run", log=messages.append)
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["data"]["splits"] == {"train": 12, "val": 4, "test": 1}
    assert record["config"]["captions"]["clip_templates"] is True
    (warning,) = (message for message in messages if message.startswith("warning"))
    assert all(pattern in warning for pattern in (r"^convs\\.", r"^blocks.0\\.", "^no_such_encoder"))
    assert "resblocks" not in warning
    assert len([message for message in messages if "ignored" in message]) == 1


def test_a_pattern_of_an_own_config_that_matches_nothing_is_an_error(folder: Path) -> None:
    stage = CONFIG["stages"][0] | {"freeze": ["^convs"]}
    (folder / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": [stage]}))
    with pytest.raises(ConfigError, match=r"freeze: '\^convs' matches no parameter"):
        train(folder / "base.yaml", folder / "base", log=quiet)


def test_class_names_are_written_in_sentences_unless_the_yaml_declines(folder: Path) -> None:
    assert read_config_as(folder / "run.yaml", FinetuneConfig).captions.clip_templates
    (folder / "train.yaml").write_text(AZUREML + "DATASET: {PROMPT_ENGINEERING: false}\n")
    assert not read_config_as(folder / "run.yaml", FinetuneConfig).captions.clip_templates


def test_problems_of_the_yaml_are_reported_with_all_others(folder: Path) -> None:
    (folder / "train.yaml").write_text(AZUREML + "NEW_KEY: 1\n")
    (folder / "run.yaml").write_text(yaml.safe_dump(OWN | {"sed": 1}))
    (folder / "val_text.tsv").unlink()
    with pytest.raises(DatasetProblems) as caught:
        finetune(folder / "run.yaml", folder / "run", log=quiet)
    assert caught.value.counts == {"config_key_unknown": 2, "file_missing": 1, "config_value_invalid": 1}
