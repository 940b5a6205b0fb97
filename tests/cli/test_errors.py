from __future__ import annotations

import pytest

from medimageinsight.api import MedImageInsight
from medimageinsight.cli.errors import exit_code
from medimageinsight.errors import (
    BundleError,
    ConfigError,
    ImageError,
    InputError,
    ParityError,
    RequestError,
    TextError,
    missing_extra,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImageError("x"), 1),
        (TextError("x"), 1),
        (RequestError("x"), 1),
        (ParityError("x"), 1),
        (BundleError("x", code="bundle_checksum"), 1),
        (missing_extra("export", "x"), 1),
        (OSError(28, "No space left on device"), 1),
        (InputError("x", code="labels_empty"), 2),
        (BundleError("x", code="bundle_not_found"), 2),
        (ConfigError("x", code="precision_unknown"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failed_inputs_end_with_1_and_wrong_calls_with_2(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def raising(error: BaseException):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_an_unexpected_error_is_one_line_without_its_message(mi2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedImageInsight, "load", raising(ZeroDivisionError("a patient's name")))
    done = mi2("compare", "a", "b")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "ZeroDivisionError" in done.err
    assert "MI2_DEBUG=1" in done.err
    assert "patient" not in done.err


def test_mi2_debug_shows_the_traceback(mi2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedImageInsight, "load", raising(ZeroDivisionError()))
    monkeypatch.setenv("MI2_DEBUG", "1")
    done = mi2("compare", "a", "b")
    assert done.code == 1
    assert "Traceback" in done.err


def test_ctrl_c_ends_with_130(mi2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedImageInsight, "load", raising(KeyboardInterrupt()))
    done = mi2("compare", "a", "b")
    assert (done.code, done.err) == (130, "interrupted\n")


def test_an_unknown_model_is_a_wrong_call_in_words_and_in_json(mi2) -> None:
    done = mi2("embed", "--text", "x", "--model", "nosuch", "--json")
    assert done.code == 2
    assert done.err.startswith("error: nosuch: expected the name of an installed model, got 'nosuch'")
    assert done.json["source"] == "nosuch"
    assert done.json["error"]["code"] == "bundle_not_found"


def test_what_is_printed_cannot_command_the_terminal(mi2) -> None:
    done = mi2("embed", "/no\x1b[31m\nsuch")
    assert done.err.startswith(r"error: /no\x1b[31m\nsuch: expected")
    assert done.err.count("\n") == 1
