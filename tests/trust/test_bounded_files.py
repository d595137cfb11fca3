"""Small files that unfold to much, or name what lies elsewhere: refused in a sentence, before the work is done."""

import gzip
import json
import os
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from blockprop.cli import main
from blockprop.commands.parsing import constants_named
from blockprop.data.reading import read_data
from blockprop.errors import BlockpropError, DataError, FormatError, SettingError
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.pictures.picture_files import read_picture, read_settings
from blockprop.pictures.preprocessing import read_preprocessing
from blockprop.saving.files import write_tensors
from blockprop.saving.storage import load

WORK = 2.0
"""Seconds of processor time; what is refused before it is read takes a hundredth."""


def refused(kind: type[BlockpropError], words: str, read: Any, *given: Any, **more: Any) -> None:
    """The call is refused in these words, after little work."""
    start = time.process_time()
    with pytest.raises(kind, match=words) as caught:
        read(*given, **more)
    assert time.process_time() - start < WORK
    assert len(str(caught.value)) < 2000


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks: bytes, width: int = 4, height: int = 4) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(4 * (1 + 3 * 4))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + chunk(b"IEND", b"")


GIF = (
    b"GIF89a"
    + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
    + b","
    + bytes(4)
    + struct.pack("<HHB", 60_000, 60_000, 0)
)
BMP = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, *[0] * 6)
TIFF_TAGS = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60_000), (279, 4)]
TIFF = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(TIFF_TAGS))
TIFF += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in TIFF_TAGS) + bytes(4)
BOMBS = {
    "a.png": png(width=60_000, height=60_000),
    "wide.png": png(width=2**31 - 1, height=1),
    "a.gif": GIF + b"\2\2\0\0\0;",
    "a.bmp": BMP,
    "a.tif": TIFF,
}


