"""Tokens of the provider are accepted, forged and foreign ones refused, and a faulty provider stops nothing else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import logging
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

jwt = pytest.importorskip("jwt", reason="logins need the login extra")
httpx = pytest.importorskip("httpx", reason="the application is called in this process")
pytest.importorskip("cryptography", reason="logins need the login extra")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from medimageinsight.errors import ConfigError
from medimageinsight.serve.app import create_app
from medimageinsight.serve.jwks import MAX_AGE_S, UNKNOWN_KEY_REFRESH_S, JwksKeys
from medimageinsight.serve.logs import JsonFormatter
from medimageinsight.serve.settings import ServerSettings
from medimageinsight.serve.timed_fetch import fetch_within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

ISSUER, AUDIENCE, SUBJECT = "https://login.example", "mi2", "jane.doe@clinic.example"
API_KEY = "key-of-a-program-0123456789"
YEAR_2100 = 4_102_444_800  # far from any clock
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": YEAR_2100}
KEYED = "/v2"

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
FOREIGN_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_KEYS = {"RS256": RSA_KEY, "ES256": EC_KEY}


def public_jwk(key: Any, key_id: str) -> dict[str, Any]:
    """Return the public half of a key in the form of RFC 7517."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id}


KEY_SET = json.dumps({"keys": [public_jwk(RSA_KEY, "RS256"), public_jwk(EC_KEY, "ES256")]})


def sign(claims: dict[str, Any] | None = None, *, algorithm: str = "RS256", key: Any = None, **headers: Any) -> str:
    """Return a token, by default a valid one; its key is named by its algorithm."""
    key = PRIVATE_KEYS[algorithm] if key is None else key
    return str(jwt.encode(claims or CLAIMS, key, algorithm, headers={"kid": algorithm, **headers}))


def without(name: str) -> dict[str, Any]:
    return {claim: value for claim, value in CLAIMS.items() if claim != name}


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign_with_public_key(encoding: serialization.Encoding) -> str:
    """Return a token of a symmetric algorithm, whose secret is the public key."""
    secret = RSA_KEY.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = encode(b'{"alg":"HS256","typ":"JWT","kid":"RS256"}') + "." + encode(json.dumps(CLAIMS).encode())
    return head + "." + encode(hmac.digest(secret, head.encode(), hashlib.sha256))


def send(app: ASGIApp, path: str = KEYED, **headers: str) -> Any:
    """Return the response to a GET request."""

    async def get() -> Any:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(get())


def bearer(app: ASGIApp, token: str) -> Any:
    return send(app, Authorization=f"Bearer {token}")


def error_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def key_set_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(KEY_SET)
    return path


@pytest.fixture
def api_key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{API_KEY} name=program\n")
    path.chmod(0o600)
    return path


def make_app(key_set: Path | str, **options: Any) -> ASGIApp:
    return create_app(ServerSettings(login_issuer=ISSUER, login_audience=AUDIENCE, login_jwks=str(key_set), **options))


@pytest.fixture
def app(key_set_file: Path, api_key_file: Path) -> ASGIApp:
    return make_app(key_set_file, api_key_file=api_key_file)


