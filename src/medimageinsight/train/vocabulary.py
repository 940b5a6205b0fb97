"""A byte-pair vocabulary of CLIP's form, made from a run's own texts."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError
from medimageinsight.export.tokenizer_file import WORD_END, clip_tokenizer
from medimageinsight.tokenizer import END_TOKEN, START_TOKEN, Tokenizer, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import tokenizers

    from medimageinsight.network.config import TextEncoderConfig
    from medimageinsight.train.config import TokenizerConfig


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
        tokenizer = train_tokenizer(texts, settings.vocab_size)
        if tokenizer.get_vocab_size() < settings.vocab_size:
            raise ConfigError(
                f"config.tokenizer.vocab_size: expected at most the {tokenizer.get_vocab_size()} tokens that the "
                f"captions and the corpus give, got {settings.vocab_size}: lower it here and in config.model.text",
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
        raise ConfigError("config.tokenizer.corpus: expected a CSV with a column text") from None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Learns merges from texts; any other text can still be written, byte by byte.

    The start and end tokens get the two highest ids, as the text encoder finds the end by the highest id.

    Args:
        texts: What captions and prompts look like.
        vocab_size: Entries in all, at least the 514 of the bytes and the two ends.
    """
    from tokenizers import pre_tokenizers

    splitter = clip_tokenizer({START_TOKEN: 0, END_TOKEN: 1}, []).pre_tokenizer
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(clean(text)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    units = alphabet + [unit + WORD_END for unit in alphabet]
    merges = learn_merges(words, vocab_size - len(units) - 2)
    pieces = [*units, *(left + right for left, right in merges), START_TOKEN, END_TOKEN]
    return clip_tokenizer({piece: index for index, piece in enumerate(pieces)}, merges)


def learn_merges(words: Mapping[str, int], count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding (arXiv 1508.07909): again and again, the most frequent pair of neighbours becomes one piece.

    The tokenizers library learns the same, but breaks ties by chance; a run must be repeatable. Here the pair that
    comes first in the alphabet wins.

    Args:
        words: How often each word occurs.
        count: How many merges at most; fewer where no pair is left.
    """
    spelled = [([*word[:-1], word[-1] + WORD_END], times) for word, times in sorted(words.items())]
    pairs: Counter[tuple[str, str]] = Counter()
    places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)  # of each pair, indices into `spelled`
    for index, (pieces, times) in enumerate(spelled):
        for pair in pairwise(pieces):
            pairs[pair] += times
            places[pair].add(index)
    merges: list[tuple[str, str]] = []
    known: set[str] = set()
    while len(merges) < count and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if "".join(best) not in known:  # two ways to the same piece: one entry in the vocabulary
            merges.append(best)
            known.add("".join(best))
        for index in sorted(places.pop(best)):
            pieces, times = spelled[index]
            for pair in pairwise(pieces):
                pairs[pair] -= times
            merged = _merge(pieces, best)
            spelled[index] = merged, times
            for pair in pairwise(merged):
                pairs[pair] += times
                places[pair].add(index)
        pairs = +pairs  # without those that are gone
    return merges


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
