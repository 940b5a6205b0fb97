"""The demo: its images with their licences, its verdicts, its searches, and its sheet."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight
from medimageinsight.cli import demo_results
from medimageinsight.cli.contact_sheet import Card, draw_sheet
from medimageinsight.cli.demo_results import judge, judge_similar, judge_text_hit, run_demo
from medimageinsight.cli.demo_sheet import VERDICTS, draw_demo, summary
from medimageinsight.cli.examples import (
    CASE_QUERIES,
    EXAMPLES,
    FOLDER,
    KINDS,
    PROMPTS,
    TABLE,
    TEXT_QUERIES,
    Example,
    example_path,
    shipped_examples,
)
from medimageinsight.tasks import ZeroShotResult

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = shipped_examples()
# Licences that allow to redistribute a changed copy with attribution, also commercially.
FREE = {"CC0-1.0", "CC-BY-3.0", "CC-BY-4.0"}
CT = Example(file="a", title="a", modality="computed tomography", anatomy="chest")


def test_demo_prints_tables_and_writes_an_image(mi2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = mi2("demo")
    assert result.code == 0
    assert all(example.title in result.out for example in (*SHIPPED, *EXAMPLES))
    assert all(text in result.out for text, _ in TEXT_QUERIES)
    assert "Similar cases" in result.out
    assert result.out.count("not for diagnosis or treatment") == 1
    with Image.open(tmp_path / "medimageinsight-demo.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 800


def test_demo_prints_json(mi2, tmp_path: Path) -> None:
    result = mi2("demo", "--out", tmp_path / "sheet.jpg", "--json")
    assert result.json["contact_sheet"] == str(tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
    for entry in result.json["images"]:
        assert list(entry["probabilities"]) == list(PROMPTS) == list(entry["cosines"])
        assert sum(entry["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert entry["cosine"] == max(entry["cosines"].values())
        assert entry["verdict"] in VERDICTS
    assert {entry["source"] for entry in result.json["images"] if "licence" in entry} == {e.file for e in SHIPPED}
    assert [search["query"] for search in result.json["text_search"]] == [text for text, _ in TEXT_QUERIES]
    assert {search["query"] for search in result.json["similar_cases"]} == set(CASE_QUERIES)
    for search in (*result.json["text_search"], *result.json["similar_cases"]):
        cosines = [hit["cosine"] for hit in search["hits"]]
        assert cosines == sorted(cosines, reverse=True)
        assert len(cosines) == 3
        assert search["query"] not in [hit["source"] for hit in search["hits"]]


def test_needs_no_network(mi2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert mi2("demo", "--out", tmp_path / "sheet.png").code == 0


def test_reports_unwritable_output_in_one_line(mi2, tmp_path: Path) -> None:
    result = mi2("demo", "--out", tmp_path / "no" / "sheet.png")
    assert result.code == 1
    assert result.err.count("\n") == 1


def test_every_image_is_installed() -> None:
    assert all(example_path(example.file) for example in (*SHIPPED, *EXAMPLES))
    assert example_path("nosuch.dcm") is None


def test_every_shipped_image_has_its_truth_and_licence() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {TABLE}
    assert files == {example.file for example in SHIPPED}
    assert 8 <= len(SHIPPED) <= 12
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 150_000
    for example in SHIPPED:
        assert example.licence in FREE
        assert all((example.title, example.finding, example.source, example.author, example.file_there))
        assert example.url.startswith("https://")
        assert example.changed
        with Image.open(FOLDER / example.file) as image:
            assert not image.getexif()
            assert min(image.size) >= 200


def test_truths_are_among_the_prompts() -> None:
    medical = [example for example in SHIPPED if example.modality]
    assert len(medical) == len(SHIPPED) - 1
    assert {(example.modality, example.anatomy) for example in medical} < set(KINDS)
    assert {(example.modality, example.anatomy) for example in EXAMPLES if example.anatomy} < set(KINDS)
    wanted = {"fundus photography", "dermoscopy", "microscopy", "computed tomography", "magnetic resonance imaging"}
    wanted |= {"ultrasound", "x-ray", "endoscopy", "histopathology"}
    assert wanted == {example.modality for example in medical}
    files = {example.file for example in SHIPPED}
    assert {file for _, file in TEXT_QUERIES} | set(CASE_QUERIES) <= files


def test_verdicts_follow_the_best_prompt() -> None:
    assert judge(CT, "computed tomography chest", None).word == "right"
    assert judge(CT, "computed tomography head", None).word == "half right"
    assert judge(CT, "computed tomography head", None).reason == "right modality, wrong body part"
    assert judge(CT, "x-ray chest", None).word == "wrong"
    unnamed = Example(file="b", title="b", modality="computed tomography")
    assert judge(unnamed, "computed tomography head", None).word == "right"


def test_an_image_that_is_not_medical_has_to_be_marked() -> None:
    cat = SHIPPED[-1]
    assert not cat.modality
    assert judge(cat, PROMPTS[0], True).word == "right"
    assert judge(cat, PROMPTS[0], False).word == "wrong"
    assert judge(cat, PROMPTS[0], None).word == "not judged"


def test_verdicts_on_searches() -> None:
    other = Example(file="b", title="b", modality=CT.modality, anatomy=CT.anatomy)
    head = Example(file="c", title="c", modality=CT.modality, anatomy="head")
    x_ray = Example(file="d", title="d", modality="x-ray", anatomy="chest")
    assert [judge_text_hit(CT, hit).word for hit in (CT, other, head, x_ray)] == [
        "right", "half right", "wrong", "wrong",
    ]  # fmt: skip
    assert [judge_similar(CT, hit).word for hit in (other, head, x_ray)] == ["right", "half right", "wrong"]


@pytest.mark.parametrize("unlike", [None, True, False])
def test_the_demo_uses_the_results_and_marks_of_the_model(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch, unlike: bool | None
) -> None:
    """A model that is right about each image but the first."""
    first, *others = [*(e for e in SHIPPED if e.modality), *EXAMPLES]
    right = [next(p for p in PROMPTS if judge(e, p, None).word == "right") for e in (first, *others)]
    answers = ["dermoscopy skin", *right[1:], PROMPTS[0]]

    def classify(*_: object, **__: object) -> list[ZeroShotResult]:
        return [
            ZeroShotResult(
                probabilities={p: 0.66 if p == best else 0.02 for p in PROMPTS}, cosine=0.5, unlike_validation=unlike
            )
            for best in answers
        ]

    monkeypatch.setattr("medimageinsight.tasks.classify_vectors", classify)
    with MedImageInsight.load(toy_bundle) as model:
        results = run_demo(model)
    words = [image.verdict.word for image in results.images]
    marked = {None: "not judged", True: "right", False: "wrong"}[unlike]
    assert words == ["wrong", *["right"] * len(others), marked]
    assert results.images[0].expected == "x-ray chest"
    assert f"{words.count('right')} right" in summary(results)
    sheet = np.asarray(draw_demo(results))
    green, red = ((0x7F, 0xE0, 0xA3), (0xFF, 0x8F, 0x86))
    assert (sheet == green).all(-1).sum() > (sheet == red).all(-1).sum() > 0


def test_no_card_cuts_a_text_off(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer title makes the sheet higher."""
    with MedImageInsight.load(toy_bundle) as model:
        results = run_demo(model)
        usual = draw_demo(results).height
        longer = [
            Example(file=e.file, title=f"{e.title} {'and more of it ' * 9}", modality=e.modality) for e in SHIPPED
        ]
        monkeypatch.setattr(demo_results, "shipped_examples", lambda: longer)
        assert draw_demo(run_demo(model)).height > usual + 100