@pytest.mark.parametrize("name", BOMBS)
def test_pictures_that_claim_many_pixels(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    refused(DataError, f"{MOST_PIXELS:,} are allowed", read_picture, path)
    refused(DataError, f"{MOST_PIXELS:,} are allowed|says|not say how", read_settings, path)


def test_a_picture_just_above_the_limit(tmp_path: Path) -> None:
    side = int(MOST_PIXELS**0.5) + 1
    (tmp_path / "a.png").write_bytes(png(width=side, height=side))
    refused(DataError, f"{side} x {side} pixels; {MOST_PIXELS:,} are allowed", read_picture, tmp_path / "a.png")


DDS = struct.pack("<4s7I44s8I20s", b"DDS ", 124, 0x1007, 3000, 3000, 0, 0, 0, b"", 32, 0x40, 0, 8, 7, 56, 192, 0, b"")
SLOW = {
    "a.dds": DDS + bytes(9 * 10**6),
    "a.ppm": b"P6\n3000 3000\n100\n" + bytes(27 * 10**6),
    "a.qoi": b"qoif" + struct.pack(">II", 3000, 3000) + b"\4\0" + b"\xfd" * 150_000,
    "a.bmp": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 3000, 3000, 1, 8, 1, *[0] * 5)
    + b"\xff\1" * 40_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_pictures_that_are_read_number_by_number(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SLOW[name])
    refused(DataError, "3000 x 3000 pixels of a kind that is read slowly", read_picture, path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_pipe_among_pictures(tmp_path: Path) -> None:
    """From which nothing comes, however long one waits."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png())
    os.mkfifo(tmp_path / "a" / "2.png")
    refused(DataError, r"2\.png: cannot be read as a picture \(it is not an ordinary file\)", read_data, tmp_path)


@pytest.mark.parametrize(
    "head", [b"zTXta\0\0", b"iCCPa\0\0", b"iTXtblockprop\0\1\0\0\0"], ids=lambda head: head[:4].decode()
)
def test_texts_in_pictures_that_unfold_to_much(head: bytes, tmp_path: Path) -> None:
    packed = zlib.compress(bytes(2 * 10**8), 9)
    (tmp_path / "a.png").write_bytes(png(chunk(head[:4], head[4:] + packed)))
    refused(DataError, "cannot be read as a picture|does not say how it was made", read_settings, tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_deep_pictures_are_converted_row_by_row_as_at_once(mode: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((50, 30))
    array = (values * 65535).astype(np.uint16) if mode == "I;16" else values.astype(np.float32)
    Image.fromarray(array).save(tmp_path / "a.tif")
    levels = array.astype(np.float64) * (255 / (65535 if mode == "I;16" else 1))
    expected = (np.floor(levels + 1e-9) if mode == "I;16" else levels.round()).astype(np.uint8)
    assert (read_picture(tmp_path / "a.tif")[0, 0].mul(255).round().numpy() == expected).all()


def test_tables_of_many_columns_and_long_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",".join(f"c{i}" for i in range(400_001)) + "\n" + ",".join("1" for _ in range(400_001)) + "\n")
    refused(DataError, "row 1: 400,001 columns; a table has at most 5,000", read_data, path)
    path.write_text("a,b\n1,2\n" + "," * 10**7 + "\n")
    refused(DataError, "row 3: 10,000,001 columns", read_data, path)
    with path.open("wb") as file:
        os.truncate(file.fileno(), 5 * 10**8)
    refused(DataError, "500,000,000 bytes of text; 268,435,456 are read", read_data, path)
    path.write_bytes(b"a,b\n1,\0\n")
    refused(DataError, "expected a table of text", read_data, path)


def test_parquet_files_of_many_columns_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table({f"c{i}": [1] for i in range(5_001)}), path)
    refused(DataError, "5,001 columns; a table has at most 5,000", read_data, path)
    pa.parquet.write_table(pa.table({"a": pa.array(np.zeros(3 * 10**6)), "b": pa.array(np.zeros(3 * 10**6))}), path)
    refused(DataError, "unfold to 6,000,000 cells", read_data, path)


def test_archives_of_arrays_that_unfold_to_much(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((10**5, 1, 28, 28), np.uint8), y=np.zeros(10**5, np.int64))
    refused(DataError, r"unfold to .* bytes, more than 100 times the", read_data, path)
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb") as packed:
        packed.write(bytes((0, 0, 8, 3)) + struct.pack(">III", 10**5, 28, 28) + bytes(784 * 10**5))
    refused(
        DataError, "ubyte.gz: it would unfold to", read_data, tmp_path / "train-images-idx3-ubyte.gz", need_labels=False
    )


@pytest.mark.parametrize("member", [b"text", b"\x93NUMPY\1\0\2\0(\n", b""], ids=("text", "head", "empty"))
def test_members_of_archives_that_are_no_arrays(member: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", member)
    refused(DataError, "expected a complete .npz file of plain arrays", read_data, path)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    refused(SettingError, "expected a readable .npy file", constants_named, [f"k={tmp_path}/objects.npy"])
    (tmp_path / "k.npy").write_bytes(member)
    refused(SettingError, "expected a readable .npy file", constants_named, [f"k={tmp_path}/k.npy"])


def test_class_names_come_from_the_folder_of_the_file_that_names_them(tmp_path: Path) -> None:
    folder, secret = tmp_path / "net", tmp_path / "secret.txt"
    folder.mkdir()
    secret.write_text("password\n")
    (folder / "link.txt").symlink_to(secret)
    (folder / "names.txt").write_text("a\nb\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "names.txt").write_text("c\n")
    for name in (str(secret), "../secret.txt", "link.txt", "deep/../../secret.txt"):
        (folder / "model.json").write_text(json.dumps({"size": 8, "classes": name}))
        refused(FormatError, "does not lie in its folder", read_preprocessing, folder / "model.json")
    (folder / "model.json").write_text(json.dumps({"size": 8, "classes": "a\0b"}))
    refused(FormatError, "cannot be the name of a file|no such file", read_preprocessing, folder / "model.json")
    for name, classes in (("names.txt", ["a", "b"]), ("deep/names.txt", ["c"])):
        (folder / "model.json").write_text(json.dumps({"size": 8, "classes": name}))
        assert read_preprocessing(folder / "model.json")[1] == classes


def test_settings_files_are_small(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("size = 8\nmean = [" + "1.0, " * 300_000 + "]\n")
    refused(
        FormatError, "more than 1,048,576 bytes, which no settings are", read_preprocessing, tmp_path / "model.toml"
    )


def test_letters_that_are_none_in_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(
        pa.table({"a": ["abcdefgh", "x"], "b": [1, 2]}), path, compression="none", use_dictionary=False
    )
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abc\xff\xfefgh"))
    refused(DataError, "expected a complete parquet file", read_data, path)


def test_letters_that_are_none_in_an_archive_of_arrays(tmp_path: Path) -> None:
    letters = np.array(["ab", "cd"])
    letters.view(np.uint32)[1] = 0x7FFFFFFF
    for names in ({"y": letters}, {"y": np.array([0, 1]), "classes": letters}):
        np.savez(tmp_path / "b.npz", x=np.zeros((2, 3)), **names)
        with pytest.raises(DataError, match="holds letters that are none"):
            read_data(tmp_path / "b.npz")


@pytest.mark.parametrize("name", ["a={" * 30_000, "a" * 10**6], ids=len)
@pytest.mark.parametrize("place", ["name", "source", "type", "key"])
def test_names_in_networks_are_short(name: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said of a network repeats them."""
    kind, source, key = (name if place == one else "x" for one in ("type", "source", "key"))
    node = {"name": name if place == "name" else "n", "block": key, "inputs": [source]}
    graph = {"format": "blockprop network", "version": 1, "meta": {}, "inputs": ["x"], "outputs": [node["name"]]}
    graph |= {"blocks": {key: {"type": kind if place == "type" else "ReLU", "settings": {}}}, "nodes": [node, node]}
    write_tensors(tmp_path / "n.safetensors", {}, graph)
    refused(FormatError, "safetensors: ", load, tmp_path / "n.safetensors")
    start = time.process_time()
    assert main(["info", str(tmp_path / "n.safetensors")]) == 1
    assert time.process_time() - start < WORK
    assert len(capsys.readouterr().err) < 2000
