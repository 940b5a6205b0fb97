"""The tokenizer.json of the release's vocabulary gives the original ids."""

from __future__ import annotations

import json
import shutil

import pytest

from medimageinsight.errors import CheckpointError
from medimageinsight.export import check_tokenizer, read_tokenizer, tokenizer_file
from medimageinsight.tokenizer import Tokenizer
from tests.golden.model import VOCAB_SIZE, golden, write_golden_checkpoint


@pytest.fixture(scope="module")
def own_vocabulary(tmp_path_factory):
    return write_golden_checkpoint(tmp_path_factory.mktemp("release") / "x") / "language_model" / "clip_tokenizer"


@pytest.fixture
def release_vocabulary(shared):
    return shared / "release" / "2024.09.27" / "language_model" / "clip_tokenizer_4.16.2"


def test_all_golden_ids(release_vocabulary, shared, tmp_path):
    tokenizer = read_tokenizer(release_vocabulary)
    check_tokenizer(tokenizer, VOCAB_SIZE)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    saved = Tokenizer.from_file(tmp_path / "tokenizer.json", 77)
    cases = json.loads((shared / "golden" / "tokenizer_cases.json").read_text())["cases"]
    assert len(cases) == 150
    assert saved.encode([case["text"] for case in cases]) == [case["ids"] for case in cases]


def test_release_is_checked_against_known_ids(release_vocabulary, monkeypatch):
    monkeypatch.setitem(tokenizer_file.RELEASE_IDS, "lung", [1])
    with pytest.raises(CheckpointError, match="upgrade") as caught:
        read_tokenizer(release_vocabulary)
    assert caught.value.code == "checkpoint_tokenizer"


def test_known_ids_are_the_original_ones():
    cardiomegaly = golden()["token_ids"][0][1:-1]
    assert tokenizer_file.RELEASE_IDS["x-ray chest anteroposterior Cardiomegaly"] == cardiomegaly


def test_text_is_split_into_clip_words(own_vocabulary):
    tokens = read_tokenizer(own_vocabulary).encode("The  lung's\tT2").tokens
    assert tokens == [
        *("<|startoftext|>", "the</w>", "l", "u", "n", "g</w>", "'", "s</w>", "t</w>", "2</w>", "<|endoftext|>"),
    ]


def test_tokenizer_json_neither_truncates_nor_pads(own_vocabulary, tmp_path):
    tokenizer = read_tokenizer(own_vocabulary)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert len(read_tokenizer(tmp_path / "tokenizer.json").encode("abcdefghijkl").ids) == 14


def test_rejects_a_tokenizer_of_another_size(own_vocabulary):
    with pytest.raises(CheckpointError, match="49,408") as caught:
        check_tokenizer(read_tokenizer(own_vocabulary), 1000)
    assert caught.value.code == "checkpoint_tokenizer"


def test_rejects_an_end_token_that_is_not_the_last(own_vocabulary, tmp_path):
    folder = shutil.copytree(own_vocabulary, tmp_path / "swapped")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    first = next(iter(vocabulary))
    vocabulary[first], vocabulary["<|endoftext|>"] = VOCAB_SIZE - 1, 0
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(CheckpointError, match="got the ids 49406 and 0"):
        check_tokenizer(read_tokenizer(folder), VOCAB_SIZE)


@pytest.mark.parametrize("remaining", [0, 1, 1000, -1])
def test_rejects_truncated_merges(own_vocabulary, tmp_path, remaining):
    folder = shutil.copytree(own_vocabulary, tmp_path / "truncated")
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    kept = lines[:remaining]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *kept, ""]), "utf-8")
    expected = f"expected 48,894 merges for a vocabulary of 49,408 tokens, got {len(kept):,}"
    with pytest.raises(CheckpointError, match=expected) as caught:
        read_tokenizer(folder)
    assert caught.value.code == "checkpoint_tokenizer"


@pytest.mark.parametrize(("name", "content"), [("vocab.json", "[]"), ("vocab.json", "{"), ("merges.txt", "a b c\n")])
def test_rejects_an_unreadable_vocabulary(own_vocabulary, tmp_path, name, content):
    folder = shutil.copytree(own_vocabulary, tmp_path / "broken")
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError) as caught:
        read_tokenizer(folder)
    assert caught.value.code == "checkpoint_tokenizer"


def test_rejects_an_unreadable_tokenizer_json(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tokenizer(tmp_path / "tokenizer.json")
