from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from medimageinsight.errors import InputError
from medimageinsight.evaluate import (
    EvaluationSettings,
    Figure,
    FindingFigures,
    Report,
    SourceFigures,
    to_json,
    to_markdown,
    update_model_card,
    write_report,
)

AUC = Figure(value=0.9, low=0.85, high=0.95, count=30)
REPORT = Report(
    model="tiny",
    command="mi2 evaluate --model tiny",
    settings=EvaluationSettings(),
    images=50,
    patients=40,
    prompts=7,
    modality_accuracy=Figure(value=0.98, low=0.9712, high=1.0, count=50),
    anatomy_accuracy=None,
    mean_auc=AUC,
    finding_sources=("chest",),
    sources={
        "chest": SourceFigures(
            images=30,
            labels=2,
            findings=FindingFigures(mean_auc=AUC, label_auc={"a|b": AUC}, left_out=("rare",), accuracy=AUC),
            precision_at_k=AUC,
        ),
        "plain": SourceFigures(images=20, labels=1, findings=None, precision_at_k=None),
    },
    precision_at_k=AUC,
    image_to_text={1: AUC},
    text_to_image={1: AUC},
    text_to_image_precision=AUC,
)
CARD = "# Card\n\nbefore\n<!-- evaluation:begin -->\nold\n<!-- evaluation:end -->\nafter\n"


def test_markdown_holds_the_figures_with_their_intervals():
    text = to_markdown(REPORT)
    assert "| Modality of the best prompt is right | 0.980 (0.971 to 1.000) | 50 pictures |" in text
    assert "Modality and anatomy" not in text
    assert "| plain | 20 | 1 | – | – | – |" in text
    assert r"| chest | a\|b | 30 | 0.900 (0.850 to 0.950) |" in text
    assert "Without an AUC in chest: rare." in text
    assert "not for diagnosis" in text
    assert "mi2 evaluate --model tiny" in text


def test_json_is_strict_and_complete():
    data = json.loads(to_json(REPORT))
    assert data["mean_auc"] == {"value": 0.9, "low": 0.85, "high": 0.95, "count": 30}
    assert data["sources"]["chest"]["findings"]["left_out"] == ["rare"]
    assert data["image_to_text"]["1"]["value"] == 0.9
    assert data["settings"]["split"] == "test"


def test_a_folder_is_written_whole_and_an_earlier_report_replaced(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra evaluate")
    folder = write_report(REPORT, tmp_path / "deep" / "report")
    names = {"report.json", "report.md", "mean_auc.png", "precision.png"}
    assert {file.name for file in folder.iterdir()} == names
    with Image.open(folder / "mean_auc.png") as plot:
        assert len(plot.convert("RGB").getcolors(1 << 20)) > 3

    bare = replace(REPORT, mean_auc=None, precision_at_k=None)
    write_report(bare, folder)
    assert {file.name for file in folder.iterdir()} == {"report.json", "report.md"}
    assert "png" not in (folder / "report.md").read_text(encoding="utf-8")
    assert [file.name for file in folder.parent.iterdir()] == ["report"]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another"):
        write_report(REPORT, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_write_leaves_the_earlier_report(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.json").write_text("earlier")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("medimageinsight.evaluate.model_card.draw_plots", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(REPORT, folder)
    assert (folder / "report.json").read_text() == "earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


def test_a_model_card_keeps_all_but_its_evaluation(tmp_path):
    card = tmp_path / "MODEL_CARD.md"
    card.write_text(CARD, encoding="utf-8")
    update_model_card(card, REPORT)
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# Card\n\nbefore\n<!-- evaluation:begin -->\n")
    assert text.endswith("\n<!-- evaluation:end -->\nafter\n")
    assert "old" not in text
    assert "0.980 (0.971 to 1.000)" in text
    assert "```\nmi2 evaluate --model tiny\n```" in text
    update_model_card(card, REPORT)
    assert card.read_text(encoding="utf-8") == text
    assert [file.name for file in tmp_path.iterdir()] == ["MODEL_CARD.md"]


@pytest.mark.parametrize("text", ["", CARD + CARD, CARD.replace("begin", "start"), CARD.replace("end", "begin")])
def test_a_card_without_its_marks_is_refused_and_untouched(tmp_path, text):
    card = tmp_path / "MODEL_CARD.md"
    card.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="evaluation:begin"):
        update_model_card(card, REPORT)
    assert card.read_text(encoding="utf-8") == text
    with pytest.raises(InputError, match="no such file"):
        update_model_card(tmp_path / "none.md", REPORT)
