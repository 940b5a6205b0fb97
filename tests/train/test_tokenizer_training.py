"""The byte-pair vocabulary of a run."""

from __future__ import annotations

import pytest

pytest.importorskip("tokenizers")

from medimageinsight.tokenizer import Tokenizer
from medimageinsight.train.tokenizer_training import learn_merges, train_tokenizer

TEXTS = ["x-ray chest", "X-ray knee", "chest CT", "ultrasound of the breast", "breast, ultrasound"] * 3


def test_merges_most_frequent_pair_first_and_ties_alphabetically() -> None:
    assert learn_merges({"abc": 2, "abd": 1}, 3) == [("a", "b"), ("ab", "c</w>"), ("ab", "d</w>")]
    assert learn_merges({"ba": 1, "ab": 1}, 1) == [("a", "b</w>")]
    assert learn_merges({"a": 5}, 3) == []


def test_frequent_words_are_single_tokens_and_any_text_can_be_encoded() -> None:
    vocabulary = train_tokenizer(TEXTS, 600)
    tokenizer = Tokenizer(vocabulary, 77)
    start, end = tokenizer.start_id, tokenizer.end_id
    assert end == max(vocabulary.get_vocab().values())
    (chest, unknown) = tokenizer.encode(["Chest", "肺炎 zygoma"])
    assert [chest[0], chest[-1], len(chest)] == [start, end, 3]
    assert len(unknown) > 3


def test_same_texts_give_the_same_vocabulary() -> None:
    first, second = train_tokenizer(TEXTS, 600), train_tokenizer(reversed(TEXTS), 600)
    assert first.to_str() == second.to_str()
