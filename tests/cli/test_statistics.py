"""``statistics`` stores what validation images look like, and images unlike them are marked in every output."""

from __future__ import annotations

import base64
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight
from medimageinsight.bundle import VOCABULARY, Bundle, add_file, describe_file, write_words
from medimageinsight.errors import MedImageInsightError
from tests.cli.labelled_images import write_image, write_table

LABELS = ("--labels", "an image", "something other")


@pytest.fixture(scope="module")
def made(toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a copy of the toy bundle and a table of images to check it on."""
    folder = tmp_path_factory.mktemp("statistics")
    return shutil.copytree(toy_bundle, folder / "toy"), write_table(folder / "set", count=240, splits=("val",))


@pytest.fixture
def checked(mi2, made: tuple[Path, Path]) -> Path:
    """Return the bundle with statistics, and the words of its only caption."""
    bundle, table = made
    if "statistics.json" not in json.loads((bundle / "manifest.json").read_text())["files"]:
        pytest.importorskip("sklearn", reason="measuring statistics needs the evaluate extra")
        add_file(Bundle.open(bundle), VOCABULARY, lambda path: write_words(path, ["an", "image"]))
        assert mi2("statistics", bundle, table).code == 0
    return bundle


def write_unlike(path: Path) -> Path:
    """Write an image with a bright upper half, which no image of the table has."""
    pixels = np.zeros((24, 24, 3), np.uint8)
    pixels[:12] = 250
    Image.fromarray(pixels).save(path)
    return path


def load_code(bundle: Path) -> str:
    with pytest.raises(MedImageInsightError) as caught:
        MedImageInsight.load(bundle)
    return caught.value.code


def replace_content(bundle: Path, change: Any) -> None:
    """Change the file's JSON, with a manifest that fits it."""
    file, manifest = bundle / "statistics.json", json.loads((bundle / "manifest.json").read_text())
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    entry = describe_file(file)
    manifest["files"]["statistics.json"] = {"bytes": entry.bytes, "sha256": entry.sha256}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def numbers(value: float, content: dict[str, Any]) -> str:
    """Return a row of a matrix as it is stored."""
    dim = content["model"]["embedding_dim"]
    return base64.b64encode(np.full(dim, value, dtype="<f4").tobytes()).decode()


def test_without_statistics_nothing_is_marked_and_info_names_it(mi2, tmp_path: Path) -> None:
    unlike = write_unlike(tmp_path / "unlike.png")
    (result,) = mi2("classify", unlike, *LABELS, "--json").json
    assert result["unlike_validation"] is None
    assert result["cosine"] == pytest.approx(max(compare(mi2, unlike, label) for label in LABELS[1:]), abs=1e-5)
    assert "best cosine" in mi2("classify", unlike, *LABELS).out
    assert "no image is marked" in mi2("info").out
    assert mi2("info", "--json").json["statistics"] is None
    assert "no image is marked" in mi2("info", "mini").out


def compare(mi2: Any, image: Path, text: str) -> float:
    return float(mi2("compare", image, "--text", text, "--json").json["similarity"])


def test_unlike_images_are_marked_in_every_output(mi2, checked: Path, tmp_path: Path) -> None:
    usual, unlike = write_image(tmp_path / "usual.png", "left", 901), write_unlike(tmp_path / "unlike.png")
    words = ("classify", usual, unlike, *LABELS, "--model", checked)
    results = mi2(*words, "--json").json
    assert [result["unlike_validation"] for result in results] == [False, True]
    assert mi2(*words).out.count("unlike anything this model was checked on") == 1
    assert mi2(*words, "--out", tmp_path / "table.csv").code == 0
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["unlike_validation"] for row in rows] == ["false", "true"]
    assert [float(row["cosine"]) for row in rows] == pytest.approx([result["cosine"] for result in results], abs=1e-5)
    tagging = ("tag", usual, unlike, "--labels", "an image", "--threshold", "0", "--model", checked)
    assert [result["unlike_validation"] for result in mi2(*tagging, "--json").json] == [False, True]
    assert mi2(*tagging).out.count("unlike anything this model was checked on") == 1
    with MedImageInsight.load(checked) as model:
        results = model.zero_shot([usual, unlike], ["an image", "something other"])
        assert [result.unlike_validation for result in results] == [False, True]
        assert model.tag(unlike, "modality").unlike_validation is True


def test_few_images_like_the_checked_are_marked(mi2, checked: Path, tmp_path: Path) -> None:
    files = [write_image(tmp_path / f"{seed}.png", "right", seed) for seed in range(1000, 1150)]
    results = mi2("classify", *files, *LABELS, "--model", checked, "--json").json
    assert sum(result["unlike_validation"] for result in results) <= 10


def test_statistics_of_an_older_form_ask_to_be_measured_again(mi2, checked: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(checked, tmp_path / "older"))

    def older(content: dict[str, Any]) -> None:
        del content["groups"], content["threshold"], content["level"], content["images"]
        content |= {"cosine": {}, "distance": {}, "centroid_count": 1, "centroids": ""}

    replace_content(bundle, older)
    assert load_code(bundle) == "statistics_invalid"
    with pytest.raises(MedImageInsightError, match="mi2 statistics"):
        MedImageInsight.load(bundle)


def test_the_level_is_part_of_the_statistics(mi2, checked: Path, made: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="measuring statistics needs the evaluate extra")
    bundle = Path(shutil.copytree(checked, tmp_path / "level"))
    usual = mi2("info", bundle, "--json").json["statistics"]
    assert mi2("statistics", bundle, made[1], "--level", "0.05").code == 0
    changed = mi2("info", bundle, "--json").json["statistics"]
    assert (usual["level"], changed["level"]) == (0.01, 0.05)
    assert changed["threshold"] < usual["threshold"]
    refused = mi2("statistics", bundle, made[1], "--level", "0.5")
    assert refused.code == 2
    assert "below 0.1" in refused.err


