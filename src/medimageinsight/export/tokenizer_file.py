"""A ``tokenizer.json`` for the ``tokenizers`` library from the release's ``vocab.json`` and ``merges.txt``.

The original first repairs each text with ftfy. Such a file cannot express this; the reader of the file does it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from medimageinsight.errors import CheckpointError
from medimageinsight.network.weights_files import refuse_pointer
from medimageinsight.tokenizer import END_TOKEN, START_TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

WORD_END = "</w>"  # marks a token that ends its word

# CLIP's simple tokenizer: contractions, runs of letters, single digits, runs of other characters but space.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

# Of a vocabulary: each byte, alone and at the end of a word, and the start and end token. Each merge adds a token.
UNMERGED_TOKENS = 2 * 256 + 2

# Checksum of the release's vocabulary and merges as JSON, and token ids from its own tokenizer.
RELEASE_SHA256 = "966de42a6d70f2402c5d5fa632c20678dd72de2e4745975f107d28a6a296c9bd"
# fmt: off
RELEASE_IDS = {
    "": [],
    "x-ray chest anteroposterior Cardiomegaly": [343, 268, 3077, 10563, 514, 20727, 22881, 2498, 6211, 3693, 2001, 344],
    "it's the patient's LEFT lung; they've a 3.5cm mass": [
        585, 568, 518, 6262, 568, 1823, 16271, 282, 889, 1200, 320, 274, 269, 276, 3741, 4854,
    ],
    "T2-weighted FLAIR, TR/TE = 9000/120 ms; 5 mm": [
        339, 273, 268, 43179, 24938, 267, 6337, 270, 756, 284, 280,
        271, 271, 271, 270, 272, 273, 271, 988, 282, 276, 2848,
    ],
}
# fmt: on


def read_tokenizer(source: Path) -> Tokenizer:
    """Read the tokenizer of a checkpoint: a ``tokenizer.json``, or a folder with ``vocab.json`` and ``merges.txt``.

    Raises:
        CheckpointError: It cannot be read, or gives wrong ids (``checkpoint_tokenizer``), or a file of it is a Git LFS
            pointer (``checkpoint_is_pointer``).
    """
    from tokenizers import Tokenizer

    if source.is_dir():
        return _read_vocabulary(source)
    refuse_pointer(source)
    try:
        tokenizer = Tokenizer.from_file(str(source))
    except Exception as error:  # the library raises bare Exception
        raise _unusable("expected a tokenizer.json of the tokenizers library, got one that cannot be read") from error
    # The model determines the length of a text, the caller its padding.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_vocabulary(folder: Path) -> Tokenizer:
    """Read CLIP's byte-pair encoding from the release's two files."""
    for name in ("vocab.json", "merges.txt"):
        refuse_pointer(folder / name)
    try:
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        merges = [(left, right) for left, right in pairs]
        size = len(vocabulary)
        if len(merges) != size - UNMERGED_TOKENS:
            raise _unusable(
                f"expected {size - UNMERGED_TOKENS:,} merges for a vocabulary of {size:,} tokens, got {len(merges):,}: "
                "merges.txt or vocab.json is incomplete, download both again"
            )
        tokenizer = create_clip_tokenizer(vocabulary, merges)
    except CheckpointError:
        raise
    except Exception as error:  # OSError, ValueError, KeyError, and the library's bare Exception
        raise _unusable("expected CLIP's vocab.json and merges.txt, got files that cannot be read") from error
    content = json.dumps([vocabulary, merges], sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(content.encode()).hexdigest() == RELEASE_SHA256:
        for text, ids in RELEASE_IDS.items():
            if tokenizer.encode(text).ids != [vocabulary[START_TOKEN], *ids, vocabulary[END_TOKEN]]:
                raise _unusable(
                    "expected the token ids of the release, got different ones from the installed tokenizers: "
                    "upgrade it"
                )
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Check that a tokenizer fits a network with `vocab_size` token embeddings, the last for the end-of-text token.

    Raises:
        CheckpointError: It does not (``checkpoint_tokenizer``).
    """
    if tokenizer.get_vocab_size() != vocab_size:
        raise _unusable(f"expected {vocab_size:,} tokens, as the network has, got {tokenizer.get_vocab_size():,}")
    start, end = tokenizer.token_to_id(START_TOKEN), tokenizer.token_to_id(END_TOKEN)
    if start is None or end != vocab_size - 1:
        raise _unusable(f"expected {START_TOKEN}, and {END_TOKEN} as the last token, got the ids {start} and {end}")


def create_clip_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Create CLIP's tokenizer from a vocabulary, which contains the start and end token, and merges."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix=WORD_END, fuse_unk=False, unk_token=END_TOKEN)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START_TOKEN} $0 {END_TOKEN}",
        special_tokens=[(token, vocabulary[token]) for token in (START_TOKEN, END_TOKEN)],
    )
    tokenizer.add_special_tokens([START_TOKEN, END_TOKEN])
    return tokenizer


def _unusable(message: str) -> CheckpointError:
    return CheckpointError(f"tokenizer: {message}", code="checkpoint_tokenizer")
