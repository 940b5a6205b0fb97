"""Each option as a flag, a variable and a line of a file, and which of them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydantic_settings", reason="the server needs the serve extra")

from medimageinsight.errors import ConfigError, InputError
from medimageinsight.serve.settings import ServerSettings, load_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"MI2_{name.upper()}", raising=False)


def test_loopback_and_no_extras_unless_told_otherwise() -> None:
    settings = load_settings()
    assert settings.is_local
    assert (settings.cors_origins, settings.url_hosts, settings.api_key_file) == ((), (), None)
    assert (settings.max_body_bytes, settings.max_rows) == (100 << 20, 1024)


def test_a_flag_outranks_a_variable_and_that_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('max_rows = 1\nport = 1\nhost = "::1"\nurl_hosts = ["a", "b"]\n')
    monkeypatch.setenv("MI2_MAX_ROWS", "2")
    monkeypatch.setenv("MI2_PORT", "2")
    settings = load_settings(["--config", str(file), "--port", "3"])
    assert (settings.host, settings.max_rows, settings.port, settings.url_hosts) == ("::1", 2, 3, ("a", "b"))


def test_the_file_may_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("max_rows = 5\n")
    monkeypatch.setenv("MI2_CONFIG", str(file))
    assert load_settings().max_rows == 5


def test_lists_are_repeated_or_joined_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(["--model", "a,b", "--model", "c"]).model == ("a", "b", "c")
    monkeypatch.setenv("MI2_MODEL", "a, b")
    assert load_settings().model == ("a", "b")


@pytest.mark.parametrize("name", sorted(ServerSettings.model_fields))
def test_every_option_has_a_flag_and_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_settings(["--help"])
    assert caught.value.code == 0
    assert f"--{name.replace('_', '-')}" in capsys.readouterr().out
    assert ServerSettings.model_fields[name].description


@pytest.mark.parametrize(
    "words", [["--port", "x"], ["--port", "70000"], ["--max-rows", "0"], ["--tls-cert", "a"], ["--log-level", "loud"]]
)
def test_a_value_that_cannot_be_is_named(words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(words)
    assert caught.value.code == "option_invalid"
    assert words[0].removeprefix("--").replace("-", "_").split("_")[0] in caught.value.message


def test_a_flag_that_is_none_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_settings(["--prot", "1"])
    assert caught.value.code == 2
    assert "--prot" in capsys.readouterr().err


def test_a_bad_config_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(["--config", str(file)])
    file.write_text("max_rows 1")
    with pytest.raises(ConfigError, match="TOML"):
        load_settings(["--config", str(file)])
    file.write_text("max_rowz = 1")
    with pytest.raises(InputError, match="max_rowz"):
        load_settings(["--config", str(file)])


def test_the_documentation_names_every_option_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8").split("## Options")[1].split("## ")[0]
    named = {name for row in text.splitlines() if row.startswith("| `") for name in row.split("|")[1].split("`")[1::2]}
    assert named == set(ServerSettings.model_fields)
