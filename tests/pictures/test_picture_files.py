"""Pictures in and out of files: what pixels come back, and what the file says about itself."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.errors import DataError, FormatError, SettingError
from blockprop.pictures.picture_files import (
    LONGEST_IN_JPEG,
    from_pixels,
    read_picture,
    read_settings,
    to_pixels,
    write_picture,
)
from blockprop.saving import files
from tests.pictures.examples import SETTINGS, colors

NAMES = ("p.png", "p.jpg", "p.jpeg", "p.tif", "p.tiff", "P.PNG", "P.JPG")
DEEP = ("p.png", "p.tif")


@pytest.mark.parametrize("name", NAMES)
def test_settings_come_back_from_each_format(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / name, colors(), SETTINGS)
    assert read_settings(tmp_path / name) == SETTINGS
    assert read_picture(tmp_path / name).shape == (1, 3, 5, 7)


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_settings_come_back_from_16_bits(tmp_path: Path, name: str, channels: int) -> None:
    write_picture(tmp_path / name, colors(channels=channels), SETTINGS, bits=16)
    assert read_settings(tmp_path / name) == SETTINGS


@pytest.mark.parametrize("name", ["p.png", "p.tif"])
def test_long_settings_fit_but_into_jpeg(tmp_path: Path, name: str) -> None:
    long = {"text": "x" * 2_000_000}
    write_picture(tmp_path / name, colors(), long)
    assert read_settings(tmp_path / name) == long
    most = {"text": "x" * (LONGEST_IN_JPEG - len(files.dump({"text": ""})))}
    write_picture(tmp_path / "p.jpg", colors(), most)
    assert read_settings(tmp_path / "p.jpg") == most
    with pytest.raises(FormatError, match=r"p\.jpg: the settings take 2,000,\d+ characters; JPEG holds 65,000"):
        write_picture(tmp_path / "p.jpg", colors(), long)


def test_settings_are_found_behind_the_pixels(tmp_path: Path) -> None:
    write_picture(tmp_path / "p.png", colors(), {"seed": 3})
    content = (tmp_path / "p.png").read_bytes()
    start = content.index(b"iTXt") - 4
    stop = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
    chunk, end = content[start:stop], content.index(b"IEND") - 4
    (tmp_path / "p.png").write_bytes(content[:start] + content[stop:end] + chunk + content[end:])
    assert read_settings(tmp_path / "p.png") == {"seed": 3}


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.tif", "p.webp", "p.gif", "p.bmp"])
def test_a_picture_without_settings_says_so(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "blockprop is a fine program"
    Image.new("RGB", (4, 4)).save(tmp_path / name, **({} if name in ("p.gif", "p.bmp") else {"exif": exif}))
    with pytest.raises(DataError, match=r"p\.\w+ does not say how it was made: it holds no settings"):
        read_settings(tmp_path / name)


def test_spoiled_settings_are_an_error(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = 'blockprop {"seed": '
    Image.new("RGB", (4, 4)).save(tmp_path / "p.jpg", exif=exif)
    with pytest.raises(FormatError, match=r"p\.jpg: expected JSON"):
        read_settings(tmp_path / "p.jpg")
    (tmp_path / "p.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"p\.jpg: cannot be read as a picture"):
        read_settings(tmp_path / "p.jpg")
    with pytest.raises(DataError, match="does not exist"):
        read_settings(tmp_path / "q.jpg")


def test_settings_that_are_no_plain_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"\['x'\] is a Tensor, which a file cannot hold"):
        write_picture(tmp_path / "p.png", colors(), {"x": torch.ones(1)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["p.png", "p.tif"])
def test_what_was_read_is_written_exactly(tmp_path: Path, name: str) -> None:
    pixels = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(16, 16, 3)
    picture = from_pixels(pixels)
    assert (to_pixels(picture) == pixels).all()
    write_picture(tmp_path / name, picture)
    assert torch.equal(read_picture(tmp_path / name)[0], picture)


def test_values_go_to_the_nearest_level_and_are_clipped() -> None:
    values = torch.tensor([-3.0, 0.49 / 255, 0.51 / 255, 1.0, 254.6 / 255, 9.0])
    assert to_pixels(values.reshape(1, 1, -1)).tolist() == [[0, 0, 1, 255, 255, 255]]
    assert to_pixels(values.reshape(1, 1, -1), 16).tolist() == [[0, 126, 131, 65535, 65432, 65535]]
    assert to_pixels(torch.full((3, 1, 1), 0.25, dtype=torch.float16)).tolist() == [[[64, 64, 64]]]


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (3, 4), (300, 211)])
def test_16_bits_are_what_another_program_reads(tmp_path: Path, name: str, channels: int, size: tuple) -> None:
    picture = colors(*size, channels=channels)
    write_picture(tmp_path / name, picture, SETTINGS, bits=16)
    found = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    found = found[..., ::-1] if channels == 3 else found
    assert (found == to_pixels(picture, 16)).all()
    if min(size) > 1:
        assert (read_picture(tmp_path / name)[0] - picture).abs().max() < 1 / 255


def test_jpeg_is_near_and_quality_counts(tmp_path: Path) -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    picture = torch.stack([y, x, 1 - x])[None]
    sizes = []
    for quality, allowed in ((95, 0.02), (30, 0.2)):
        write_picture(tmp_path / "p.jpg", picture, quality=quality)
        assert (read_picture(tmp_path / "p.jpg") - picture).abs().max() < allowed
        sizes.append((tmp_path / "p.jpg").stat().st_size)
    assert sizes[0] > sizes[1]


def test_noise_fits_into_jpeg(tmp_path: Path) -> None:
    write_picture(tmp_path / "p.jpg", colors(200, 300).round(), SETTINGS, quality=100)
    assert (read_picture(tmp_path / "p.jpg")[0] - colors(200, 300).round()).abs().max() < 0.05
    assert read_settings(tmp_path / "p.jpg") == SETTINGS


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.tif"])
def test_gray_pictures_are_written_gray_and_read_as_three_channels(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / name, torch.full((1, 1, 8, 8), 0.4))
    with Image.open(tmp_path / name) as image:
        assert image.mode == "L"
    assert torch.allclose(read_picture(tmp_path / name), torch.full((1, 3, 8, 8), 0.4))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["p.jpg", "p.png", "p.tif", "p.webp"])
def test_the_camera_s_orientation_is_obeyed(tmp_path: Path, name: str, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255
    undo = [None, *(Image.Transpose[t] for t in ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE"))]
    undo += [Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270]
    stored = Image.fromarray(upright)
    stored = stored if orientation == 1 else stored.transpose(undo[orientation - 1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / name, exif=exif)
    assert (read_picture(tmp_path / name)[0] - from_pixels(upright)).abs().max() < 0.1


def test_other_kinds_of_pixels(tmp_path: Path) -> None:
    def read(image: Image.Image, name: str) -> list[float]:
        image.save(tmp_path / name)
        x = read_picture(tmp_path / name)
        assert x.shape == (1, 3, 8, 8)
        assert x.dtype == torch.float32
        return (x[0, :, 3, 3] * 255).round().int().tolist()

    assert read(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "a.png") == [255, 255, 255]
    assert read(Image.new("RGBA", (8, 8), (0, 0, 0, 51)), "b.webp") == [204, 204, 204]
    assert read(Image.new("LA", (8, 8), (100, 255)), "c.png") == [100, 100, 100]
    assert read(Image.new("1", (8, 8), 1), "d.png") == [255, 255, 255]
    assert read(Image.new("RGB", (8, 8), (255, 0, 0)).convert("P"), "e.gif") == [255, 0, 0]
    assert read(Image.fromarray(np.full((8, 8), 80 * 257, np.uint16)), "f.png") == [80, 80, 80]
    assert read(Image.fromarray(np.full((8, 8), 80 * 257, np.uint16)), "g.tif") == [80, 80, 80]
    for name in ("h.tif", "h.jpg"):
        red, green, blue = read(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), name)
        assert red > 230
        assert max(green, blue) < 60


def test_large_pictures_are_scaled_down_and_small_ones_are_not(tmp_path: Path) -> None:
    write_picture(tmp_path / "p.png", colors(90, 60))
    assert read_picture(tmp_path / "p.png", 45).shape == (1, 3, 45, 30)
    assert read_picture(tmp_path / "p.png", 90).shape == (1, 3, 90, 60)
    assert read_picture(tmp_path / "p.png", 500).shape == (1, 3, 90, 60)
    write_picture(tmp_path / "p.png", torch.full((3, 40, 80), 0.6))
    assert torch.allclose(read_picture(tmp_path / "p.png", 7), torch.tensor(0.6))
    with pytest.raises(SettingError, match="at least 2 pixels, got 0"):
        read_picture(tmp_path / "p.png", 0)


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, bits in (("p.png", 8), ("p.jpg", 8), ("p.tif", 8), ("p.png", 16), ("p.tif", 16)):
        write_picture(tmp_path / name, colors(), SETTINGS, bits=bits)
        first = (tmp_path / name).read_bytes()
        write_picture(tmp_path / name, colors(), SETTINGS, bits=bits)
        assert (tmp_path / name).read_bytes() == first
