"""A whole run on a small table of synthetic images: its files, exact resuming, and its config."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.train import train
from medimageinsight.train.config import OptimizerConfig, TrainConfig
from medimageinsight.train.config_file import read_config_as
from medimageinsight.train.optim import Schedule
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from pathlib import Path

STAGE = {"steps": 1, "image_size": 32, "batch_size": 4}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config and its table in one folder."""
    make_table(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def test_run_writes_config_record_history_and_models(config: Path, tmp_path: Path) -> None:
    best = train(config, tmp_path / "run", log=quiet)
    assert {file.name for file in best.iterdir()} == {"model.safetensors", "model.json", "tokenizer.json"}
    with (tmp_path / "run" / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "4", "6", "8"]
    with Image.open(tmp_path / "run" / "curve.png") as curve:
        assert curve.width > 500
    assert (tmp_path / "run" / "config.yaml").read_text() == config.read_text()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["seed"] == 3
    assert record["config"]["optimizer"]["betas"] == [0.9, 0.98], "defaults are recorded"
    assert record["environment"]["torch"] == torch.__version__
    assert record["data"]["splits"] == {"train": 12, "val": 4}
    assert {file.name for file in (tmp_path / "run" / "last").iterdir()} >= {"model.safetensors", "model.json"}


def test_stage_freezes_parameters_and_sets_the_initial_logit_scale(config: Path, tmp_path: Path) -> None:
    states = []

    def save_states(line: str) -> None:
        # Validations; the state on disk is the last one saved.
        if line.startswith(("step 3 ", "step 4 ", "step 6 ")):
            file = tmp_path / "run" / "state.safetensors"
            states.append(safetensors_torch.load_file(file) if file.exists() else {})

    train(config, tmp_path / "run", log=save_states)
    after_2, _, after_4 = states
    end = safetensors_torch.load_file(tmp_path / "run" / "state.safetensors")

    def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
        return {key for key in before if key.startswith("model.") and not torch.equal(before[key], after[key])}

    first, second = changed(after_2, after_4), changed(after_4, end)
    assert not any("lang_encoder" in key for key in first)
    assert any("convs.0" in key for key in first)
    assert not any("convs.0" in key or "convs.1" in key for key in second)
    assert any("lang_encoder" in key for key in second)
    assert end["model.logit_scale"].exp().item() == pytest.approx(30, rel=0.05)


def test_stage_with_learning_rate_has_its_own_schedule(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", log=quiet)
    with (tmp_path / "run" / "curve.csv").open() as file:
        rates = {int(row["step"]): float(row["learning_rate"]) for row in csv.DictReader(file)}
    assert rates[6] == 0, "the run's schedule ends where the stage begins"
    own = Schedule(6, 2, OptimizerConfig(learning_rate=0.0005))
    assert [own.learning_rate(step) for step in (6, 7, 8)] == pytest.approx([0.0005, 0.00025, 0])
    content = yaml.safe_load(config.read_text())
    content["stages"].append({"steps": 1, "image_size": 32, "batch_size": 4})
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="of their own"):
        read_config_as(config, TrainConfig)


def test_interrupted_run_resumes_exactly(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "whole", log=quiet)
    whole = safetensors_torch.load_file(tmp_path / "whole" / "state.safetensors")
    for number, moment in enumerate(["step 3 ", "step 4 ", "step 6 "]):
        cut = tmp_path / f"cut{number}"

        def stop(line: str, moment: str = moment) -> None:
            if line.startswith(moment):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, cut, log=stop)
        train(config, cut, log=quiet)
        resumed = safetensors_torch.load_file(cut / "state.safetensors")
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[key], whole[key]) for key in whole)
        assert (cut / "curve.csv").read_text() == (tmp_path / "whole" / "curve.csv").read_text()


