"""Each option as a flag, a variable and a key of the config file, and their precedence."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydantic_settings", reason="the server needs the serve extra")

from medimageinsight.errors import ConfigError, InputError
from medimageinsight.serve.settings import ServerSettings, load_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*ServerSettings.model_fields, "pictures"]:
        monkeypatch.delenv(f"MI2_{name.upper()}", raising=False)


def test_defaults_are_local_and_without_extras() -> None:
    settings = load_settings()
    assert settings.is_local
    assert (settings.cors_origins, settings.url_hosts, settings.api_key_file) == ((), (), None)
    assert (settings.max_body_bytes, settings.max_rows) == (100 << 20, 1024)


def test_flags_precede_variables_and_variables_precede_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('max_rows = 1\nport = 1\nhost = "::1"\nurl_hosts = ["a", "b"]\n')
    monkeypatch.setenv("MI2_MAX_ROWS", "2")
    monkeypatch.setenv("MI2_PORT", "2")
    settings = load_settings(["--config", str(file), "--port", "3"])
    assert (settings.host, settings.max_rows, settings.port, settings.url_hosts) == ("::1", 2, 3, ("a", "b"))


def test_a_variable_names_the_config_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("max_rows = 5\n")
    monkeypatch.setenv("MI2_CONFIG", str(file))
    assert load_settings().max_rows == 5


def test_lists_are_repeated_or_joined_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(["--model", "a,b", "--model", "c"]).model == ("a", "b", "c")
    monkeypatch.setenv("MI2_MODEL", "a, b")
    assert load_settings().model == ("a", "b")


@pytest.mark.parametrize("name", ["image_folders", "pictures"])
def test_image_folders_are_set_under_the_current_and_the_old_name(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_settings([f"--{name.replace('_', '-')}", "a", f"--{name.replace('_', '-')}", "b"]).image_folders == (
        "a",
        "b",
    )
    file = tmp_path / "server.toml"
    file.write_text(f'{name} = ["c", "d"]\n')
    assert load_settings(["--config", str(file)]).image_folders == ("c", "d")
    monkeypatch.setenv(f"MI2_{name.upper()}", "e,f")
    settings = load_settings(["--config", str(file)])
    assert settings.image_folders == ("e", "f"), "a variable precedes the file"
    assert ServerSettings.model_validate_json(settings.model_dump_json()) == settings, "as worker processes read them"


@pytest.mark.parametrize("name", sorted(ServerSettings.model_fields))
def test_every_option_has_a_flag_and_a_description(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_settings(["--help"])
    assert caught.value.code == 0
    assert f"--{name.replace('_', '-')}" in capsys.readouterr().out
    assert ServerSettings.model_fields[name].description


@pytest.mark.parametrize(
    "words", [["--port", "x"], ["--port", "70000"], ["--max-rows", "0"], ["--tls-cert", "a"], ["--log-level", "loud"]]
)
def test_an_invalid_value_is_named(words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(words)
    assert caught.value.code == "option_invalid"
    assert words[0].removeprefix("--").replace("-", "_").split("_")[0] in caught.value.message


def test_rejects_an_unknown_flag() -> None:
    with pytest.raises(InputError, match="--prot 1: see mi2 serve --help"):
        load_settings(["--prot", "1"])


def test_rejects_invalid_config_files(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(["--config", str(file)])
    file.write_text("max_rows 1")
    with pytest.raises(ConfigError, match="TOML"):
        load_settings(["--config", str(file)])
    file.write_text("max_rowz = 1")
    with pytest.raises(InputError, match="max_rowz"):
        load_settings(["--config", str(file)])


def test_the_documentation_lists_exactly_the_options() -> None:
    text = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8").split("## Options")[1].split("## ")[0]
    documented = {
        name for row in text.splitlines() if row.startswith("| `") for name in row.split("|")[1].split("`")[1::2]
    }
    assert documented == set(ServerSettings.model_fields)
