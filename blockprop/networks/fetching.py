"""Published files, each fetched once into a cache folder: the only part of blockprop that goes online.

Nothing is fetched unless `fetch` or `fetch_published` is called. What comes is written to a hidden partial file, which
gets its final name when its SHA-256 is right. A partial file that was left over is continued.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock

from blockprop.errors import FetchError, SettingError, suggestion
from blockprop.networks.published import PUBLISHED
from blockprop.saving.beside import hidden_stem
from blockprop.version import __version__

CHUNK = 2**18
LARGEST = 2**34
"""Bytes that are taken at most from a server that does not say how many there are."""
AGAIN = "call again to go on from there"

Progress = Callable[[int, int | None], None]
"""Told (bytes so far, bytes in all or None) whenever some have come."""


def fetch_published(name: str, cache: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
    """The path of a file of PUBLISHED, fetched if it is not in the cache. SettingError for an unknown name."""
    if name not in PUBLISHED:
        raise SettingError(f"nothing is published here as {name!r}{suggestion(name, PUBLISHED)}")
    file = PUBLISHED[name]
    return fetch(file.url, file.sha256, file.file, cache, progress, size=file.size)


def fetch(
    url: str,
    sha256: str,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    *,
    size: int | None = None,
    timeout: float = 30.0,
) -> Path:
    """The path of a published file in the cache; it is downloaded at the first call, or the rest of it.

    url: https alone (http from this machine itself).   sha256: of the whole file, 64 hexadecimal digits.
    name: of the file in the cache; by default the last part of the URL.
    cache: a folder; by default $BLOCKPROP_CACHE, or blockprop in $XDG_CACHE_HOME or in ~/.cache.
    size: in bytes, if known; not one byte more is taken.   timeout: seconds without any answer.
    A second process that asks for the same file waits for the first.
    Raises SettingError for arguments that cannot be meant, FetchError for all that goes wrong on the way.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name if name is None else name
    _check_arguments(url, sha256, name)
    path = (cache_folder() if cache is None else Path(cache)) / name
    download = _Download(url, sha256.lower(), size, path, timeout, progress or (lambda _done, _total: None))
    if download.is_there():
        return path
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(download.hidden("lock"))
        lock.acquire()
    try:
        if not download.is_there():
            download.run()
    finally:
        lock.release()
    return path


