"""Fetching, from a server in a thread that misbehaves in every way that servers do."""

import hashlib
import random
import re
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from blockprop.commands import console
from blockprop.errors import BlockpropError, SettingError
from blockprop.networks import fetching
from blockprop.networks.fetching import FetchError, cache_folder, fetch
from tests.networks.site import CONTENT, SHA256, Site
from tests.processes import PIPE, started


def partial(cache: Path, name: str = "net 1.onnx") -> Path:
    return cache / f".{name}.{SHA256[:12]}.part"


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_file_is_fetched_once(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = fetch(site.url, SHA256, cache=tmp_path / "new" / "cache", progress=lambda *now: told.append(now))
    assert path == tmp_path / "new" / "cache" / "net 1.onnx"
    assert path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(told) == told
    assert kept(path.parent) == ["net 1.onnx"]
    site.status = 500
    assert fetch(site.url, SHA256.upper(), cache=path.parent) == path
    assert site.seen == [None]


def test_a_name_may_be_as_long_as_file_systems_take(site: Site, tmp_path: Path) -> None:
    name = "網" * 84  # 252 bytes
    assert fetch(site.url, SHA256, name, tmp_path) == tmp_path / name
    assert kept(tmp_path) == [name]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site) -> None:
    for name in ("BLOCKPROP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/blockprop")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/blockprop")
    monkeypatch.setenv("BLOCKPROP_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert fetch(site.url, SHA256, "other.onnx") == tmp_path / "own" / "other.onnx"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("announce", [True, False])
def test_a_connection_that_broke_is_taken_up_again(site: Site, tmp_path: Path, seed: int, announce: bool) -> None:
    site.cut, site.announce = random.Random(seed).randrange(1, len(CONTENT)), announce
    with pytest.raises(FetchError, match=r"broke off after .* call again"):
        fetch(site.url, SHA256, cache=tmp_path, size=len(CONTENT))
    assert partial(tmp_path).read_bytes() == CONTENT[: site.cut]
    told: list[int] = []
    here, site.cut = site.cut, None
    path = fetch(site.url, SHA256, cache=tmp_path, progress=lambda done, _total: told.append(done))
    assert path.read_bytes() == CONTENT
    assert site.seen == [None, f"bytes={here}-"]
    assert told[0] == here
    assert kept(tmp_path) == ["net 1.onnx"]


def test_a_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    partial(tmp_path).write_bytes(CONTENT[:1000])
    site.ranges = False
    assert fetch(site.url, SHA256, cache=tmp_path).read_bytes() == CONTENT
    assert site.seen == ["bytes=1000-"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("length", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_partial_file_that_is_wrong_is_fetched_anew(
    site: Site, tmp_path: Path, length: int, size: int | None
) -> None:
    partial(tmp_path).write_bytes(bytes(length))
    assert fetch(site.url, SHA256, cache=tmp_path, size=size).read_bytes() == CONTENT
    assert site.seen[-1] is None
    assert kept(tmp_path) == ["net 1.onnx"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_partial_file_that_is_whole_needs_no_more(site: Site, tmp_path: Path, size: int | None) -> None:
    partial(tmp_path).write_bytes(CONTENT)
    assert fetch(site.url, SHA256, cache=tmp_path, size=size).read_bytes() == CONTENT
    assert site.seen == ([] if size else [f"bytes={len(CONTENT)}-"])


def test_a_server_that_goes_on_at_another_place_is_not_trusted(site: Site, tmp_path: Path) -> None:
    partial(tmp_path).write_bytes(CONTENT[:1000])
    site.shift = 1
    with pytest.raises(FetchError, match="call again to start over"):
        fetch(site.url, SHA256, cache=tmp_path)
    assert fetch(site.url, SHA256, cache=tmp_path).read_bytes() == CONTENT


def test_another_content_than_expected_is_not_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    site.content = b"something else"
    found = hashlib.sha256(site.content).hexdigest()
    with pytest.raises(FetchError, match=f"gave 14 bytes with the SHA-256 {found}, expected {SHA256}"):
        fetch(site.url, SHA256, cache=tmp_path)
    assert kept(tmp_path) == ["good.txt"]


def test_another_file_of_the_same_name_stays(site: Site, tmp_path: Path) -> None:
    (tmp_path / "net 1.onnx").write_text("mine")
    mine = hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(FetchError, match=f"its SHA-256 is {mine}, expected {SHA256}; move it away"):
        fetch(site.url, SHA256, cache=tmp_path)
    assert (tmp_path / "net 1.onnx").read_text() == "mine"
    assert fetch(site.url, SHA256, "theirs.onnx", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_size_than_expected_is_refused_at_once(site: Site, tmp_path: Path, size: int) -> None:
    with pytest.raises(FetchError, match=f"has {len(CONTENT):,} bytes, expected {size:,}"):
        fetch(site.url, SHA256, cache=tmp_path, size=size)
    assert kept(tmp_path) == []


def test_no_more_is_taken_than_expected(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.announce = False
    with pytest.raises(FetchError, match="sends more than the 100,000 bytes"):
        fetch(site.url, SHA256, cache=tmp_path, size=100_000)
    assert partial(tmp_path).stat().st_size <= 100_000
    monkeypatch.setattr(fetching, "LARGEST", 200_000)
    with pytest.raises(FetchError, match="sends more than the 200,000 bytes"):
        fetch(site.url, SHA256, cache=tmp_path)


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (403, "403"), (503, "503"), (416, "416")])
def test_refusals_say_what_to_do(site: Site, tmp_path: Path, status: int, words: str) -> None:
    site.status = status
    with pytest.raises(FetchError, match=f"the server answered {words}.*; download {re.escape(site.url)}") as caught:
        fetch(site.url, SHA256, cache=tmp_path, size=len(CONTENT))
    assert f"put it at {tmp_path / 'net 1.onnx'} (700,001 bytes, SHA-256 {SHA256})" in str(caught.value)


@pytest.mark.usefixtures("site")
def test_without_a_connection_the_error_says_where_to_put_the_file(tmp_path: Path) -> None:
    url = "https://nowhere.invalid/net.onnx"
    with pytest.raises(FetchError, match=r"cannot reach nowhere\.invalid \(.+\); download") as caught:
        fetch(url, SHA256, cache=tmp_path)
    assert f"download {url} on another machine and put it at {tmp_path / 'net.onnx'} (SHA-256" in str(caught.value)
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    assert fetch(url, SHA256, cache=tmp_path).read_bytes() == CONTENT


def test_a_server_that_stalls_is_given_up_and_taken_up_again(site: Site, tmp_path: Path) -> None:
    site.stall = 300_000
    with pytest.raises(FetchError, match=r"broke off \(timed out\); call again"):
        fetch(site.url, SHA256, cache=tmp_path, timeout=0.3)
    assert partial(tmp_path).stat().st_size == 300_000
    site.stall = None
    assert fetch(site.url, SHA256, cache=tmp_path).read_bytes() == CONTENT
    assert site.seen == [None, "bytes=300000-"]


def test_a_detour_must_be_as_safe(site: Site, tmp_path: Path) -> None:
    site.elsewhere = "http://example.com/net.onnx"
    with pytest.raises(FetchError, match="which is no https address"):
        fetch(site.url, SHA256, cache=tmp_path)


def test_a_detour_takes_up_what_is_there(site: Site, tmp_path: Path) -> None:
    partial(tmp_path).write_bytes(CONTENT[:1000])
    site.elsewhere = site.url.replace("models/net%201.onnx", "blobs/1234?signed=yes")
    path = fetch(site.url, SHA256, cache=tmp_path)
    assert (path.name, path.read_bytes()) == ("net 1.onnx", CONTENT)
    assert site.seen == ["bytes=1000-", "bytes=1000-"]


def test_a_full_disk_is_said_to_be_one(site: Site, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    partial(tmp_path).symlink_to("/dev/full")
    with pytest.raises(FetchError, match=r"\.part could not be written \(No space left on device\)"):
        fetch(site.url, SHA256, cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_said_to_be_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match="could not be written"):
        fetch(site.url, SHA256, cache=tmp_path / "file" / "cache")
    (tmp_path / "net 1.onnx").mkdir()
    with pytest.raises(FetchError, match="could not be read"):
        fetch(site.url, SHA256, cache=tmp_path)
    assert issubclass(FetchError, BlockpropError)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": "http://example.com/net.onnx"}, "expected an https address"),
        ({"url": "file:///etc/passwd"}, "expected an https address"),
        ({"url": "ftp://127.0.0.1/net.onnx"}, "expected an https address"),
        ({"url": "https://example.com/"}, "name of a file"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"name": "../net.onnx"}, "name of a file"),
        ({"name": ".."}, "name of a file"),
        ({"name": ""}, "name of a file"),
    ],
)
def test_arguments_that_cannot_be_meant(tmp_path: Path, changed: dict[str, str], words: str) -> None:
    arguments = {"url": "https://example.com/net.onnx", "sha256": SHA256} | changed
    with pytest.raises(SettingError, match=words):
        fetch(**arguments, cache=tmp_path)


def about_to_fetch(site: Site, cache: Path) -> AbstractContextManager["subprocess.Popen[str]"]:
    """A process that is about to fetch, and does so when it is sent a line."""
    code = (
        "from blockprop.networks.fetching import fetch\nprint('ready', flush=True)\ninput()\n"
        f"fetch({site.url!r}, {SHA256!r}, cache={str(cache)!r})"
    )
    return started([sys.executable, "-c", code], stdin=PIPE, stderr=None)


@pytest.mark.slow
def test_two_processes_fetch_once(site: Site, tmp_path: Path) -> None:
    site.slow = 0.05
    with about_to_fetch(site, tmp_path) as first, about_to_fetch(site, tmp_path) as second:
        for process in (first, second):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        assert [first.wait(60), second.wait(60)] == [0, 0]
    assert (tmp_path / "net 1.onnx").read_bytes() == CONTENT
    assert site.seen == [None]


def test_a_killed_process_leaves_a_beginning_and_no_lock(site: Site, tmp_path: Path) -> None:
    site.stall = 300_000
    with about_to_fetch(site, tmp_path) as process:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        while not (partial(tmp_path).exists() and partial(tmp_path).stat().st_size == 300_000):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    site.stall = None
    assert fetch(site.url, SHA256, cache=tmp_path).read_bytes() == CONTENT
    assert site.seen == [None, "bytes=300000-"]


def test_a_download_can_be_watched(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with console.watched_bytes("net") as watch:
        fetch(site.url, SHA256, cache=tmp_path, progress=watch)
    shown = capsys.readouterr()
    assert "net" in shown.err
    assert "700.0/700.0 kB" in shown.err
    with console.watched_bytes("net", quiet=True) as watch:
        watch(1, None)
    assert capsys.readouterr() == ("", "")
    assert shown.out == ""
