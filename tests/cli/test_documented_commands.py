"""The commands in the documentation: every option exists, and those that end by themselves run as written."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pydicom
import pytest
import typer
from pydicom.fileset import FileSet
from pydicom.uid import UltrasoundMultiFrameImageStorage

from medimageinsight.cli.help_examples import EXAMPLES
from medimageinsight.cli.main import app
from tests.cli.labelled_images import KINDS, write_image
from tests.datasets.medmnist_files import make_arrays, write_npz
from tests.studies.make_slides import stained, write_svs
from tests.toy import DIM

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"

# Verbs whose documented commands need a checkpoint, a hub, minutes, or a client; other tests run them.
NOT_RUN = (
    "bench",
    "convert",
    "evaluate",
    "finetune",
    "listen",
    "mcp",
    "pull",
    "serve",
    "statistics",
    "train",
    "verify",
)


def documented_commands(document: Path) -> list[list[str]]:
    """Return the words of each ``mi2`` command in a document's shell blocks, in order."""
    commands = []
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for command in re.split(r";\s+(?=mi2 )", line):
                words = shlex.split(command, comments=True)
                if words[:1] == ["mi2"]:
                    commands.append(words[1:])
    return commands


COMMANDS = [
    pytest.param(words, id=f"{document.stem}: {' '.join(words)[:60]}")
    for document in DOCUMENTS
    for words in documented_commands(document)
]


def options_of(words: list[str]) -> set[str]:
    """Return the options of the verb that the words name; a group's first verb is its default."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0) if rest[0] in command.commands else next(iter(command.commands))
        command = command.commands[name]
    if command.name == "serve":
        fields = pytest.importorskip(
            "medimageinsight.serve", reason="needs the extra serve"
        ).ServerSettings.model_fields
        return {"--" + name.replace("_", "-") for name in fields}
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_exists(words: list[str]) -> None:
    used = {word.split("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)}
    assert used <= options_of(words), f"mi2 {' '.join(words)}"


@pytest.mark.parametrize("example", [line for lines in EXAMPLES.values() for line in lines])
def test_every_option_of_the_examples_in_the_help_exists(example: str) -> None:
    test_every_option_exists(shlex.split(example.partition("mi2 ")[2]))


@pytest.fixture
def working_folder(tmp_path: Path, toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files that the documentation's commands name, and change to their folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("chest.dcm", "new.dcm"):
        shutil.copy(CT, name)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, "left", 1)
    for folder in ("scans", "more", "2023", "2024", "usual", "normal", "new", "held-out"):
        (tmp_path / folder).mkdir()
        for index in range(4 if folder in ("2023", "2024") else 12):
            write_image(tmp_path / folder / f"{index}.png", KINDS[index % 3], index + 100 * len(folder))
    (tmp_path / "images").mkdir()
    write_dicom_images(tmp_path / "images")
    write_studies(tmp_path)
    with Path("scans.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "finding"], *([f"scans/{i}.png", KINDS[i % 3]] for i in range(12))])
    write_labelled_table(tmp_path)
    heading, *rows = Path("table.csv").read_text("utf-8").splitlines()
    for name, part in (("last-month.csv", rows[:40]), ("this-month.csv", rows[40:])):
        Path(name).write_text("\n".join([heading, *part]), "utf-8")
    labels = {name: array % 2 for name, array in make_arrays().items() if name.endswith("labels")}
    write_npz(tmp_path / "pneumoniamnist.npz", **labels)
    write_svs(tmp_path / "slide.svs", stained(512, 384))
    np.save("query.npy", np.eye(1, DIM, dtype=np.float32))
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(toy_bundle, tmp_path / "models" / "medimageinsight")
    shutil.copytree(toy_bundle, tmp_path / "home" / "models" / "medimageinsight")
    pyarrow.parquet.write_table(pyarrow.csv.read_csv("images.csv"), "images.parquet")
    Path("requests.csv").write_text("image,text\n,x-ray chest\n", "utf-8")
    body = {"input_data": {"columns": ["text"], "data": [["x-ray chest"]]}}
    Path("request.json").write_text(json.dumps(body), "utf-8")
    return tmp_path


def write_dicom_images(folder: Path) -> None:
    """Write DICOM files of several patients next to a table with their findings."""
    rows = []
    for index in range(18):
        dataset = pydicom.dcmread(CT)
        dataset.PatientID, dataset.PatientAge, dataset.Modality = f"P{index // 2}", f"{40 + index:03d}Y", "DX"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{index}"
        dataset.PixelData = np.roll(dataset.pixel_array, 9 * index, axis=0).tobytes()
        dataset.save_as(folder / f"{index}.dcm")
        split = "test" if index < 6 else "train"
        rows.append([f"images/{index}.dcm", KINDS[index % 3], 40 + index, f"P{index // 2}", split])
    with (folder.parent / "images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "finding", "age", "patient", "split"], *rows])


def write_studies(folder: Path) -> None:
    """Write a series as folders, an archive and a medium with a DICOMDIR, a loop and a volume."""
    nibabel = pytest.importorskip("nibabel", reason="the volumes of the documentation need the extra volumes")
    for name in ("archive", "ct"):
        (folder / name).mkdir()
        for index in range(2):
            shutil.copy(folder / "images" / f"{index}.dcm", folder / name)
    shutil.make_archive(str(folder / "ct"), "zip", folder / "ct")
    file_set = FileSet()
    for file in sorted((folder / "ct").iterdir()):
        file_set.add(pydicom.dcmread(file))
    file_set.write(folder / "cdrom")
    file_set._stage["t"].cleanup()  # pydicom leaves it to the garbage collector
    loop = pydicom.dcmread(CT)
    loop.SOPClassUID = loop.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    loop.Modality, loop.NumberOfFrames = "US", 24
    loop.PixelData *= 24
    loop.save_as(folder / "loop.dcm")
    volume = np.arange(8 * 9 * 40, dtype=np.int16).reshape(8, 9, 40)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / "head.nii.gz")


def write_labelled_table(folder: Path) -> None:
    """Write labelled images of 40 patients, in three splits, with ``table.csv``."""
    rows = []
    (folder / "labelled").mkdir()
    for index in range(80):
        patient = index // 2
        kind = KINDS[index % 3]
        write_image(folder / "labelled" / f"{index}.png", kind, index)
        finding = {"left": "Effusion", "right": "Nodule", "whole": ""}[kind]
        split = ("train", "train", "val", "test")[patient % 4]
        rows.append([f"labelled/{index}.png", "an image", kind, finding, split, f"p{patient}"])
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "caption", "finding", "findings", "split", "patient_id"], *rows])


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if documented_commands(path)], ids=lambda path: path.stem
)
def test_commands_run(document: Path, working_folder: Path, mi2) -> None:
    pytest.importorskip("lancedb", reason="the stores of the documentation need the extra search")
    commands = documented_commands(document)
    if ["index", "add", "chest"] not in [words[:3] for words in commands]:
        mi2("index", "add", "chest", "images", "--metadata", "images.csv", "--dicom-tags", "--patient-id", "hashed")
    for words in commands:
        if words[0] not in NOT_RUN and "--dicomweb" not in words and "s3://" not in " ".join(words):
            result = mi2(*map(os.path.expanduser, words))  # as a shell does
            assert result.code == 0, f"mi2 {' '.join(words)}\n{result.err}"
