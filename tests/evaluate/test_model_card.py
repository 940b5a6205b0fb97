from __future__ import annotations

import json

import pytest

from medimageinsight.errors import InputError
from medimageinsight.evaluate import (
    EvaluationSettings,
    Figure,
    FindingFigures,
    Report,
    SourceFigures,
    card_section,
    update_model_card,
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
    finding_sources=("a|b",),
    sources={
        "a|b": SourceFigures(
            images=30,
            labels=2,
            findings=FindingFigures(mean_auc=AUC, label_auc={"edema": AUC}, left_out=("rare",), accuracy=AUC),
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


def test_section_has_the_figures_with_their_intervals():
    text = card_section(REPORT)
    assert "| Modality of the best prompt is right | 0.980 (0.971 to 1.000) | 50 images |" in text
    assert "Modality and anatomy" not in text
    assert "| plain | 20 | 1 | – | – | – |" in text
    assert r"| a\|b | 30 | 2 | 0.900 (0.850 to 0.950) |" in text
    assert r"Without an AUC in a|b: rare." in text
    assert "mi2 evaluate --model tiny" in text


def test_report_as_json_is_complete():
    data = json.loads(json.dumps(REPORT.to_dict(), allow_nan=False))
    assert data["mean_auc"] == {"value": 0.9, "low": 0.85, "high": 0.95, "count": 30}
    assert data["sources"]["a|b"]["findings"]["left_out"] == ["rare"]
    assert data["image_to_text"]["1"]["value"] == 0.9
    assert data["settings"]["split"] == "test"


def test_only_the_evaluation_of_a_card_is_replaced(tmp_path):
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
def test_card_without_its_marks_is_refused_and_unchanged(tmp_path, text):
    card = tmp_path / "MODEL_CARD.md"
    card.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="evaluation:begin"):
        update_model_card(card, REPORT)
    assert card.read_text(encoding="utf-8") == text
    with pytest.raises(InputError, match="no such file"):
        update_model_card(tmp_path / "none.md", REPORT)
