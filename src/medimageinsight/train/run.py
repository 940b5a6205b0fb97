"""Train or fine-tune a model from a config file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets import Problems
from medimageinsight.files.atomic import restore_folder
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.config import FinetuneConfig, TrainConfig
from medimageinsight.train.config_file import Config, read_config_as
from medimageinsight.train.distributed import join_processes, leave_processes
from medimageinsight.train.free_texts import describe_free_texts, read_free_texts
from medimageinsight.train.initialization import TOKENIZER, InitialModel, create_model, load_pretrained
from medimageinsight.train.run_files import make_folder
from medimageinsight.train.run_record import check_folder, write_record
from medimageinsight.train.samples import read_samples
from medimageinsight.train.teaching import read_taught, read_unlabelled
from medimageinsight.train.trainer import Trainer
from medimageinsight.train.validate_config import validate_data, validate_model

if TYPE_CHECKING:
    from collections.abc import Callable


def train(
    config_path: str | Path, out: str | Path, *, seed: int | None = None, log: Callable[[str], None] = print
) -> Path:
    """Train a model from scratch, or resume an interrupted run.

    The run's folder contains the config, the tokenizer, ``run.json`` (config with defaults, seed, versions, machine,
    data, parents), the curve (CSV and PNG), the speed (CSV), the state to resume from, the best and the last model.

    Args:
        config_path: A YAML file, see `TrainConfig`; paths in it are relative to it.
        out: The run's folder. If it contains a state, the run resumes from it, to the same weights bit for bit. After
            SIGTERM the current step is completed, the state saved, and the process ends with status 143.
        seed: Overrides the config's seed.
        log: Receives progress, one line at a time.

    Returns:
        The folder of the model with the best validation score, which `mi2 convert` converts to a bundle.

    Raises:
        ConfigError: The config cannot be read, does not match the model, or is not the one that the run began with.
        DatasetProblems: All problems of the data and invalid values of the config, in one list.
        DatasetError: The targets of `distill` cannot be used.
        CheckpointError: The saved state is damaged, or cannot be saved.
        ModelError: A gradient is not finite (``training_diverged``).
    """
    return _run(TrainConfig, create_model, Path(config_path), Path(out), seed, log)


def finetune(
    config_path: str | Path, out: str | Path, *, seed: int | None = None, log: Callable[[str], None] = print
) -> Path:
    """Fine-tune a checkpoint; as `train`, with a `FinetuneConfig`."""
    return _run(FinetuneConfig, load_pretrained, Path(config_path), Path(out), seed, log)


def _run(
    kind: type[Config],
    initialize: Callable[[Config, Path, Path, CaptionWriter], InitialModel],
    config_path: Path,
    folder: Path,
    seed: int | None,
    log: Callable[[str], None],
) -> Path:
    problems = Problems()
    config = read_config_as(config_path, kind, problems)
    config = config if seed is None else dataclasses.replace(config, seed=seed)
    processes = join_processes(config.parallel.device)
    log = log if processes.is_main else lambda _line: None
    try:
        unlabelled = read_unlabelled(config, config_path.parent, problems)
        table = read_samples(
            config.data,
            config_path.parent,
            check=processes.is_main,
            log=log,
            problems=problems,
            unlabelled=unlabelled,
        )
        validate_data(config, table, processes.world_size, problems)
        problems.raise_any()
        training = table.of_split(config.data.train_split)
        taught = read_taught(config, config_path.parent, training, unlabelled)
        named = config.captions.texts
        free_texts = [] if named is None else read_free_texts(config_path.parent / named)
        writer = CaptionWriter(training.samples, config.captions, config.templates, free_texts)
        inputs = {
            **({} if taught is None else taught.describe()),
            **({} if not free_texts else {"free_texts": describe_free_texts(free_texts)}),
        }
        initial: InitialModel | None = None
        if processes.is_main:
            make_folder(folder)
            if not check_folder(config, folder, table, inputs):
                (folder / TOKENIZER).unlink(missing_ok=True)  # of a run that never began
            initial = initialize(config, folder, config_path.parent, writer)  # writes the tokenizer for the others
            validate_model(config, initial, log)
            write_record(config, config_path, folder, initial, table, processes, inputs)
            restore_folder(folder / "best")
        processes.wait()
        initial = initial or initialize(config, folder, config_path.parent, writer)
        return Trainer(config, folder, initial, writer, processes, table, log, taught).run()
    finally:
        leave_processes()
