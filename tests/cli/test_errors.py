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
def test_exit_code_is_1_for_failed_inputs_and_2_for_wrong_calls(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def raising(error: BaseException):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_unexpected_error_is_one_line_without_its_message(mi2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedImageInsight, "load", raising(ZeroDivisionError("a patient's name")))
    result = mi2("compare", "--text", "a", "--text", "b")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "ZeroDivisionError" in result.err
    assert "MI2_DEBUG=1" in result.err
    assert "patient" not in result.err


def test_mi2_debug_prints_the_traceback(mi2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedImageInsight, "load", raising(ZeroDivisionError()))
    monkeypatch.setenv("MI2_DEBUG", "1")
    result = mi2("compare", "--text", "a", "--text", "b")
    assert result.code == 1
    assert "Traceback" in result.err


def test_ctrl_c_ends_with_130(mi2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedImageInsight, "load", raising(KeyboardInterrupt()))
    result = mi2("compare", "--text", "a", "--text", "b")
    assert (result.code, result.err) == (130, "interrupted\n")


def test_unknown_model_is_a_wrong_call_as_text_and_as_json(mi2) -> None:
    result = mi2("embed", "--text", "x", "--model", "nosuch", "--json")
    assert result.code == 2
    assert result.err.startswith("error: nosuch: expected the name of an installed model, got 'nosuch'")
    assert result.json["source"] == "nosuch"
    assert result.json["error"]["code"] == "bundle_not_found"


def test_printed_names_contain_no_control_characters(mi2) -> None:
    result = mi2("embed", "/no\x1b[31m\nsuch")
    assert result.err.startswith(r"error: /no\x1b[31m\nsuch: expected")
    assert result.err.count("\n") == 1
