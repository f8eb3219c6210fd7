"""A hub on loopback: the routes of the Hugging Face hub that a pull asks, with faults on demand.

Shapes as documented by the hub ("Hub API Endpoints": `GET /api/models/{repo_id}`, with
`blobs=true` for sizes and digests; `GET /{repo_id}/resolve/{revision}/{path}`) and as
`huggingface_hub` 2.4 reads them (`hf_api.ModelInfo`, `errors.hf_raise_for_status`). Files
come from a second origin, as they do
from the hub's CDN.
"""

import hashlib
import json
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

COMMIT = "1fec34a1fec34a1fec34a1fec34a1fec34a1fec3"
REPO = "acme/demo"


@dataclass
class Hub:
    """`files` by their path in the repository. A fault holds until it is taken back.

    `cut_after`: the connection of a file breaks there, `cuts` times. `stall_after`: silence from
    there on. `pace`: seconds to wait every 64 KiB. `sent`: what the CDN sends instead. `told`: what
    the hub says of every file instead.
    """

    files: dict[str, bytes]
    token: str | None = None
    gated: bool = False
    cut_after: int | None = None
    cuts: int = 1
    stall_after: int | None = None
    pace: float = 0.0
    sent: bytes | None = None
    etag: str = '"v1"'
    told: dict[str, Any] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    authorized: list[tuple[str, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        hub = self
        self.over = threading.Event()

        class Api(_Handler):
            @override
            def do_GET(self) -> None:
                hub.authorized.append(("api", self.headers["authorization"]))
                hub._api(self)

        class Cdn(_Handler):
            @override
            def do_GET(self) -> None:
                hub.authorized.append(("cdn", self.headers["authorization"]))
                hub._cdn(self)

        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Api, Cdn)]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    def close(self) -> None:
        self.over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _api(self, asked: "_Handler") -> None:
        path = asked.path.partition("?")[0]
        if self.token is not None and asked.headers["authorization"] != f"Bearer {self.token}":
            code = {"X-Error-Code": "GatedRepo" if self.gated else "RepoNotFound"}
            asked.answer(401, {"error": "Invalid username or password."}, code)
        elif path == f"/api/models/{REPO}":
            asked.answer(200, self._info(blobs="blobs=" in asked.path))
        elif found := re.fullmatch(rf"/{REPO}/resolve/{COMMIT}/(.+)", path):
            cdn = f"http://127.0.0.1:{self._servers[1].server_port}/{found[1]}?Signature=secret"
            asked.answer(302, {}, {"Location": cdn, "X-Repo-Commit": COMMIT})
        else:
            asked.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _info(self, *, blobs: bool) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = [{"rfilename": "README.md"}]
        for name, content in self.files.items():
            lfs = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 134,
                **self.told,
            }
            more = {"size": len(content), "blobId": "0" * 40, "lfs": lfs} if blobs else {}
            siblings.append({"rfilename": name, **more})
        return {"_id": "1", "id": REPO, "sha": COMMIT, "siblings": siblings, "tags": []}

    def _cdn(self, asked: "_Handler") -> None:
        self.ranges.append(asked.headers["range"])
        content = self.files[asked.path.partition("?")[0].lstrip("/")]
        content = content if self.sent is None else self.sent
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers["range"] or "")
        if wanted and asked.headers["if-range"] in (None, self.etag):
            start = int(wanted[1])
            asked.send_response(206)
            asked.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            asked.send_response(200)
        asked.send_header("Content-Length", str(len(content) - start))
        asked.send_header("ETag", self.etag)
        asked.end_headers()
        self._send(asked, content, start)

    def _send(self, asked: "_Handler", content: bytes, start: int) -> None:
        at = start
        while at < len(content):
            end = min(at + 65536, len(content))
            if self.cut_after is not None and end > self.cut_after >= at and self.cuts > 0:
                self.cuts -= 1
                asked.wfile.write(content[at : self.cut_after])
                asked.close_connection = True
                return
            if self.stall_after is not None and at >= self.stall_after:
                self.over.wait(30)
                return
            asked.wfile.write(content[at:end])
            at = end
            if self.pace:
                time.sleep(self.pace)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @override
    def handle(self) -> None:
        with suppress(ConnectionError):  # The puller went away, as some tests want it to.
            super().handle()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
