"""A byte-pair vocabulary in CLIP's format, trained on a run's own texts."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError
from medimageinsight.export.tokenizer_file import WORD_END, create_clip_tokenizer
from medimageinsight.tokenizer import END_TOKEN, START_TOKEN, Tokenizer, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import tokenizers

    from medimageinsight.network.config import TextEncoderConfig
    from medimageinsight.train.config import TokenizerConfig


def make_tokenizer(
    path: Path, settings: TokenizerConfig, phrases: Iterable[str], base: Path, text: TextEncoderConfig
) -> Tokenizer:
    """Read the run's tokenizer from `path`; if it does not exist, train it on phrases and corpus and write it there.

    Raises:
        ConfigError: The size of the vocabulary is not the text encoder's, or the corpus has no column `text`.
    """
    if settings.vocab_size != text.vocab_size:
        raise ConfigError(
            f"config.tokenizer.vocab_size: expected {text.vocab_size} as in model.text, got {settings.vocab_size}"
        )
    if not path.exists():
        texts = list(phrases)
        if settings.corpus is not None:
            texts += _read_corpus(base / settings.corpus)
        tokenizer = train_tokenizer(texts, settings.vocab_size)
        if tokenizer.get_vocab_size() < settings.vocab_size:
            raise ConfigError(
                f"config.tokenizer.vocab_size: expected at most the {tokenizer.get_vocab_size()} tokens that the "
                f"captions and the corpus contain, got {settings.vocab_size}: lower it here and in config.model.text",
                code="vocabulary_too_large",
            )
        tokenizer.save(str(path))
    return Tokenizer.from_file(path, text.context_length)


def _read_corpus(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row["text"] for row in csv.DictReader(file)]
    except OSError as error:
        raise ConfigError(f"config.tokenizer.corpus: cannot be read: {error.strerror}") from None
    except KeyError:
        raise ConfigError("config.tokenizer.corpus: expected a CSV with a column text, got none of that name") from None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Train a tokenizer on texts; it encodes any other text too, byte by byte if necessary.

    The start and end tokens have the two highest ids: the text encoder finds the end by the highest id. The vocabulary
    has at least 514 entries: the bytes, each also at the end of a word, and two special tokens.
    """
    from tokenizers import pre_tokenizers

    splitter = create_clip_tokenizer({START_TOKEN: 0, END_TOKEN: 1}, []).pre_tokenizer
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(clean(text)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    units = alphabet + [unit + WORD_END for unit in alphabet]
    merges = learn_merges(words, vocab_size - len(units) - 2)
    pieces = [*units, *(left + right for left, right in merges), START_TOKEN, END_TOKEN]
    return create_clip_tokenizer({piece: index for index, piece in enumerate(pieces)}, merges)


def learn_merges(words: Mapping[str, int], count: int) -> list[tuple[str, str]]:
    """Learn byte-pair merges (arXiv 1508.07909): repeatedly merge the most frequent pair of adjacent pieces.

    The tokenizers library learns the same but breaks ties at random. Here the first pair in alphabetical order is
    merged, so that a run can be repeated.

    Returns:
        At most `count` merges; fewer if no pair is left.
    """
    spelled = [([*word[:-1], word[-1] + WORD_END], times) for word, times in sorted(words.items())]
    pairs: Counter[tuple[str, str]] = Counter()
    occurrences: defaultdict[tuple[str, str], set[int]] = defaultdict(set)  # of each pair, indices into `spelled`
    for index, (pieces, times) in enumerate(spelled):
        for pair in pairwise(pieces):
            pairs[pair] += times
            occurrences[pair].add(index)
    merges: list[tuple[str, str]] = []
    known: set[str] = set()
    while len(merges) < count and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if "".join(best) not in known:  # a piece can result from two pairs but is one entry of the vocabulary
            merges.append(best)
            known.add("".join(best))
        for index in sorted(occurrences.pop(best)):
            pieces, times = spelled[index]
            for pair in pairwise(pieces):
                pairs[pair] -= times
            merged = _merge(pieces, best)
            spelled[index] = merged, times
            for pair in pairwise(merged):
                pairs[pair] += times
                occurrences[pair].add(index)
        pairs = +pairs  # drops pairs with no occurrence left
    return merges


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
