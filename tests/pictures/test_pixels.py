"""What comes out of pixels of every kind, beside what the formats' standards say; and what is refused."""

import base64
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2lab

from blockprop.errors import BlockpropWarning, DataError
from blockprop.pictures.image_files import read_image
from blockprop.pictures.picture_files import read_picture

HEIC = (
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004eZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=I"
    "V*mgE07O6l0RRC200001pa1~?00000002V(001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002|"
    "X>f9I0002oX>en20001WXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDMA4O"
    "18@KU0|1Z!00RI30{|YNAb|yz>aLpR;31&EfB*mtfB*mk0EA)y0RRR>0l{;@i2wiq6Ju{|a&BX6cmM$a4FCp!0000KX>)L800000"
    "0000$0000$0000eV{Bn?0000O000010000G00001|NsBk00002|NsBc000020000GaA|mH000000|*ER0000OX>e^}0000000001"
    "009Mo0s{qv0000>ZDe6|0000#C;_h%A)**)<uz0NDwk3Lc#eC|{?kb_4HxIsm<JbJx)rR|3A(HgGB~vLXrpyXOlak<?UDMipr}d3"
    "((?Q"
)
"""Red on the left, green on the right, 24 x 16, by another encoder."""
LOSSLESS = ["png", "apng", "bmp", "dib", "tga", "tif", "tiff", "ppm", "pcx", "gif", "sgi", "qoi", "ico", "dds", "PNG"]
LOSSY = ["jpg", "jpeg", "jpe", "jfif", "JPG", "webp", "avif", "jp2", "j2k", "jpx"]


