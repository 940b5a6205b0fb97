"""Random filters over hostile rows match in both stores as in a reference implementation in Python."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medimageinsight import search
from medimageinsight.search.filter_parser import parse_filter
from medimageinsight.search.filters import And, Compare, In, IsNull, Like, Not, Or
from tests.search.conftest import KINDS
from tests.search.sample_items import IDENTITY, item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.search.filters import Filter

TEXTS = [
    "",
    "a",
    "A",
    "b",
    "it's",
    "100%",
    "a_b",
    "axb",
    "back\\slash",
    "'; --",
    "é",
    "\U0001fa7b",
    "a\nb",
    "NULL",
    '"',
]
INTEGERS = [0, 1, -1, 40, 2**63 - 1, -(2**63 - 1)]
FLOATS = [0.0, 1.0, -0.5, 0.1, 1e300, 5e-324]
TYPES = {"text": "string", "other": "string", "whole": "integer", "real": "float", "flag": "boolean"}
ROWS = [
    {
        "text": [*TEXTS, None][number % 16],
        "other": [*TEXTS, None][(7 * number + 3) % 16],
        "whole": [*INTEGERS, None][number % 7],
        "real": [*FLOATS, None][(3 * number) % 7],
        "flag": [True, False, None][number % 3],
    }
    for number in range(48)
]
OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.fixture(scope="module", params=[*KINDS, "lancedb with indexes"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[search.Store]:
    if request.param == "postgresql":
        location = f"{request.getfixturevalue('postgres_url')}#filters"
    else:
        pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
        location = str(tmp_path_factory.mktemp("filters") / "store")
    with search.create_store(location, identity=IDENTITY) as store:
        store.add([item(number, **row) for number, row in enumerate(ROWS)])
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "lancedb with indexes":
                store.build_index()
                # Else rows that match a filter would be scanned without the index.
                patch.setattr("medimageinsight.search.lance_index.MAX_SCANNED_ROWS", -1)
            yield store


def matches(tree: Filter, row: dict) -> bool | None:  # noqa: PLR0911 - one return per kind
    """Return whether a row matches, None where it is neither true nor false (SQL's three values)."""
    match tree:
        case Not(part):
            inner = matches(part, row)
            return None if inner is None else not inner
        case And(parts):
            found = [matches(part, row) for part in parts]
            return False if False in found else None if None in found else True
        case Or(parts):
            found = [matches(part, row) for part in parts]
            return True if True in found else None if None in found else False
        case IsNull(column):
            return row[column] is None
    value = row[tree.column]
    if value is None:
        return None
    match tree:
        case Compare(_, sign, operand):
            return OPERATORS[sign](value, operand)
        case In(_, options):
            return value in options
        case Like(_, pattern):
            return re.fullmatch(as_regex(pattern), value, re.DOTALL) is not None


def as_regex(pattern: str) -> str:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


texts = st.sampled_from(TEXTS) | st.text(
    alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5
)
patterns = st.lists(st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "\\x", "a", "b", "'", "é", "0"]), max_size=5).map(
    "".join
)
VALUES = {
    "string": texts.map(quoted),
    "integer": (st.sampled_from(INTEGERS) | st.integers(-50, 50)).map(str),
    "float": (st.sampled_from(FLOATS) | st.floats(-2, 2)).map(repr),
    "boolean": st.sampled_from(["true", "FALSE"]),
}


@st.composite
def column_tests(draw):
    column = draw(st.sampled_from(sorted(TYPES)))
    kind = TYPES[column]
    shape = draw(st.sampled_from(["compare", "in", "null", "like" if kind == "string" else "compare"]))
    if shape == "null":
        return f"{column} is {draw(st.sampled_from(['', 'not ']))}null"
    if shape == "like":
        return f"{column} {draw(st.sampled_from(['', 'not ']))}like {quoted(draw(patterns))}"
    if shape == "in":
        return f"{column} in ({', '.join(draw(st.lists(VALUES[kind], min_size=1, max_size=4)))})"
    signs = ["=", "!=", "<>", "<", "<=", ">", ">="] if kind != "boolean" else ["=", "!="]
    return f"{column} {draw(st.sampled_from(signs))} {draw(VALUES[kind])}"


filters = st.recursive(
    column_tests(),
    lambda inner: st.one_of(
        inner.map(lambda expression: f"not ({expression})"),
        st.tuples(inner, inner).map(" and ".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} or {pair[1]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=filters)
def test_stores_match_the_reference(filled, text):
    tree = parse_filter(text, TYPES)
    expected = {str(number) for number, row in enumerate(ROWS) if matches(tree, row) is True}
    assert {item_id for ids, _ in filled.scan(where=text) for item_id in ids} == expected
    found = filled.search(item("query").embedding, k=100, where=text)
    assert {hit.id for hit in found} == expected


@pytest.mark.parametrize("text", ["whole > 0.5", "whole <= -0.5", "whole < 1e18", "real >= 1", "real in (0, 1)"])
def test_integers_and_floats_are_compared_by_value(filled, text):
    tree = parse_filter(text, TYPES)
    expected = sum(matches(tree, row) is True for row in ROWS)
    assert filled.count(where=text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "not (flag in (true) and flag in (false))",
        "not (text in ('a') and text in ('b'))",
        "not (whole = 1 and whole = 40)",
        "not (whole > 40 and whole < 1)",
        "not (real is null and real = 0.1)",
        "not not (flag = true or flag = false)",
    ],
)
def test_not_does_not_match_missing_values(filled, text):
    tree = parse_filter(text, TYPES)
    expected = {str(number) for number, row in enumerate(ROWS) if matches(tree, row) is True}
    assert {item_id for ids, _ in filled.scan(where=text) for item_id in ids} == expected


def test_accepts_the_largest_filters(filled):
    assert filled.count(where=" or ".join(["whole = 1"] * 100)) == filled.count(where="whole = 1")
    assert filled.count(where="(" * 16 + "whole = 1" + ")" * 16) == filled.count(where="whole = 1")
    assert filled.count(where="not " * 16 + "whole = 1") == filled.count(where="whole = 1")
    ids = ", ".join(f"'{number}'" for number in range(2000))
    assert filled.count(where=f"id in ({ids})") == len(ROWS)


def test_ids_and_paths_are_columns(filled):
    assert filled.count(where="id = '7'") == 1
    assert filled.count(where="path like 'images/1_.png'") == 10
