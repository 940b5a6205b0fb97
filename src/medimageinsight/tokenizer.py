"""Convert text to token ids, exactly as in the training of the released model.

A text is first repaired by ftfy, its white space collapsed and converted to lower case. A ``tokenizer.json`` cannot
express the repair, so all three are done here and the file contains the byte-pair encoding only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

import numpy as np

from medimageinsight.errors import BundleError, TextError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer as Vocabulary

START_TOKEN = "<|startoftext|>"  # noqa: S105
END_TOKEN = "<|endoftext|>"  # noqa: S105

# Only the first tokens of a text are read (77 in the released model), so a longer text is a mistake or an attack.
MAX_CHARACTERS = 100_000
# Some of ftfy's repairs take time with the square of a line's length: 10,000 hostile characters take half a second.
MAX_REPAIRED_LINE = 10_000

# Text that ftfy does not change, apart from line ends: ASCII without HTML entities and control characters.
_NEEDS_NO_REPAIR = re.compile(r"[ -%'-~\t\n\f\r]*")
# ftfy removes one layer of a nested entity ("&amp;amp;") or terminal escape a pass, and each pass reads the whole line.
_DEEPLY_NESTED = re.compile(r"(?:(?:amp|#0*38|#x0*26);){8}|(?:\x1b\[[\d;]*){8}", re.IGNORECASE)


class Tokenizer:
    """Byte-pair encoding with a start and an end token around every text, `context_length` tokens at most.

    Raises:
        BundleError: The vocabulary lacks ``<|startoftext|>`` or ``<|endoftext|>`` (``tokenizer_invalid``).
    """

    def __init__(self, vocabulary: Vocabulary, context_length: int) -> None:
        self._vocabulary = vocabulary
        self.context_length = context_length
        self.start_id = self._id_of(START_TOKEN)
        self.end_id = self._id_of(END_TOKEN)

    @classmethod
    def from_file(cls, path: str | Path, context_length: int) -> Self:
        """Load a ``tokenizer.json``.

        Raises:
            BundleError: The file is invalid (``tokenizer_invalid``).
        """
        from tokenizers import Tokenizer as Vocabulary

        try:
            vocabulary = Vocabulary.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise BundleError(
                "tokenizer.json: expected a file of the tokenizers library, got an invalid file: make the bundle again",
                code="tokenizer_invalid",
            ) from error
        vocabulary.no_truncation()
        vocabulary.no_padding()
        return cls(vocabulary, context_length)

    @property
    def vocab_size(self) -> int:
        """The number of tokens, start and end token included."""
        return int(self._vocabulary.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text with start and end token, not padded; long texts are truncated.

        Raises:
            TextError: A text is not a string, not valid Unicode or too long.
        """
        encodings = self._vocabulary.encode_batch_fast([clean(text) for text in texts], add_special_tokens=False)
        length = self.context_length - 2
        return [[self.start_id, *encoding.ids[:length], self.end_id] for encoding in encodings]

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `encode`'s rows as ``(input_ids, attention_mask)``, both (N, L), padded with the end token."""
        return pad(rows, self.end_id)

    def _id_of(self, token: str) -> int:
        token_id = self._vocabulary.token_to_id(token)
        if token_id is None:
            raise BundleError(
                f"tokenizer.json: expected the token {token}, got a vocabulary without it: make the bundle again",
                code="tokenizer_invalid",
            )
        return int(token_id)


def clean(text: str) -> str:
    """Normalise a text for the byte-pair encoding: repaired by ftfy, white space collapsed, lower case.

    Raises:
        TextError: It is not a string (``text_not_a_string``), contains half a surrogate pair (``text_not_unicode``), is
            too long (``text_too_long``), or is escaped so often that its repair would take too long
            (``text_not_repairable``).
    """
    if not isinstance(text, str):
        raise TextError(f"expected a text (str), got {type(text).__name__}", code="text_not_a_string")
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"expected at most {MAX_CHARACTERS:,} characters, got {len(text):,}: only the beginning of a text is used",
            code="text_too_long",
        )
    return " ".join(_repair(text).split()).lower()


def pad(rows: Sequence[Sequence[int]], fill: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``(input_ids, attention_mask)`` of uneven rows, both (N, L) int64; the mask is 0 on ``fill``, else 1."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    attention_mask = (np.arange(lengths.max(initial=0)) < lengths[:, np.newaxis]).astype(np.int64)
    input_ids = np.full(attention_mask.shape, fill, dtype=np.int64)
    for row, ids in zip(input_ids, rows, strict=True):
        row[: len(ids)] = ids
    return input_ids, attention_mask


def _repair(text: str) -> str:
    """Repair a text with ftfy, unless the repair would have no effect after collapsing white space."""
    if _NEEDS_NO_REPAIR.fullmatch(text):
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextError(
            "expected valid Unicode, got half a surrogate pair: send the character whole", code="text_not_unicode"
        ) from None
    longest = max(map(len, text.split("\n")))
    if longest > MAX_REPAIRED_LINE:
        raise TextError(
            f"expected lines of at most {MAX_REPAIRED_LINE:,} characters where a text is not plain ASCII, "
            f"got {longest:,}: shorten it",
            code="text_too_long",
        )
    if _DEEPLY_NESTED.search(text):
        raise TextError(
            "expected a readable text, got one escaped many times: send it unescaped", code="text_not_repairable"
        )
    import ftfy

    repaired: str = ftfy.fix_text(text)
    return repaired