def halves(height: int = 16, width: int = 24) -> np.ndarray:
    pixels = np.full((height, width, 3), (40, 160, 60), np.uint8)
    pixels[:, : width // 2] = (220, 30, 40)
    return pixels


def png(depth: int, color: int, rows: list[bytes], size: tuple[int, int], transparent: bytes) -> bytes:
    """A PNG file with a transparent value, byte by byte."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0)), (b"tRNS", transparent)]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_formats_without_losses(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(halves(16, 16)).save(path, **({"sizes": [(16, 16)]} if suffix == "ico" else {}))
    assert np.array_equal(read_image(path, channels=3), halves(16, 16))


@pytest.mark.parametrize("suffix", LOSSY)
def test_formats_with_losses(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(halves()).save(path, quality=95)
    gap = np.abs(read_image(path).astype(int) - halves())
    assert gap[:, [3, 20]].max() < 12  # away from the edge between the two


@pytest.mark.parametrize("suffix", ["heic", "heif", "HEIC"])
def test_what_phones_write(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(base64.b85decode(HEIC))
    pixels = read_image(path)
    assert pixels.shape == (16, 24, 3)
    assert np.abs(pixels.astype(int) - halves())[:, [3, 20]].max() < 12


def test_the_orientation_in_avif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes above
    Image.fromarray(halves()).save(tmp_path / "p.avif", exif=exif)
    pixels = read_image(tmp_path / "p.avif")
    assert pixels.shape == (24, 16, 3)
    assert pixels[3, 8, 0] > 200
    assert pixels[20, 8, 0] < 60


def test_spoiled_meta_data_leave_the_pixels(tmp_path: Path) -> None:
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense"):
        Image.fromarray(halves()).save(tmp_path / "p.jpg", exif=exif)
        assert read_image(tmp_path / "p.jpg").shape == (16, 24, 3)


def test_floating_point_numbers_from_0_to_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    tifffile.imwrite(tmp_path / "p.tif", values, photometric="minisblack")
    assert read_image(tmp_path / "p.tif").flatten().tolist() == list(range(256))
    assert float(read_picture(tmp_path / "p.tif").max()) == 1
    (tmp_path / "p.pfm").write_bytes(b"Pf\n16 16\n-1.0\n" + values[::-1].tobytes())
    assert read_image(tmp_path / "p.pfm").flatten().tolist() == list(range(256))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 200, np.float32), "from 0 to 200, where 0 is black and 1 white is expected"),
        (np.full((4, 4), -0.5, np.float32), "from -0.5 to 0"),
        (np.full((4, 4), np.nan, np.float32), "not finite"),
        (np.full((4, 4), 7, np.int32), "with a sign or of 32 bits, which do not say what is white"),
        (np.full((4, 4), 7, np.uint32), "do not say what is white"),
        (np.full((4, 4), -7, np.int16), "do not say what is white"),
        (np.full((4, 4), 0.5, np.float64), "a TIFF with pixels of a kind that is not known"),
        (np.full((4, 4, 3), 0.5, np.float32), "a TIFF with pixels of a kind that is not known"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_numbers_that_do_not_say_what_is_white(tmp_path: Path, values: np.ndarray, message: str) -> None:
    tifffile.imwrite(tmp_path / "p.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack")
    with pytest.raises(DataError, match=rf"p\.tif: cannot be read as a picture \(.*{message}"):
        read_image(tmp_path / "p.tif")


@pytest.mark.parametrize(
    ("photometric", "expected"), [("minisblack", [0, 80, 255]), ("miniswhite", [255, 175, 0])], ids=str
)
def test_16_bits_of_gray(tmp_path: Path, photometric: str, expected: list[int]) -> None:
    tifffile.imwrite(tmp_path / "p.tif", np.array([[0, 80 * 257, 65535]], np.uint16), photometric=photometric)
    assert read_image(tmp_path / "p.tif").tolist() == [expected]
    Image.fromarray(np.array([[0, 80 * 257, 65535]] * 4, np.uint16)).save(tmp_path / "p.jp2")
    assert read_image(tmp_path / "p.jp2")[0].tolist() == [0, 80, 255]


def test_12_bits_of_gray(tmp_path: Path) -> None:
    (tmp_path / "p.pgm").write_bytes(b"P5 3 1 4095\n" + struct.pack(">HHH", 4095, 2056, 0))
    assert read_image(tmp_path / "p.pgm").tolist() == [[255, 128, 0]]
    entries = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    rows = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries.items()]
    pixels = bytes([0xFF, 0xF8, 0x08, 0])  # 4095 and 2056, 12 bits each
    head = b"II*\0" + struct.pack("<I", 12) + pixels + struct.pack("<H", len(rows))
    (tmp_path / "p.tif").write_bytes(head + b"".join(rows) + bytes(4))
    assert read_image(tmp_path / "p.tif").tolist() == [[255, 128]]


def test_16_bits_of_color(tmp_path: Path) -> None:
    deep = np.zeros((2, 2, 3), np.uint16) + np.array([60_000, 257, 0], np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", deep, photometric="rgb")
    assert read_image(tmp_path / "p.tif")[0, 0].tolist() == [234, 1, 0]
    with_alpha = np.concatenate([deep, np.zeros((2, 2, 1), np.uint16)], 2)
    tifffile.imwrite(tmp_path / "q.tif", with_alpha, photometric="rgb", extrasamples=["unassalpha"])
    assert read_image(tmp_path / "q.tif")[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(1, 0, [b"\x40"], (2, 1), struct.pack(">H", 0)), [255, 255]),
        (png(1, 0, [b"\x40"], (2, 1), struct.pack(">H", 1)), [0, 255]),
        (png(2, 0, [b"\x10"], (2, 1), struct.pack(">H", 1)), [0, 255]),
        (png(2, 0, [b"\x20"], (2, 1), struct.pack(">H", 1)), [0, 170]),
        (png(4, 0, [b"\x05"], (2, 1), struct.pack(">H", 5)), [0, 255]),
        (png(8, 0, [b"\x05\x06"], (2, 1), struct.pack(">H", 5)), [255, 6]),
        (png(16, 0, [b"\x05\x00\x06\x06"], (2, 1), struct.pack(">H", 0x500)), [255, 6]),
        (png(16, 0, [b"\x05\x01\x06\x06"], (2, 1), struct.pack(">H", 0x500)), [4, 6]),
        (png(8, 2, [bytes([5, 5, 5, 9, 9, 9])], (2, 1), struct.pack(">HHH", 5, 5, 5)), [[255] * 3, [9] * 3]),
        (
            png(16, 2, [bytes([5, 0] * 3 + [9, 9] * 3)], (2, 1), struct.pack(">HHH", *[0x500] * 3)),
            [[255] * 3, [9] * 3],
        ),
    ],
)
def test_a_transparent_value_is_white(tmp_path: Path, content: bytes, expected: list) -> None:
    (tmp_path / "p.png").write_bytes(content)
    assert read_image(tmp_path / "p.png").tolist() == [expected]


def test_transparent_palettes(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    for name in ("p.png", "p.gif"):
        image.save(tmp_path / name, transparency=1)
        assert read_image(tmp_path / name).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    image.save(tmp_path / "p.png", transparency=bytes([255, 51]))  # a fifth of the color, four of white
    assert read_image(tmp_path / "p.png").tolist() == [[[10, 20, 30], [212, 214, 216]]]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "RGBA", "RGB"])
def test_other_color_spaces(tmp_path: Path, mode: str) -> None:
    """The same color in each, as far as 8 bits of that space go."""
    color = (120, 160, 90)
    lightness, a, b = rgb2lab(np.array(color) / 255)
    lab = Image.new("LAB", (8, 8), (round(lightness * 2.55), 128 + round(a), 128 + round(b)))
    image = lab if mode == "LAB" else Image.new("RGB", (8, 8), color).convert(mode)
    image.save(tmp_path / "p.tif")
    assert np.abs(read_image(tmp_path / "p.tif").astype(int) - color).max() <= 6


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "avif"])
def test_of_several_frames_the_first_is_read_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    frames = [Image.fromarray(np.roll(halves(), shift, 1)) for shift in (0, 6, 12)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(BlockpropWarning, match=rf"p\.{suffix} holds 3 pictures, frames or pages; the first is read"):
        pixels = read_image(path, channels=3)
    assert np.abs(pixels.astype(int) - halves())[:, [3, 20]].max() < 30
    frames[0].save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)


@pytest.mark.parametrize(("name", "kind"), [("p.svg", "kind .svg"), ("p.NEF", "raw picture"), ("p.eps", "kind .eps")])
def test_kinds_that_are_not_read_are_named(tmp_path: Path, name: str, kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(halves()).save(file, "TIFF")  # of the preview in a raw file Pillow would make a picture
    (tmp_path / name).write_bytes(file.getvalue())
    with pytest.raises(DataError, match=rf"cannot be read as a picture \(a.* {kind} is not read; save it as PNG"):
        read_image(tmp_path / name)
