"""A hub of models on this machine: model info, resolve with redirects, and a second server for large files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LFS_BYTES = 100_000  # files from this size on are in the second server, with SHA-256 as their ETag


class Hub:
    """The content of one repository, and how the servers behave.

    Attributes:
        files: Path in the repository to content.
        token: The token that requests need; None needs none.
        failure: Status and ``X-Error-Code`` of every response of the API, if set.
        cut_after: Bytes of a large file after which the connection ends; the next ones end at once. None sends all.
        corrupt: Large files are sent with other content of the same size.
        requests: Server (``hub`` or ``cdn``), method, path, and headers of each request.
    """

    def __init__(self, repository: str, folder: Path, name: str) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.repository = repository
        self.files = {f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}
        self.commit = "1f" * 20
        self.token: str | None = None
        self.failure: tuple[int, str] | None = None
        self.cut_after: int | None = None
        self.corrupt = False
        self.requests: list[tuple[str, str, str, dict[str, str]]] = []
        self.url = self.cdn_url = ""

    def downloads(self) -> list[str]:
        """Return the paths of the files that were requested from either server."""
        return [path for _, method, path, _ in self.requests if method == "GET" and not path.startswith("/api/models")]

    def info(self) -> dict[str, object]:
        siblings = []
        for path, content in self.files.items():
            sibling = {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
            if len(content) >= LFS_BYTES:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": self.repository, "sha": self.commit, "siblings": siblings, "private": False, "tags": []}


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def running_hub(hub: Hub) -> Iterator[Hub]:
    """Run both servers of a hub; their URLs are set."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler(hub, kind)) for kind in ("hub", "cdn")]
    hub.url, hub.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def handler(hub: Hub, kind: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            hub.requests.append((kind, self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            path = unquote(urlsplit(self.path).path)
            if kind == "cdn":
                self.send_large(path.removeprefix("/"))
            elif hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.answer(401, {"X-Error-Message": "Invalid username or password."})
            elif hub.failure is not None:
                status, code = hub.failure
                self.answer(status, {"X-Error-Code": code} if code else {})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
                self.send_info(*match.groups())
            elif match := re.fullmatch(rf"/{hub.repository}/resolve/{hub.commit}/(.+)", path):
                self.resolve(match[1])
            elif match := re.fullmatch(rf"/api/resolve-cache/models/{hub.repository}/{hub.commit}/(.+)", path):
                self.send_content(hub.files[match[1]], {"ETag": f'"{git_sha1(hub.files[match[1]])}"'})
            else:
                self.answer(404, {"X-Error-Code": "EntryNotFound"})

        def send_info(self, repository: str, revision: str) -> None:
            if repository != hub.repository:
                self.answer(404, {"X-Error-Code": "RepoNotFound"})
            elif revision not in ("main", hub.commit):
                self.answer(404, {"X-Error-Code": "RevisionNotFound"})
            else:
                self.answer(200, {"Content-Type": "application/json"}, json.dumps(hub.info()).encode())

        def resolve(self, path: str) -> None:
            content = hub.files[path]
            if len(content) < LFS_BYTES:
                location = f"/api/resolve-cache/models/{hub.repository}/{hub.commit}/{path}"
                self.answer(307, {"Location": location, "X-Repo-Commit": hub.commit})
                return
            sha256 = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": hub.commit}
            self.answer(302, {"Location": f"{hub.cdn_url}/{sha256}?signature=secret", **linked})

        def send_large(self, sha256: str) -> None:
            content = next(c for c in hub.files.values() if hashlib.sha256(c).hexdigest() == sha256)
            self.send_content(bytes(len(content)) if hub.corrupt else content, {"ETag": f'"{sha256}"'})

        def send_content(self, content: bytes, headers: dict[str, str]) -> None:
            start = 0
            if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                start = int(match[1])
                headers |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self.answer(206 if match else 200, {"Accept-Ranges": "bytes", **headers}, content[start:])

        def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if kind == "cdn" and hub.cut_after is not None and len(body) > hub.cut_after:
                self.wfile.write(body[: hub.cut_after])
                hub.cut_after = 0
                self.close_connection = True
                return
            self.wfile.write(body)

    return Handler