class Provider(http.server.ThreadingHTTPServer):
    """A provider of keys on this machine; the path of a request decides how it is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ProviderHandler)
        self.paths: list[str] = []
        self.stopped = threading.Event()
        self.ended = threading.Event()  # a client has ended its connection

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class ProviderHandler(http.server.BaseHTTPRequestHandler):
    """Answers requests of a `Provider`."""

    server: Provider

    def log_message(self, *_: object) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        try:
            self.answer()
        except OSError:  # the client has gone, as it should
            self.server.ended.set()

    def answer(self) -> None:
        if self.path == "/stalled":
            self.server.stopped.wait(10)
            return
        if self.path.startswith("/dripping"):
            self.drip()
            return
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/keys")
            self.end_headers()
            return
        self.send_response(500 if self.path == "/failing" else 200)
        self.end_headers()
        if self.path == "/huge":  # a valid key set after too many spaces
            self.wfile.write(b" " * (1 << 20))
        if self.path == "/slow":
            for _ in range(1000):
                self.wfile.write(b" ")
                if self.server.stopped.wait(0.01):
                    return
        self.wfile.write(b"<html>" if self.path == "/text" else KEY_SET.encode())

    def drip(self) -> None:
        """Send bytes of the status line, of a header or of the body, each in time for a limit of a read."""
        head = b"HTTP/1.1 " if self.path == "/dripping-status" else b"HTTP/1.1 200 OK\r\nX: "
        self.wfile.write(head if self.path != "/dripping-body" else b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.server.stopped.wait(0.01):
            self.wfile.write(b" ")
        self.wfile.write(b"\r\n\r\n" + KEY_SET.encode())


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_accepts_valid_tokens(app: ASGIApp, algorithm: str) -> None:
    assert bearer(app, sign(algorithm=algorithm)).status_code == 200


def test_accepts_lists_of_audiences_and_claims_it_does_not_read(app: ASGIApp) -> None:
    assert bearer(app, sign({**CLAIMS, "aud": ["another", AUDIENCE], "nbf": 1, "iat": 1, "x": {}})).status_code == 200


def test_api_keys_are_accepted_with_logins(app: ASGIApp) -> None:
    assert bearer(app, API_KEY).status_code == 200
    assert send(app, **{"X-API-Key": API_KEY}).status_code == 200
    assert error_of(bearer(app, API_KEY[:-1])) == (401, "key_invalid")


def test_without_api_keys_only_logins_are_accepted(key_set_file: Path) -> None:
    app = make_app(key_set_file)
    assert bearer(app, sign()).status_code == 200
    assert error_of(bearer(app, API_KEY)) == (401, "key_invalid")
    assert error_of(send(app)) == (401, "key_invalid")
    assert error_of(send(app, **{"X-API-Key": sign()})) == (401, "key_invalid")


REFUSED = {
    "alg none": jwt.encode(CLAIMS, None, "none", headers={"kid": "RS256"}),
    "alg none, signature of another": jwt.encode(CLAIMS, None, "none", headers={"kid": "RS256"})
    + sign().rpartition(".")[2],
    "HS256 with the public key, PEM": sign_with_public_key(serialization.Encoding.PEM),
    "HS256 with the public key, DER": sign_with_public_key(serialization.Encoding.DER),
    "foreign key": sign(key=FOREIGN_KEY),
    "foreign key in the header": sign(key=FOREIGN_KEY, jwk=public_jwk(FOREIGN_KEY, "RS256")),
    "algorithm that is not allowed": sign(algorithm="RS512", key=RSA_KEY, kid="RS256"),
    "key of another algorithm": sign(kid="ES256"),
    "unknown kid": sign(kid="../../etc/passwd"),
    "long kid": sign(kid="k" * 257),
    "wrong iss": sign({**CLAIMS, "iss": ISSUER + "/"}),
    "no iss": sign(without("iss")),
    "wrong aud": sign({**CLAIMS, "aud": "another"}),
    "no aud": sign(without("aud")),
    "expired": sign({**CLAIMS, "exp": 1}),
    "no exp": sign(without("exp")),
    "exp of text": sign({**CLAIMS, "exp": "never"}),
    "infinite exp": sign({**CLAIMS, "exp": float("inf")}),
    "future nbf": sign({**CLAIMS, "nbf": YEAR_2100 - 1}),
    "no sub": sign(without("sub")),
    "empty sub": sign({**CLAIMS, "sub": ""}),
    "40 kB": sign({**CLAIMS, "x": "y" * 30_000}),
    "changed claims": sign().split(".")[0] + "." + encode(b"{}") + "." + sign().split(".")[2],
    "no signature": sign().rpartition(".")[0] + ".",
    "deep header": encode(b"[" * 9000) + ".e30.e30",
    "text": "a.b.c",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_refuses_other_tokens(app: ASGIApp, token: str) -> None:
    response = bearer(app, token)
    assert error_of(response) == (401, "key_invalid")
    assert response.headers["www-authenticate"] == "Bearer"
    assert bearer(app, sign()).status_code == 200


def test_the_long_token_is_long() -> None:
    assert len(REFUSED["40 kB"]) > 40_000


@pytest.mark.parametrize("header", ["jku", "x5u"])
def test_addresses_in_tokens_are_not_requested(app: ASGIApp, provider: Provider, header: str) -> None:
    headers: dict[str, Any] = {"kid": "another", header: provider.url("/keys")}
    token = sign(key=FOREIGN_KEY, **headers)
    assert error_of(bearer(app, token)) == (401, "key_invalid")
    assert provider.paths == []


def test_the_scope_is_required(key_set_file: Path) -> None:
    app = make_app(key_set_file, login_scope="embed")
    for claims in ({}, {"scope": "embedding"}, {"scope": ""}, {"scp": ["read"]}, {"scope": {"embed": 1}}):
        assert error_of(bearer(app, sign({**CLAIMS, **claims}))) == (403, "login_forbidden")
    for granted in ({"scope": "read embed"}, {"scp": ["embed"]}, {"scp": "embed"}):
        assert bearer(app, sign({**CLAIMS, **granted})).status_code == 200


def test_claims_are_required(key_set_file: Path) -> None:
    app = make_app(key_set_file, login_claims="roles=radiology,realm.group=clinic")
    radiology = {"roles": ["x", "radiology"]}
    for claims in ({}, radiology, {"realm": {"group": "clinic"}}, {**radiology, "realm": "group"}):
        assert error_of(bearer(app, sign({**CLAIMS, **claims}))) == (403, "login_forbidden")
    assert bearer(app, sign({**CLAIMS, **radiology, "realm": {"group": "clinic"}})).status_code == 200


def test_an_invalid_token_without_the_scope_gets_401(key_set_file: Path) -> None:
    assert error_of(bearer(make_app(key_set_file, login_scope="embed"), sign(key=FOREIGN_KEY))) == (401, "key_invalid")


def test_health_is_open(app: ASGIApp) -> None:
    for path in ("/health/live", "/v2/health/live", "/ping"):
        assert send(app, path).status_code == 200
        assert send(app, path, Authorization=f"Bearer {REFUSED['expired']}").status_code == 200
    assert send(app, "/health/ready").status_code == 503  # no model is loaded here


def test_keys_of_a_url_are_read_once(provider: Provider) -> None:
    app = make_app(provider.url("/keys"))
    assert provider.paths == []
    assert [bearer(app, sign(algorithm=algorithm)).status_code for algorithm in ("RS256", "ES256")] == [200, 200]
    assert bearer(app, sign(kid="unknown")).status_code == 401
    assert provider.paths == ["/keys"]


DRIPPING = ("/dripping-status", "/dripping-head", "/dripping-body")


@pytest.mark.parametrize("path", ["/redirect", "/huge", "/stalled", "/slow", "/failing", "/text", *DRIPPING])
def test_a_faulty_provider_makes_logins_unavailable(
    monkeypatch: pytest.MonkeyPatch, provider: Provider, api_key_file: Path, path: str
) -> None:
    seconds = 0.1 if path in ("/stalled", "/slow", *DRIPPING) else 5.0
    for module in ("jwks", "login"):
        monkeypatch.setattr(f"medimageinsight.serve.{module}.FETCH_TIMEOUT_S", seconds)
    app = make_app(provider.url(path), api_key_file=api_key_file)
    for _ in range(2):
        response = bearer(app, sign())
        assert error_of(response) == (503, "login_unavailable")
        assert int(response.headers["retry-after"]) > 0
    # Neither the target of the redirect, nor again for the second token; a busy machine may accept it too late.
    assert provider.paths in ([path], [])
    assert bearer(app, API_KEY).status_code == 200
    assert send(app, "/health/live").status_code == 200


@pytest.mark.parametrize("path", DRIPPING)
def test_a_server_that_sends_a_byte_at_a_time_is_left_at_the_deadline(provider: Provider, path: str) -> None:
    with pytest.raises(TimeoutError):
        fetch_within(provider.url(path), seconds=1, max_bytes=1000)
    assert provider.ended.wait(10), "the connection was ended, so that no thread remains"


def test_a_name_that_is_never_resolved_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: resolved.wait(10) and [])
    with pytest.raises(TimeoutError):
        fetch_within("http://login.example/keys", seconds=0.05, max_bytes=1000)
    resolved.set()


def test_keys_are_fetched_over_tls(
    provider: Provider, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    provider.socket = context.wrap_socket(provider.socket, server_side=True)
    url = provider.url("/keys").replace("http://127.0.0.1", "https://localhost")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_within(url, seconds=10, max_bytes=1 << 20)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert fetch_within(url, seconds=10, max_bytes=1 << 20) == KEY_SET.encode()


def test_keys_are_fetched_through_a_proxy(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", provider.url(""))
    content = fetch_within("http://login.example/keys", seconds=10, max_bytes=1 << 20)
    assert content == KEY_SET.encode()
    assert provider.paths == ["http://login.example/keys"]


def test_a_provider_that_cannot_be_reached(provider: Provider) -> None:
    address = provider.url("/keys")
    provider.server_close()
    assert error_of(bearer(make_app(address), sign())) == (503, "login_unavailable")


def test_known_keys_remain_for_a_day_without_the_provider(provider: Provider) -> None:
    now = 0.0
    keys = JwksKeys(provider.url("/keys"), ("RS256",), clock=lambda: now)
    keys.refresh()
    provider.server_close()
    keys.expire()
    keys.refresh()
    now = MAX_AGE_S - 1
    assert keys.find("RS256", "RS256") is not None
    now = MAX_AGE_S
    assert keys.find("RS256", "RS256") is None


def test_unknown_keys_cause_a_request_a_minute(provider: Provider) -> None:
    now = 0.0
    keys = JwksKeys(provider.url("/keys"), ("RS256",), clock=lambda: now)
    for seconds in (0.0, 1.0, UNKNOWN_KEY_REFRESH_S - 1, UNKNOWN_KEY_REFRESH_S):
        now = seconds
        if keys.needs_refresh(unknown_key=True):
            keys.refresh()
    assert len(provider.paths) == 2


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"keys": 1}', " " * ((1 << 20) + 1)])
def test_a_file_that_is_no_key_set_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "secret-name.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as refused:
        make_app(path)
    assert refused.value.code == "login_unusable"
    assert "secret-name" not in refused.value.message


def test_symmetric_private_and_weak_keys_of_a_set_are_left_out(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    secret = {"kty": "oct", "k": encode(b"s" * 32), "kid": "secret", "alg": "HS256"}
    private = {**jwt.algorithms.RSAAlgorithm.to_jwk(FOREIGN_KEY, as_dict=True), "kid": "private"}
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [secret, private, public_jwk(weak, "weak"), 7, public_jwk(RSA_KEY, "RS256")]}))
    keys = JwksKeys(str(path), ("RS256", "ES256"))
    keys.read()
    assert keys.find("RS256", "RS256") is not None
    assert [keys.find(name, "RS256") for name in ("secret", "private", "weak")] == [None] * 3


@pytest.mark.parametrize("algorithms", ["HS256", "none", "RS256,HS512", ""])
def test_symmetric_algorithms_cannot_be_allowed(key_set_file: Path, algorithms: str) -> None:
    with pytest.raises(ValueError, match="expected algorithms"):
        make_app(key_set_file, login_algorithms=algorithms)


@pytest.mark.parametrize("url", ["http://login.example/keys", "file:///etc/passwd", "https://user:word@login.example/"])
def test_keys_are_read_over_safe_urls_alone(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL with https"):
        make_app(url)


def test_the_log_has_neither_tokens_nor_subjects(
    provider: Provider, key_set_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = [sign(), sign({**CLAIMS, "exp": 1}), sign(key=FOREIGN_KEY)]
    for app in (
        make_app(key_set_file),
        make_app(key_set_file, login_scope="embed"),
        make_app(provider.url("/text")),
    ):
        for token in tokens:
            bearer(app, token)
    formatter = JsonFormatter()
    log = "\n".join(formatter.format(record) for record in caplog.records)
    everything = log + "".join(str(vars(record)) for record in caplog.records)
    for secret in (SUBJECT, "jane", *(part for token in tokens for part in token.split("."))):
        assert secret not in everything
    callers = [record.caller for record in caplog.records if hasattr(record, "caller")]
    digest = hashlib.sha256(f"{ISSUER}\0{SUBJECT}".encode()).hexdigest()[:16]
    assert callers == [f"login:{digest}"]
    assert [vars(record)["status"] for record in caplog.records if record.name == "medimageinsight.access"] == [
        200, 401, 401, 403, 401, 401, 503, 503, 503,
    ]  # fmt: skip


def test_the_log_names_users_where_the_operator_wants_it(key_set_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bearer(make_app(key_set_file, login_subjects="plain"), sign({**CLAIMS, "sub": "jane\ndoe"}))
    assert [record.caller for record in caplog.records if hasattr(record, "caller")] == ["login:jane?doe"]
