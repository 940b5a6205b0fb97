"""Fine-tuning the checkpoint of a run: all weights, the last blocks, low-rank updates, a classification head."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

from medimageinsight.datasets import DatasetProblems, read_table, write_tsv
from medimageinsight.errors import CheckpointError, ConfigError
from medimageinsight.network.checkpoint import load_model
from medimageinsight.network.config import ModelConfig
from medimageinsight.train import finetune, train
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

FINETUNE = {
    "name": "speck-further",
    "seed": 5,
    "start": {"checkpoint": "base/best"},
    "data": {"table": "table.csv"},
    "stages": [{"steps": 3, "image_size": 32, "batch_size": 4}],
    "optimizer": {"learning_rate": 0.01, "layer_decay": 0.8},
    "evaluate_every": 3,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and the run of a model to start from."""
    folder = tmp_path_factory.mktemp("finetune")
    make_table(folder)
    (folder / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": CONFIG["stages"][:1]}))
    train(folder / "base.yaml", folder / "base", log=quiet)
    return folder


def run(base: Path, out: Path, **changes: object) -> Path:
    """Fine-tune with changes to `FINETUNE` and return the best model's folder."""
    config = base / f"{out.name}.yaml"
    config.write_text(yaml.safe_dump(FINETUNE | changes))
    return finetune(config, out, log=quiet)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors_torch.load_file(folder / "model.safetensors")


@pytest.mark.parametrize("learn", ["full", "last", "lora"])
def test_only_trained_parameters_change(base: Path, tmp_path: Path, learn: str) -> None:
    best = run(
        base,
        tmp_path / learn,
        start={"checkpoint": "base/best", "learn": learn, "rank": 2},
        parallel={"micro_batch": 3, "checkpointing": True},
    )
    before, after = weights(base / "base" / "best"), weights(best)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    text_changes = {name for name in changed if name.startswith("lang_encoder")}
    if learn == "full":
        assert "image_encoder.convs.0.proj.weight" in changed
    if learn == "last":
        assert "image_projection" in changed
        assert not any(".convs." in name or ".blocks.0." in name for name in changed)
    if learn == "lora":
        products = ("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight", "fc.weight", "in_proj_weight")
        assert changed
        assert all(name.endswith(products) or name == "logit_scale" for name in changed)
    assert text_changes
    record = json.loads((best / "model.json").read_text())
    parent = record["provenance"]["parents"][0]
    assert parent["name"] == "speck"
    assert len(parent["sha256"]) == 64
    assert parent["learned"] == learn
    load_model(best / "model.safetensors", ModelConfig.from_dict(record["architecture"]))


def test_finetuning_resumes_exactly(base: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("step 3 "):
            raise KeyboardInterrupt

    lora = {"start": {"checkpoint": "base/best", "learn": "lora", "rank": 2}}
    run(base, tmp_path / "whole", **lora)
    config = base / "cut.yaml"
    config.write_text(yaml.safe_dump(FINETUNE | lora))
    with pytest.raises(KeyboardInterrupt):
        finetune(config, tmp_path / "cut", log=stop)
    state = safetensors_torch.load_file(tmp_path / "cut" / "state.safetensors")
    assert not any("qkv.weight" in name for name in state), "frozen weights are not saved"
    finetune(config, tmp_path / "cut", log=quiet)
    whole, resumed = weights(tmp_path / "whole" / "last"), weights(tmp_path / "cut" / "last")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_head_is_trained_with_the_image_encoder(base: Path, tmp_path: Path) -> None:
    best = run(
        base,
        tmp_path / "labels",
        objective="labels",
        stages=[{"steps": 4, "image_size": 32, "batch_size": 6}],
        evaluate_every=4,
    )
    head = json.loads((best / "head.json").read_text())
    assert head["labels"] == ["Bright Spot", "No Finding"]
    assert np.shape(head["weight"]) == (CONFIG["model"]["embedding_dim"], 2)
    before, after = weights(base / "base" / "best"), weights(best)
    assert not torch.equal(before["image_encoder.norms.weight"], after["image_encoder.norms.weight"])
    assert torch.equal(before["lang_projection"], after["lang_projection"])


def test_azureml_dataset_is_trained_without_conversion(base: Path, tmp_path: Path) -> None:
    table = read_table(base / "table.csv")
    for split in ("train", "val"):
        write_tsv(
            table.of_split(split),
            tmp_path / f"{split}_image.tsv",
            tmp_path / f"{split}_text.tsv",
            label_file=tmp_path / "labels.txt",
        )
    (tmp_path / "azureml.yaml").write_text("TASK: UniCLTask\nSTART_LEARNING_RATE: 0.001\n")
    shutil.copytree(base / "base", tmp_path / "base")
    files = {"image_tsv": "train_image.tsv", "text_tsv": "train_text.tsv", "label_file": "labels.txt"}
    files |= {"eval_image_tsv": "val_image.tsv", "eval_text_tsv": "val_text.tsv"}
    config = tmp_path / "run.yaml"
    data = {"original": {"config": "azureml.yaml"} | files, "on_disk": True, "workers": 1}
    config.write_text(yaml.safe_dump(FINETUNE | {"data": data}))
    best = finetune(config, tmp_path / "run", log=quiet)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["splits"] == {"train": 12, "val": 4}
    assert weights(best)


def test_rejects_invalid_checkpoints_and_settings(base: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        run(base, tmp_path / "none", start={"checkpoint": "nowhere"})
    with pytest.raises(ConfigError, match="several processes"):
        run(base, tmp_path / "alone", parallel={"strategy": "shard"})
    (base / "x.yaml").write_text("TASK: UniCLTask\n")
    with pytest.raises(ConfigError, match="exactly one of table, sources and original"):
        run(base, tmp_path / "both", data={"table": "table.csv", "original": {"config": "x.yaml"}})
    with pytest.raises(DatasetProblems, match=r"\[config_key_unknown\]: config\.model"):
        run(base, tmp_path / "model", model={})
