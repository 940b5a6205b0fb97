"""A byte-pair vocabulary of CLIP's form, made from a run's own texts."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError
from medimageinsight.export.tokenizer_file import clip_tokenizer
from medimageinsight.tokenizer import END_TOKEN, START_TOKEN, Tokenizer, clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import tokenizers

    from medimageinsight.network.config import TextEncoderConfig
    from medimageinsight.train.config import TokenizerConfig

WORD_END = "</w>"


def make_tokenizer(
    path: Path, settings: TokenizerConfig, wordings: Iterable[str], base: Path, text: TextEncoderConfig
) -> Tokenizer:
    """The run's tokenizer: read from `path`, or learned from the captions' wordings and the corpus, and written there.

    Raises:
        ConfigError: The vocabulary's size is not the text encoder's, or the corpus has no column `text`.
    """
    if settings.vocab_size != text.vocab_size:
        raise ConfigError(
            f"config.tokenizer.vocab_size: expected {text.vocab_size} as in model.text, got {settings.vocab_size}"
        )
    if not path.exists():
        texts = list(wordings)
        if settings.corpus is not None:
            texts += _read_corpus(base / settings.corpus)
        train_tokenizer(texts, settings.vocab_size).save(str(path))
    return Tokenizer.from_file(path, text.context_length)


def _read_corpus(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row["text"] for row in csv.DictReader(file)]
    except OSError as error:
        raise ConfigError(f"config.tokenizer.corpus: cannot be read: {error.strerror}") from None
    except KeyError:
        raise ConfigError("config.tokenizer.corpus: expected a CSV with a column text") from None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Learns merges from texts; any other text can still be written, byte by byte.

    The start and end tokens get the two highest ids, as the text encoder finds the end by the highest id.

    Args:
        texts: What captions and prompts look like.
        vocab_size: Entries in all, at least the 514 of the bytes and the two ends.
    """
    from tokenizers import models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = clip_tokenizer({START_TOKEN: 0, END_TOKEN: 1}, [])
    learner.model = models.BPE(end_of_word_suffix=WORD_END)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, end_of_word_suffix=WORD_END, show_progress=False
    )
    learner.train_from_iterator(sorted(clean(text) for text in texts), trainer)
    merges = _merges(learner)
    units = alphabet + [unit + WORD_END for unit in alphabet]
    room = vocab_size - len(units) - 2
    pieces = units + [left + right for left, right in merges[:room]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*pieces, START_TOKEN, END_TOKEN]))}
    return clip_tokenizer(vocabulary, merges[:room])


def _merges(tokenizer: tokenizers.Tokenizer) -> list[tuple[str, str]]:
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