def test_rejects_folder_of_another_run(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", log=quiet)
    config.write_text(config.read_text().replace("seed: 3", "seed: 4"))
    with pytest.raises(ConfigError, match="a change of seed:") as caught:
        train(config, tmp_path / "run", log=quiet)
    assert caught.value.code == "config_changed"


def test_run_resumes_if_a_config_key_was_added_since(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run", log=quiet)
    record = tmp_path / "run" / "run.json"
    content = json.loads(record.read_text())
    del content["config"]["data"]["leave_out"]
    record.write_text(json.dumps(content))
    train(config, tmp_path / "run", log=quiet)
    record.write_text(json.dumps(content | {"config": {}}))
    with pytest.raises(ConfigError, match="is not readable") as caught:
        train(config, tmp_path / "run", log=quiet)
    assert caught.value.code == "config_changed"


def test_seed_argument_makes_another_run(config: Path, tmp_path: Path) -> None:
    config.write_text(yaml.safe_dump(CONFIG | {"stages": CONFIG["stages"][:1]}))
    for seed in (3, 4):
        train(config, tmp_path / str(seed), seed=seed, log=quiet)
    a, b = (safetensors_torch.load_file(tmp_path / seed / "last" / "model.safetensors") for seed in "34")
    assert any(not torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(ConfigError) as caught:
        train(config, tmp_path / "4", log=quiet)
    assert caught.value.code == "config_changed"


def test_reports_all_broken_images_before_the_first_step(config: Path, tmp_path: Path) -> None:
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "5.png").unlink()
    with pytest.raises(DatasetError, match=r"(?s)2 problems.*5\.png.*2\.png"):
        train(config, tmp_path / "run", log=quiet)


def test_sources_left_out_are_not_used(config: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(table.read_text() + "gone.png,,phantom,ring,Dent,Dent,rings,train\n")
    config.write_text(yaml.safe_dump(CONFIG | {"data": {"table": "table.csv", "leave_out": ["rings"]}}))
    train(config, tmp_path / "run", log=quiet)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["sources"] == {
        "train": {"boxes": 12},
        "val": {"boxes": 4},
    }
    config.write_text(yaml.safe_dump(CONFIG | {"data": {"table": "table.csv", "leave_out": ["ring"]}}))
    with pytest.raises(DatasetError, match="there is no source 'ring'"):
        train(config, tmp_path / "2", log=quiet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sed": 1, "data": {"tabel": "", "table": "t.csv"}}, r"config\.sed: unknown; config\.data\.tabel: unknown"),
        ({"seed": "one"}, "config.seed: expected int, got str"),
        ({"model": {}}, "config.model: missing"),
        ({"stages": []}, "config.stages"),
        ({"precision": "fp8"}, "config.precision: expected one of fp32, bf16, fp16"),
    ],
)
def test_config_errors_name_the_key(config: Path, change: dict[str, object], message: str) -> None:
    config.write_text(yaml.safe_dump(CONFIG | change))
    with pytest.raises(ConfigError, match=message):
        read_config_as(config, TrainConfig)


def test_config_is_merged_into_its_base(config: Path, tmp_path: Path) -> None:
    """Mappings are merged by key, null removes a key, other values replace; the run records the merged config."""
    merged = tmp_path / "other.yaml"
    change = {"base": config.name, "seed": 4, "optimizer": {"warmup_steps": 1}, "captions": None, "stages": [STAGE]}
    merged.write_text(yaml.safe_dump(change))
    train(merged, tmp_path / "run", log=quiet)
    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    optimizer = CONFIG["optimizer"] | {"warmup_steps": 1}
    whole = CONFIG | {"seed": 4, "optimizer": optimizer, "stages": [STAGE]}
    assert recorded == {key: value for key, value in whole.items() if key != "captions"}


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("../run.yaml", "the same folder"),
        (3, "the same folder"),
        ("gone.yaml", "cannot be read"),
        ("other.yaml", "without a base of its own"),
    ],
)
def test_base_must_be_a_config_in_the_same_folder_without_base(config: Path, base: object, message: str) -> None:
    path = config.with_name("other.yaml")
    path.write_text(yaml.safe_dump({"base": base}))
    with pytest.raises(ConfigError, match=message):
        read_config_as(path, TrainConfig)


def test_rejects_yaml_tags(config: Path) -> None:
    config.write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_config_as(config, TrainConfig)


def test_rejects_vocabulary_larger_than_the_captions_support(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("530", "5000"))
    with pytest.raises(ConfigError, match=r"expected at most the \d+ tokens") as caught:
        train(config, tmp_path / "run", log=quiet)
    assert caught.value.code == "vocabulary_too_large"
