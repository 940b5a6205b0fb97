"""What the built-in model is judged by: complete, in known words, and apart from what it learns."""

from __future__ import annotations

import csv
from pathlib import Path

from medimageinsight.tagging import VOCABULARIES

FOLDER = Path(__file__).parents[2] / "tools" / "mini"


def read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_are_named_once_in_terms_of_the_vocabulary() -> None:
    rows = read("sample_files.csv")
    assert len({row["file"] for row in rows}) == len(rows) > 38
    assert {row["modality"] for row in rows} <= set(VOCABULARIES["modality"])
    files = Path(__file__).parents[3] / "shared" / "data" / "samples" / "dicom"
    if files.is_dir():
        assert all((files / row["file"]).is_file() for row in rows)


def test_half_of_the_paraphrases_is_for_the_final_test_and_none_is_trained_on() -> None:
    rows = read("paraphrases.csv")
    final = {row["text"].casefold() for row in rows if row["use"] == "final"}
    assert len(rows) >= 120
    assert abs(len(final) - len(rows) / 2) < 2
    assert {row["use"] for row in rows} == {"tune", "final"}
    sentences = {row["text"].casefold().rstrip(".") for row in read("sentences.csv")}
    assert not sentences & {text.rstrip(".") for text in final}
    config = (FOLDER.parents[1] / "configs" / "mini2.yaml").read_text("utf-8").casefold()
    assert not [text for text in final if text in config]
