"""Files that are no good, pictures that are none, and disks that are full."""

import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from blockprop.errors import DataError, FormatError, NotFiniteError, SettingError, ShapeError
from blockprop.pictures.picture_files import (
    read_picture,
    read_settings,
    to_pixels,
    write_picture,
)
from tests.pictures.examples import colors


def test_a_bomb_is_refused_before_memory_is_used(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000_000))), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_picture, read_settings):
        with pytest.raises(DataError, match=r"bomb\.png: cannot be read as a picture \(.*900000000 pixels"):
            read(tmp_path / "bomb.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.tif", "p.webp", "p.gif", "p.bmp"])
def test_damaged_pictures_are_one_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(to_pixels(colors(40, 40))).save(path)
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], content[:20], b"", b"no picture", b"\0" * 1000):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"^.*p\.\w+: cannot be read as a picture \(.*\)$"):
            read_picture(path)


def test_no_picture_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(DataError, match="is a folder; expected one picture"):
        read_picture(tmp_path)


def test_too_little_to_see(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "p.png")
    with pytest.raises(DataError, match=r"p\.png: 1 x 1 pixels; each side needs at least 2"):
        read_picture(tmp_path / "p.png")
    Image.new("RGB", (2000, 3)).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").shape == (1, 3, 3, 2000)
    with pytest.raises(DataError, match=r"100 x 1 pixels with its longer side scaled to 100; each side"):
        read_picture(tmp_path / "p.png", 100)


def test_only_known_suffixes_are_written(tmp_path: Path) -> None:
    for name in ("p.gif", "p", "p.png.txt"):
        with pytest.raises(SettingError, match=r"written as \.png, \.jpg, \.jpeg, \.tif, \.tiff, not as"):
            write_picture(tmp_path / name, colors())
    with pytest.raises(SettingError, match="expected 8 bits, or 16 in PNG and TIFF, got 16"):
        write_picture(tmp_path / "p.jpg", colors(), bits=16)
    with pytest.raises(SettingError, match="expected 8 bits, or 16 in PNG and TIFF, got 12"):
        write_picture(tmp_path / "p.png", colors(), bits=12)
    with pytest.raises(SettingError, match="quality from 1 to 100, got 0"):
        write_picture(tmp_path / "p.jpg", colors(), quality=0)
    with pytest.raises(FormatError, match=r"p\.jpg: 70000 x 2 pixels cannot be kept as JPEG"):
        write_picture(tmp_path / "p.jpg", torch.zeros(3, 2, 70_000))
    assert not list(tmp_path.iterdir())


def test_only_pictures_are_written(tmp_path: Path) -> None:
    for wrong in (torch.zeros(2, 3, 4, 4), torch.zeros(4, 4), torch.zeros(2, 4, 4), torch.zeros(3, 0, 4)):
        with pytest.raises(ShapeError, match="expected one picture, 3 x h x w"):
            write_picture(tmp_path / "p.png", wrong)
    with pytest.raises(ShapeError, match=r"floating-point numbers in 0…1, got torch\.uint8"):
        write_picture(tmp_path / "p.png", torch.zeros(3, 4, 4, dtype=torch.uint8))
    for bad in (float("nan"), float("inf")):
        picture = colors()
        picture[1, 2, 3] = bad
        with pytest.raises(NotFiniteError, match="1 values of 105 that are NaN or infinite"):
            write_picture(tmp_path / "p.png", picture)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "bits"), [("p.png", 8), ("p.jpg", 8), ("p.tif", 8), ("p.png", 16), ("p.tif", 16)])
def test_a_full_disk_leaves_the_older_picture(tmp_path: Path, name: str, bits: int) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / name
    write_picture(path, colors(), {"seed": 1})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(FormatError, match=r"p\.\w+ could not be written \(.*too large.*unchanged"):
            write_picture(path, colors(200, 200), {"seed": 2}, bits=bits)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before
    assert read_settings(path) == {"seed": 1}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FormatError, match="could not be written"):
        write_picture(tmp_path / "file" / "p.png", colors())
    write_picture(tmp_path / "new" / "folder" / "p.png", colors())
    assert read_picture(tmp_path / "new" / "folder" / "p.png").shape == (1, 3, 5, 7)