def test_distributions_contain_the_images() -> None:
    """The wheel and the sdist, as hatchling selects their files."""
    wheels = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    sources = pytest.importorskip("hatchling.builders.sdist")
    wanted = {f"medimageinsight/builtin/demo/{name}" for name in (TABLE, *(example.file for example in SHIPPED))}
    for builder, prefix in ((wheels.WheelBuilder, ""), (sources.SdistBuilder, "src/")):
        found = {Path(file.distribution_path).as_posix() for file in builder(str(ROOT)).recurse_included_files()}
        assert {f"{prefix}{name}" for name in wanted} <= found


def test_bar_length_is_proportional_to_probability() -> None:
    black = Image.new("RGB", (9, 9))
    prompts = [("a prompt much longer than the card is wide, with more words than anyone would read", 1.0), ("b", 0.0)]
    full = draw_sheet([Card(image=black, title="t", prompts=prompts)], title="t")
    half = draw_sheet([Card(image=black, title="t", prompts=[("a", 0.5), ("b", 0.0)])], title="t")
    accent = (0x4F, 0xB3, 0xA9)
    lengths = [sum(pixel == accent for pixel in sheet.get_flattened_data()) for sheet in (full, half)]
    assert lengths[1] == pytest.approx(lengths[0] / 2, rel=0.05)
