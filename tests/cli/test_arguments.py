from __future__ import annotations

import pytest

from medimageinsight.cli.arguments import format_command, repeat_option


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("f --labels A B", "f --labels A --labels B"),
        ("f --labels A --labels B", "f --labels A --labels B"),
        ("f --labels A B --json --top 3", "f --labels A --labels B --json --top 3"),
        ("f --labels A --top 3 --labels B C", "f --labels A --top 3 --labels B --labels C"),
        ("- --labels A", "- --labels A"),
        ("--top 3 f g", "--top 3 f g"),
        ("f --labels", "f --labels"),
        ("f --labels --json", "f --labels --json"),
        ("f --labels=A B", "f --labels=A B"),
        ("--labels A -- f g", "--labels A -- f g"),
        ("", ""),
    ],
)
def test_repeat_option_takes_words_up_to_the_next_option(words: str, expected: str) -> None:
    assert repeat_option(words.split(), "--labels") == expected.split()


def test_format_command_omits_missing_values_repeats_lists_and_quotes() -> None:
    options = {"--out": None, "--group": ["age", "site a"], "--seed": 0, "--empty": []}
    assert format_command("evaluate", ["t.csv"], options) == "mi2 evaluate t.csv --group age --group 'site a' --seed 0"
