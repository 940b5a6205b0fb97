"""Token ids against those of the original tokenizer, and repairs against ftfy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import ftfy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medimageinsight.errors import BundleError, TextError
from medimageinsight.tokenizer import MAX_CHARACTERS, MAX_REPAIRED_LINE, Tokenizer, clean, pad
from tests.toy import CONTEXT, END, START, toy_vocabulary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tokenizer(toy_bundle: Path) -> Tokenizer:
    return Tokenizer.from_file(toy_bundle / "tokenizer.json", CONTEXT)


def test_every_text_has_start_and_end_token(tokenizer: Tokenizer) -> None:
    rows = tokenizer.encode(["", "  ", "chest", "a b"])
    assert rows[0] == rows[1] == [tokenizer.start_id, tokenizer.end_id]
    assert all(row[0] == tokenizer.start_id and row[-1] == tokenizer.end_id for row in rows)
    assert [len(row) for row in rows] == [2, 2, 7, 4]
    assert tokenizer.end_id == tokenizer.vocab_size - 1


def test_a_long_text_is_truncated_before_its_end_token(tokenizer: Tokenizer) -> None:
    [long], [longer] = tokenizer.encode(["abcdefghij"]), tokenizer.encode(["abcdefghij" * 100])
    assert len(long) == len(longer) == CONTEXT
    assert longer[-1] == tokenizer.end_id
    assert long[:-2] == longer[:-2]


def test_case_and_white_space_do_not_matter(tokenizer: Tokenizer) -> None:
    rows = tokenizer.encode(["CT  Chest", " ct chest ", "ct\tchest\r\n", "ct\u00a0chest", "\ufeffct chest", "ct chest"])
    assert all(row == rows[-1] for row in rows)


def test_pad_fills_with_the_end_token_and_masks_it(tokenizer: Tokenizer) -> None:
    input_ids, attention_mask = tokenizer.pad(tokenizer.encode(["ab", "a", ""]))
    end = tokenizer.end_id
    assert input_ids.dtype == attention_mask.dtype == np.int64
    assert input_ids[1:, 2:].tolist() == [[end, end], [end, end]]
    assert attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]


def test_pad_of_no_rows() -> None:
    input_ids, attention_mask = pad([], 0)
    assert input_ids.shape == attention_mask.shape == (0, 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (7, "text_not_a_string"),
        (None, "text_not_a_string"),
        (b"ct", "text_not_a_string"),
        ("half \ud83d", "text_not_unicode"),
        ("a" * (MAX_CHARACTERS + 1), "text_too_long"),
        ("é" * (MAX_REPAIRED_LINE + 1), "text_too_long"),
        ("&" + "amp;" * 2000, "text_not_repairable"),
        ("é&" + "AMP;#38;#x26;" * 50, "text_not_repairable"),
        ("\x1b[" * 2000 + "0m" * 2000, "text_not_repairable"),
    ],
)
def test_rejects_invalid_texts(tokenizer: Tokenizer, text: object, code: str) -> None:
    with pytest.raises(TextError) as caught:
        tokenizer.encode(["fine", text])
    assert caught.value.code == code
    assert len(str(caught.value)) < 200


def test_long_reports_are_accepted(tokenizer: Tokenizer) -> None:
    report = "Keine Auffälligkeiten im Thorax.\n" * 2000
    [row] = tokenizer.encode([report])
    assert len(row) == CONTEXT


def test_text_is_repaired() -> None:
    assert clean("SjÃ¶gren&#39;s") == clean("Sjögren's") == "sjögren's"
    assert clean("&amp;lt; 5 mm") == "< 5 mm"
    assert clean("e\u0301") == "\u00e9"
    assert clean("ﬁbrosis “x”") == 'fibrosis "x"'


@settings(max_examples=300)
@given(
    st.text(st.characters(max_codepoint=0x7F)) | st.text(st.sampled_from("ab <>&;#38amplt\x1b[m\r\n\x0b\x0c\x1c\x7f"))
)
def test_ascii_is_cleaned_as_by_ftfy(text: str) -> None:
    assert clean(text) == " ".join(ftfy.fix_text(text).split()).lower()


@given(st.text())
def test_any_text_has_ids(text: str) -> None:
    assert Tokenizer(toy_vocabulary(), CONTEXT).encode([text])[0][-1] == 513


def test_rejects_a_file_that_is_not_a_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json") as caught:
        Tokenizer.from_file(path, CONTEXT)
    assert caught.value.code == "tokenizer_invalid"
    assert str(tmp_path) not in str(caught.value)


def test_rejects_a_vocabulary_without_end_token(toy_bundle: Path, tmp_path: Path) -> None:
    content = json.loads((toy_bundle / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] == START]
    del content["model"]["vocab"][END]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="endoftext"):
        Tokenizer.from_file(path, CONTEXT)


def test_the_release_gives_the_original_ids(shared: Path) -> None:
    from medimageinsight.export import read_tokenizer

    cases = json.loads((shared / "golden/tokenizer_cases.json").read_text())["cases"]
    vocabulary = read_tokenizer(shared / "release/2024.09.27/language_model/clip_tokenizer_4.16.2")
    ids = Tokenizer(vocabulary, 77).encode([case["text"] for case in cases])
    assert len(cases) == 150
    assert ids == [case["ids"] for case in cases]