def cache_folder() -> Path:
    """$BLOCKPROP_CACHE, or blockprop in $XDG_CACHE_HOME or in ~/.cache."""
    if folder := os.environ.get("BLOCKPROP_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "blockprop"


def _check_arguments(url: str, sha256: str, name: str) -> None:
    if urlsplit(url).scheme != "https" and not _is_here(url):
        raise SettingError(f"expected an https address, got {url!r}")
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise SettingError(f"sha256 must be 64 hexadecimal digits, came {sha256!r}")
    if name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise SettingError(f"expected the name of a file, without folders, came {name!r}")


def _is_here(url: str) -> bool:
    """Whether the address is one of this very machine, where nobody can listen."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class _Download:
    """One file on its way to its path. The caller holds the lock."""

    url: str
    sha256: str
    size: int | None
    path: Path
    timeout: float
    progress: Progress

    def hidden(self, kind: str) -> Path:
        """A file beside the path that belongs to this content alone."""
        return self.path.with_name(f"{hidden_stem(self.path)}.{self.sha256[:12]}.{kind}")

    @property
    def partial(self) -> Path:
        return self.hidden("part")

    def is_there(self) -> bool:
        """Whether the file is in the cache already. FetchError if another one has its name."""
        if not self.path.exists():
            return False
        digest = _sha256(self.path)
        if digest != self.sha256:
            raise FetchError(
                f"{self.path} is there, but its SHA-256 is {digest}, expected {self.sha256}; "
                "move it away, or keep the new file under another name"
            )
        return True

    def run(self) -> None:
        continued = self._transfer()
        digest = _sha256(self.partial)
        if digest != self.sha256 and continued:  # what lay there may have been wrong
            self.partial.unlink()
            self._transfer()
            digest = _sha256(self.partial)
        if digest != self.sha256:
            count = self.partial.stat().st_size
            self.partial.unlink()
            raise FetchError(
                f"{self.url} gave {count:,} bytes with the SHA-256 {digest}, expected {self.sha256}; nothing of it was "
                "kept"
            )
        with _writing(self.path):
            os.replace(self.partial, self.path)

    def _transfer(self) -> bool:
        """Bring the partial file to its end; tell whether some of it was there before."""
        start = self.partial.stat().st_size if self.partial.exists() else 0
        if start and start == self.size:
            return True
        answer = self._ask(start)
        if answer is None:
            return True
        with answer:
            if answer.status != 206:  # all of it, whatever was asked for
                start = 0
            elif _first_byte(answer.headers) != start:
                self.partial.unlink(missing_ok=True)
                raise FetchError(f"{self.url}: asked for bytes from {start:,} on, got others; call again to start over")
            announced = answer.headers.get("Content-Length", "")
            total = start + int(announced) if announced.isdecimal() else None
            if None not in (total, self.size) and total != self.size:
                raise FetchError(f"{self.url} has {total:,} bytes, expected {self.size:,}: it is another file")
            self._receive(answer, start, total if self.size is None else self.size)
        return start > 0

    def _ask(self, start: int) -> Any:
        """The server's answer; None if it has nothing that follows what is there already."""
        headers = {"User-Agent": f"blockprop/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            return build_opener(_NoDetours).open(Request(self.url, headers=headers), timeout=self.timeout)
        except HTTPError as error:
            error.close()
            if error.code == 416 and start:
                return None
            raise FetchError(f"the server answered {error.code} {error.reason}; {self._by_hand()}") from None
        except FetchError:
            raise
        except (OSError, HTTPException) as error:
            reason = _reason(error)
            raise FetchError(f"cannot reach {urlsplit(self.url).hostname} ({reason}); {self._by_hand()}") from None

    def _receive(self, answer: Any, start: int, total: int | None) -> None:
        with _writing(self.partial):
            file: BinaryIO = self.partial.open("ab" if start else "wb", buffering=0)
        with file:
            done, most = start, LARGEST if total is None else total
            self.progress(done, total)
            for chunk in self._chunks(answer):
                done += len(chunk)
                if done > most:
                    raise FetchError(f"{self.url} sends more than the {most:,} bytes that were expected")
                with _writing(self.partial):
                    _write_all(file, chunk)
                self.progress(done, total)
            with _writing(self.partial):
                os.fsync(file.fileno())
        if total is not None and done < total:
            raise FetchError(f"{self._broke_off()} after {done:,} of {total:,} bytes; {AGAIN}")

    def _chunks(self, answer: Any) -> Iterator[bytes]:
        try:
            while chunk := answer.read1(CHUNK):
                yield chunk
        except (OSError, HTTPException) as error:
            raise FetchError(f"{self._broke_off()} ({_reason(error)}); {AGAIN}") from None

    def _broke_off(self) -> str:
        return f"the connection to {urlsplit(self.url).hostname} broke off"

    def _by_hand(self) -> str:
        count = "" if self.size is None else f"{self.size:,} bytes, "
        return (
            f"download {self.url} on another machine and put it at {self.path} ({count}SHA-256 {self.sha256}), "
            "or try again later"
        )


class _NoDetours(HTTPRedirectHandler):
    """Follows the server elsewhere, but never to an address that anybody on the way could answer for."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != "https" and not (_is_here(req.full_url) and _is_here(newurl)):
            raise FetchError(f"{req.full_url} leads to {newurl}, which is no https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _first_byte(headers: HTTPMessage) -> int | None:
    """The place of the first byte that the server sends, as it says so itself."""
    match = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _reason(error: BaseException) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FetchError(f"{path} could not be read ({_reason(error)})") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FetchError(f"{path} could not be written ({_reason(error)}); what was there before is kept") from error