def test_other_preprocessing_has_no_statistics(mi2, checked: Path, image_files: list[Path]) -> None:
    words = ("classify", image_files[0], *LABELS, "--model", checked, "--json", "--preprocessing", "azure")
    assert mi2(*words).json[0]["unlike_validation"] is None


def test_info_and_verification_include_the_statistics(mi2, checked: Path) -> None:
    assert "240 images of table.csv, split val" in mi2("info", checked).out
    summary = mi2("info", checked, "--json").json["statistics"]
    assert (summary["images"], summary["data"]["table"]) == (240, "table.csv")
    Bundle.open(checked).verify()


def test_words_that_were_never_learned_are_named(mi2, checked: Path, image_files: list[Path]) -> None:
    words = ("classify", image_files[0], "--labels", "an image", "A banana, an IMAGE 2", "--model", checked)
    result = mi2(*words, "--json")
    (warning,) = result.json[0]["warnings"]
    assert (warning["code"], warning["words"]) == ("words_unknown", ["a", "banana"])
    assert "a, banana" in result.err
    known = mi2("classify", image_files[0], "--labels", "an image", "image", "--model", checked, "--json")
    assert "warnings" not in known.json[0]
    assert known.err == ""


def test_mini_names_words_that_it_never_learned(mi2, image_files: list[Path]) -> None:
    labels = ("--labels", "x-ray chest No Finding", "ultrasound breast Banana")
    result = mi2("classify", image_files[0], *labels, "--model", "mini", "--json")
    assert result.json[0]["warnings"][0]["words"] == ["banana"]
    checkpoint = Path(__file__).parents[2] / "checkpoints" / "mini" / "model.json"
    with MedImageInsight.load("mini") as model:
        assert model.unknown_words(json.loads(checkpoint.read_text())["words"]) == ()


@pytest.mark.parametrize("given", [["--labels", "Pneumonia"], ["--labels", "Pneumonia", "--template", "x-ray {}"]])
def test_a_single_label_is_refused_with_a_hint(mi2, image_files: list[Path], given: list[str]) -> None:
    result = mi2("classify", image_files[0], *given)
    assert result.code == 2
    assert "at least two labels" in result.err
    assert "compare" in result.err


def test_damaged_and_foreign_statistics_are_errors(mi2, checked: Path, toy_bundle: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(checked, tmp_path / "damaged"))
    content = bytearray((damaged / "statistics.json").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "statistics.json").write_bytes(content)
    assert load_code(damaged) == "bundle_checksum"
    assert mi2("info", damaged).code == 1
    foreign = Path(shutil.copytree(checked, tmp_path / "foreign"))
    replace_content(foreign, lambda content: content["model"]["image_encoder"].update({"image_encoder.onnx": "0" * 64}))
    assert load_code(foreign) == "statistics_other_model"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["groups"].update(means="?"),
        lambda content: content["groups"].update(means=content["groups"]["means"][:-8]),
        lambda content: content["groups"].update(made_means=""),
        lambda content: content["groups"].update(made_means=numbers(np.nan, content)),
        lambda content: content["groups"].update(made_means=numbers(2.0, content)),
        lambda content: content["groups"].update(made_means=numbers(0.1, content) * 600),
        lambda content: content["groups"].update(directions=numbers(0.0, content)),
        lambda content: content["groups"]["weights"].append(0.5),
        lambda content: content["groups"].update(weights=[-1.0] * len(content["groups"]["weights"])),
        lambda content: content["groups"]["log_spreads"].append(1.0),
        lambda content: content["groups"].update(log_spreads=[0.0] * len(content["groups"]["log_spreads"])),
        lambda content: content["groups"]["log_means"].pop(),
        lambda content: content["groups"].pop("weights"),
        lambda content: content.update(level=1.0),
        lambda content: content.update(images=3),
        lambda content: content.update(threshold="1"),
        lambda content: content["model"].update(embedding_dim=0),
        lambda content: content.update(copy_cosine=2.0),
        lambda content: content.pop("data"),
        lambda content: content.update(extra=1),
    ],
)
def test_statistics_of_another_form_are_refused(checked: Path, tmp_path: Path, change: Any) -> None:
    bundle = Path(shutil.copytree(checked, tmp_path / "changed"))
    replace_content(bundle, change)
    assert load_code(bundle) == "statistics_invalid"


def test_too_few_images_are_refused_and_nothing_changes(mi2, toy_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(toy_bundle, tmp_path / "few"))
    before = (bundle / "manifest.json").read_bytes()
    result = mi2("statistics", bundle, write_table(tmp_path / "set", count=90, splits=("val",)))
    assert result.code != 0
    assert "at least 100 images" in result.err
    assert (bundle / "manifest.json").read_bytes() == before
    assert not (bundle / "statistics.json").exists()


def test_duplicates_take_their_threshold_from_the_statistics(mi2, checked: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    images = [write_image(tmp_path / f"{seed}.png", "left", seed) for seed in range(4)]
    assert mi2("index", "add", tmp_path / "store", *images, "--model", checked).code == 0
    found = mi2("index", "duplicates", tmp_path / "store", "--model", checked, "--json").json
    stored = mi2("info", checked, "--json").json["statistics"]["copy_cosine"]
    assert (found["threshold_source"], found["threshold"]) == ("statistics", pytest.approx(stored))
