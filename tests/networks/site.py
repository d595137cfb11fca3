"""A server on this machine that does what the tests of fetching ask for: breaks off, stalls, refuses, lies."""

import hashlib
import random
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = random.Random(0).randbytes(700_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does with the next requests, and the requests that it has seen."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    shift: int = 0
    """Bytes by which a partial answer begins elsewhere than asked for."""
    cut: int | None = None
    """Close the connection after so many bytes."""
    stall: int | None = None
    """Say nothing more after so many bytes."""
    status: int = 200
    elsewhere: str = ""
    announce: bool = True
    slow: float = 0.0
    seen: list[str | None] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, asked = self.site, self.headers.get("Range")
        site.seen.append(asked)
        if site.status != 200 or (site.elsewhere and not site.elsewhere.endswith(self.path)):
            self.send_response(302 if site.elsewhere else site.status)
            self.send_header("Location", site.elsewhere)
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and site.ranges else 0
        if start >= len(site.content) > 0:
            self.send_response(416)
            self.end_headers()
            return
        start += site.shift if start else 0
        body = site.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        if site.announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        ends = [end for end in (site.cut, site.stall) if end is not None]
        for piece in pieces(body[: min(ends, default=len(body))]):
            self.wfile.write(piece)
            time.sleep(site.slow)
        if site.stall is not None:
            site.over.wait(10)

    def log_message(self, *args: Any) -> None:
        """Nothing: tests are quiet."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Nothing: that clients hang up is what is tested here."""


def pieces(body: bytes, size: int = 50_000) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]
