"""Free texts as captions: what they state, their table, and a run with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight.datasets import Sample
from medimageinsight.errors import ConfigError
from medimageinsight.train.captions import CaptionWriter
from medimageinsight.train.config import CaptionAugmentation
from medimageinsight.train.free_texts import FreeText, read_free_texts
from tests.train.sample_run import CONFIG, make_table, quiet

GENERAL = FreeText("Plain film of the thorax", ("x-ray", "chest", "", ""))
NEGATION = FreeText("No consolidation, no effusion", ("x-ray", "chest", "", "No Finding"))
OTHER = FreeText("Scan of the abdomen", ("computed tomography", "abdomen", "", ""))


def create_sample(finding: str, anatomy: str = "chest") -> Sample:
    caption = f"x-ray {anatomy} frontal {finding}"
    return Sample(
        path=Path("x.png"),
        caption=caption,
        modality="x-ray",
        anatomy=anatomy,
        view="frontal",
        finding=finding,
        label=finding,
    )


SAMPLES = [create_sample("No Finding"), create_sample("Pneumonia"), create_sample("No Finding", "knee")]
ALL = np.arange(3)


def test_images_get_the_texts_that_are_true_of_them() -> None:
    writer = CaptionWriter(SAMPLES, CaptionAugmentation(free_text=1.0), (), [GENERAL, NEGATION, OTHER])
    seen: list[set[str]] = [set(), set(), set()]
    for seed in range(20):
        written = writer.write(ALL, np.random.default_rng(seed))
        positives = writer.positives(ALL, written.stated)
        for row, text in enumerate(written.texts):
            seen[row].add(text)
            if text == GENERAL.text:
                assert positives[:, row].tolist() == [True, True, False]
            elif text == NEGATION.text:
                assert positives[:, row].tolist() == [True, False, False]
    assert seen == [{GENERAL.text, NEGATION.text}, {GENERAL.text}, {SAMPLES[2].caption}]
    assert GENERAL.text in writer.vocabulary(), "the tokenizer learns their words"


def test_without_the_probability_captions_are_as_before() -> None:
    plain = CaptionWriter(SAMPLES, CaptionAugmentation(synonym=0.5, shuffle=0.5))
    given = CaptionWriter(SAMPLES, CaptionAugmentation(synonym=0.5, shuffle=0.5), (), [OTHER])
    rngs = (np.random.default_rng(3), np.random.default_rng(3))
    assert plain.write(ALL, next(iter(rngs))).texts == given.write(ALL, rngs[1]).texts


def test_table_is_read_by_column_name(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("Finding,text,Modality\nNo Finding,No effusion,x-ray\n,A radiograph,x-ray\n")
    assert read_free_texts(path) == [
        FreeText("No effusion", ("x-ray", "", "", "No Finding")),
        FreeText("A radiograph", ("x-ray", "", "", "")),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("modality\nx-ray\n", "no column text"),
        ("text,modality\nA radiograph,x-ray\nNothing stated,\n", "row 2 without"),
        ("text,modality\n,x-ray\n", "row 1 without"),
    ],
)
def test_unusable_table_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(content)
    with pytest.raises(ConfigError, match=expected) as caught:
        read_free_texts(path)
    assert caught.value.code == "free_texts_invalid"
    with pytest.raises(ConfigError, match="found none"):
        read_free_texts(tmp_path / "missing.csv")


def test_run_learns_from_them_and_does_not_resume_with_others(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    yaml = pytest.importorskip("yaml")
    from medimageinsight.train import train

    make_table(tmp_path)
    (tmp_path / "texts.csv").write_text("text,modality,finding\nA shining dot,phantom,Bright Spot\n")
    captions = {"texts": "texts.csv", "free_text": 0.5}
    path = tmp_path / "run.yaml"
    stages = [{"steps": 2, "image_size": 32, "batch_size": 4}]
    path.write_text(yaml.safe_dump(CONFIG | {"captions": captions, "stages": stages}))
    train(path, tmp_path / "run", log=quiet)
    assert "shining" in (tmp_path / "run" / "best" / "model.json").read_text(), "a word that the model knows"
    (tmp_path / "texts.csv").write_text("text,modality,finding\nA bright dot,phantom,Bright Spot\n")
    with pytest.raises(ConfigError, match="free texts that the run began with"):
        train(path, tmp_path / "run", log=quiet)
    path.write_text(yaml.safe_dump(CONFIG | {"captions": {"free_text": 0.5}}))
    with pytest.raises(Exception, match="free_text"):
        train(path, tmp_path / "other", log=quiet)
