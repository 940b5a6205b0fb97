"""The options of the server: each is a flag, an environment variable and a key of the config file."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from medimageinsight.errors import ConfigError, InputError
from medimageinsight.files.safe_url import is_safe_url
from medimageinsight.images import Limits
from medimageinsight.preprocess import Steps  # noqa: TC001
from medimageinsight.serve.scoring_params import ResponseShape  # noqa: TC001
from medimageinsight.serve.scoring_request import RequestLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
Words = Annotated[tuple[str, ...], NoDecode]
_ENDPOINT = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[\w./~-]*)?", re.ASCII)
_HOST = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?(:[0-9]+)?|\[?[0-9a-f:.]+\]?", re.ASCII)


class ServerSettings(BaseSettings):
    """Options of ``mi2 serve``: ``--max-rows 64``, ``MI2_MAX_ROWS=64``, or ``max_rows = 64`` in the config file.

    A flag takes precedence over the environment, the environment over the file. A list is repeated or joined by commas.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="MI2_",
        env_prefix_target="all",  # of aliases too
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        cli_kebab_case=True,
        cli_prog_name="mi2 serve",
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
    )

    config: Path | None = Field(None, description="A TOML file with these options.")

    host: str = Field("127.0.0.1", description="Address to listen on; by default, for this machine only.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    unix_socket: Path | None = Field(
        None,
        validation_alias=AliasChoices("unix_socket", "uds"),
        description="Path of a UNIX socket to listen on, instead of host and port.",
    )
    grpc_port: int | None = Field(
        None, ge=1, le=65535, description="Port for the Open Inference Protocol over gRPC (extra 'grpc'); default: off."
    )
    root_path: str = Field("", description="Path under which a proxy offers the server.")
    workers: int = Field(1, ge=1, le=64, description="Processes, each with its own copy of the model.")

    model: Words = Field((), description="Names or bundle folders; the first is the default model.")
    threads: int | None = Field(None, ge=1, description="CPU threads of one call of the network.")
    providers: Words = Field((), description="Execution providers, such as cuda.")
    preprocessing: Steps | None = Field(None, description="For scoring, unless the request sets it.")
    response_shape: ResponseShape = Field("auto", description="For scoring, unless the request sets it.")

    labels: Words = Field(
        (), description="Labels of the response shape labels, or a file of them; default: those of the model."
    )

    store: Words = Field((), description="Stores to search, as NAME=LOCATION, or a location whose last part names it.")
    tagger: Words = Field((), description="Files of `mi2 tag fit`; a tagger's name is its file's without the ending.")
    image_folders: Words = Field(
        (),
        validation_alias=AliasChoices("image_folders", "pictures"),  # the second is the name before 0.2
        description="Folders from which stored images may be shown.",
    )

    api_key_file: Path | None = Field(None, description="File with one key per line; read again when it changes.")
    login_issuer: str | None = Field(None, description="Issuer of logins (OpenID Connect), as their claim iss.")
    login_audience: str | None = Field(None, description="This server's name in logins, as their claim aud.")
    login_jwks: str | None = Field(None, description="Public keys of the issuer: a file, or an https URL.")
    login_algorithms: Words = Field(
        ("RS256", "ES256", "EdDSA"), description="Signatures of logins; none that is symmetric."
    )
    login_leeway_s: float = Field(60.0, ge=0, le=600, description="Accepted difference of clocks, in seconds.")
    login_scope: str | None = Field(None, description="Scope that a login must have.")
    login_claims: Words = Field((), description="Claims that a login must have, such as roles=radiology.")
    login_subjects: Literal["hash", "plain"] = Field("hash", description="How the log names users.")
    login_requests_per_minute: int | None = Field(None, ge=1, description="Limit of each user.")
    login_images_per_minute: int | None = Field(None, ge=1, description="Limit of each user.")
    tls_cert: Path | None = Field(None, description="Certificate chain, PEM.")
    tls_key: Path | None = Field(None, description="Private key of the certificate, PEM.")
    allowed_hosts: Words = Field(
        (), description="Names by which the server without keys may be called, such as mi2.example.org; * for all."
    )
    cors_origins: Words = Field((), description="Origins whose pages may call the server, such as https://a.example.")
    url_hosts: Words = Field((), description="Hosts from which image cells may be fetched; none by default.")
    dicomweb: str | None = Field(
        None, description="Root of a DICOMweb server whose instances may be image cells, also at a private address."
    )
    dicomweb_token_file: Path | None = Field(None, description="A file with the token of the DICOMweb server.")

    max_body_bytes: int = Field(100 << 20, ge=1, description="Maximum size of one request.")
    max_rows: int = Field(1024, ge=1, description="Maximum number of rows of one request.")
    max_pixels: int = Field(Limits().max_pixels, ge=1, description="Maximum width times height of one image.")
    max_decoded_bytes: int = Field(
        Limits().max_decoded_bytes, ge=1, description="Maximum bytes that the decoders of a process need at once."
    )
    accept_maps: bool = Field(False, description="Accept segmentations, dose grids and parametric maps as images.")
    header_timeout_s: float = Field(10.0, gt=0, description="Time for a request's head or a TLS handshake, in seconds.")
    body_timeout_s: float = Field(30.0, gt=0, description="Longest pause while a body arrives, in seconds.")
    write_timeout_s: float = Field(30.0, gt=0, description="Time to read 64 KiB of a response, in seconds.")
    keep_alive: float = Field(75.0, gt=0, description="Time that an idle connection is open, in seconds.")
    max_connections: int = Field(1000, ge=1, description="Open connections of a process; others get 503.")

    queue_rows: int = Field(2048, ge=1, description="Rows in progress, above which a request gets 429.")
    queue_bytes: int = Field(1 << 30, ge=1, description="Bytes of bodies in memory, above which a request gets 429.")
    queue_deadline_s: float = Field(60.0, gt=0, description="A request not started by then gets 429, in seconds.")
    batch_images: int = Field(8, ge=1, le=1024, description="Images that go through the network together.")
    text_cache: int = Field(10_000, ge=0, description="Embeddings of recent texts in memory.")

    drain_delay_s: float = Field(0.0, ge=0, description="From SIGTERM to the end of listening, in seconds.")
    drain_timeout_s: float = Field(60.0, gt=0, description="Time for requests to be answered after that, in seconds.")
    compress_min_bytes: int = Field(
        16384, ge=0, description="Size from which responses are compressed for clients that ask for it; 0: never."
    )

    access_log: bool = Field(True, description="Log one line per request.")
    otlp_endpoint: str | None = Field(
        None, description="URL of an OpenTelemetry collector (OTLP/HTTP) for traces, such as http://127.0.0.1:4318."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum level that is logged.")

    @field_validator(
        "model", "providers", "labels", "store", "tagger", "image_folders", "allowed_hosts", "cors_origins",
        "url_hosts", "login_algorithms", "login_claims", mode="before",
    )  # fmt: skip
    @classmethod
    def _split(cls, value: object) -> object:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list | tuple):
            return value
        return tuple(part.strip() for word in words for part in str(word).split(",") if part.strip())

    @field_validator("root_path")
    @classmethod
    def _normalize_root_path(cls, value: str) -> str:
        parts = [part for part in value.split("/") if part]
        if not re.fullmatch(r"[\w./~-]*", value, re.ASCII):
            raise ValueError("expected a path such as /mi2, got other characters")
        return "".join(f"/{part}" for part in parts)

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(host.lower() for host in value)
        if not all(map(_HOST.fullmatch, hosts)):
            raise ValueError("expected hosts such as mi2.example.org, got another form: leave out https:// and paths")
        return tuple(host.strip("[]").rstrip(".") for host in hosts)

    @field_validator("login_algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(_ALGORITHMS):
            raise ValueError(f"expected algorithms of {', '.join(_ALGORITHMS)}, got another one")
        return value

    @field_validator("login_claims")
    @classmethod
    def _check_claims(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name and required for name, _, required in (word.partition("=") for word in value)):
            raise ValueError("expected NAME=VALUE, got another form")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is None or _ENDPOINT.fullmatch(value):
            return value
        raise ValueError(
            "expected a URL such as http://127.0.0.1:4318, without a user name or a query, got another one"
        )

    @field_validator("login_jwks")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None or "://" not in value or is_safe_url(value):
            return value
        raise ValueError("expected a URL with https, or http of this machine, got another one")

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if len({value is None for value in (self.login_issuer, self.login_audience, self.login_jwks)}) > 1:
            raise ValueError("expected login_issuer, login_audience and login_jwks together, got only some of them")
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("expected both tls_cert and tls_key, got only one of them")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by precedence: the environment, then keyword arguments. Flags precede both."""
        return env_settings, init_settings

    @property
    def request_limits(self) -> RequestLimits:
        """The limits of one scoring request."""
        return RequestLimits(max_bytes=self.max_body_bytes, max_rows=self.max_rows)

    @property
    def needs_key(self) -> bool:
        """Whether requests need an API key or a login."""
        return self.api_key_file is not None or self.login_issuer is not None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.unix_socket is not None:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")


def load_settings(arguments: Sequence[str] = ()) -> ServerSettings:
    """Read the server's options from flags, environment and config file.

    Args:
        arguments: The words after ``mi2 serve``.

    Raises:
        InputError: An option is unknown or has an invalid value (``option_invalid``).
        ConfigError: The config file cannot be read.
        SystemExit: ``--help``.
    """
    words = list(arguments)
    try:
        first = ServerSettings(_cli_parse_args=words)  # type: ignore[call-arg]
        if first.config is None:
            return first
        return ServerSettings(_cli_parse_args=words, **_read_config(first.config))  # type: ignore[call-arg]
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in problem["loc"]) or "the options"
        raise InputError(f"{name}: {problem['msg']}", code="option_invalid") from None
    except SettingsError as error:
        message = str(error).removeprefix("error parsing CLI: ")
        raise InputError(f"{message}: see mi2 serve --help", code="option_invalid") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the config file cannot be read: {error.strerror}", code="config_not_found") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError("expected a config file in TOML, it cannot be parsed: write key = value lines") from None
    values.pop("config", None)
    return values
