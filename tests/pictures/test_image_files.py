"""Pictures: what pixels come out, which way up, and files that are no pictures."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.data.reading import read_data
from blockprop.errors import DataError, SettingError
from blockprop.pictures.image_files import read_image

pytestmark = pytest.mark.filterwarnings("ignore::blockprop.errors.BlockpropWarning")
RED, GRAY = (255, 0, 0), 102


def picture(path: Path, color=RED, size: tuple[int, int] = (4, 3), **options) -> Path:
    """A picture of one color, size = (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture(tmp_path / "cat" / "1.png")
    picture(tmp_path / "cat" / "2.bmp", (0, 255, 51))
    picture(tmp_path / "dog" / "1.png", (0, 0, 255), (8, 8))
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / ".hidden.png").write_text("not a picture")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_one_folder_for_each_class(folder: Path) -> None:
    data = read_data(folder)
    assert data.test is None
    assert data.train.classes == ("cat", "dog")
    assert data.train.y.tolist() == [0, 0, 1]
    assert data.train.x.shape == (3, 3, 3, 4)
    assert data.train.x.dtype == torch.float32
    assert data.train.x[:, :, 2, 3].tolist() == [[1, 0, 0], [0, 1, pytest.approx(0.2)], [0, 0, 1]]


def test_gray_pictures_have_one_channel(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.pgm", "b/2.tif"):
        picture(tmp_path / name, GRAY)
    data = read_data(tmp_path)
    assert data.train.x.shape == (3, 1, 3, 4)
    assert torch.allclose(data.train.x, torch.tensor(0.4))


def test_size_and_channels_on_demand(folder: Path) -> None:
    assert read_data(folder, size=6, channels=1).train.x.shape == (3, 1, 6, 6)
    assert read_data(folder, size=(2, 5)).train.x.shape == (3, 3, 2, 5)
    with pytest.raises(SettingError, match="size of at least 1 x 1 pixels, got 0"):
        read_data(folder, size=0)
    with pytest.raises(SettingError, match=r"expected 1 \(gray\) or 3 \(RGB\) channels, got 2"):
        read_data(folder, channels=2)


def test_train_and_test_folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("both")
    folder.rename(root / "Train")
    picture(root / "test" / "dog" / "1.jpg", (0, 0, 255), (30, 30))
    data = read_data(root, test_fraction=0.5)
    assert len(data.train) == 3
    assert data.test.x.shape == (1, 3, 3, 4)
    assert data.test.y.tolist() == [1]
    assert data.test.classes == ("cat", "dog")
    picture(root / "test" / "eel" / "1.png")
    with pytest.raises(DataError, match="'eel' is not one of the known classes cat, dog"):
        read_data(root)


def test_settled_classes_keep_their_numbers(folder: Path) -> None:
    assert read_data(folder, classes=["ant", "dog", "cat"]).train.y.tolist() == [2, 2, 1]


def test_pictures_without_labels(folder: Path) -> None:
    data = read_data(folder / "cat", need_labels=False)
    assert data.train.y is None
    assert len(data.train) == 2
    assert read_data(folder / "cat" / "1.png", need_labels=False, size=2).train.x.shape == (1, 3, 2, 2)
    with pytest.raises(DataError, match="a single picture has no label"):
        read_data(folder / "cat" / "1.png")
    with pytest.raises(DataError, match="expected one folder for each class"):
        read_data(folder / "cat")


def test_the_camera_s_orientation_is_obeyed(tmp_path: Path) -> None:
    stored = Image.new("RGB", (4, 2))
    stored.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter: the upper left corner becomes the upper right
    stored.save(tmp_path / "p.png", exif=exif)
    pixels = read_image(tmp_path / "p.png")
    assert pixels.shape == (4, 2, 3)
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels.sum() == 3 * 255


def test_scaling_cuts_off_evenly(tmp_path: Path) -> None:
    stored = Image.new("L", (6, 2), 0)
    stored.paste(255, (2, 0, 4, 2))  # black, white, black: the middle is what remains
    stored.save(tmp_path / "p.png")
    data = read_data(tmp_path / "p.png", need_labels=False, size=2).train
    assert (data.x * 255).tolist() == [[[[255, 255], [255, 255]]]]


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255]]]
    Image.new("LA", (1, 1), (100, 255)).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").tolist() == [[100]]


def test_other_kinds_of_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.full((1, 1), 257 * 80, np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png").tolist() == [[80]]
    Image.new("1", (1, 1), 1).save(tmp_path / "bit.png")
    assert read_image(tmp_path / "bit.png").tolist() == [[255]]
    Image.new("RGB", (1, 1), RED).convert("P").save(tmp_path / "palette.gif")
    assert read_image(tmp_path / "palette.gif").shape == (1, 1, 3)
    assert read_image(tmp_path / "palette.gif", channels=1).tolist() == [[76]]  # 0.299 · 255


def test_gray_and_colored_ones_do_not_mix_by_themselves(folder: Path) -> None:
    picture(folder / "dog" / "2.png", GRAY)
    with pytest.raises(DataError, match=r"2\.png is gray, but .*1\.png is colored; pass channels=1 or channels=3"):
        read_data(folder)
    assert read_data(folder, channels=3).train.x.shape == (4, 3, 3, 4)


def test_an_empty_class_folder_is_refused(folder: Path) -> None:
    (folder / "eel").mkdir()
    with pytest.raises(DataError, match=r"eel: expected pictures of the class 'eel', found none; put some there, or"):
        read_data(folder)
    (folder / "eel" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"found none \(but notes\.txt\); put some there, or remove the folder"):
        read_data(folder)


def test_damaged_pictures_are_named(folder: Path) -> None:
    for name in ("2.png", "2.jpg", "2.gif", "2.bmp", "2.webp", "2.tif", "2.ppm"):
        path = picture(folder / "dog" / name, size=(40, 40))
        content = path.read_bytes()
        for broken in (content[: len(content) // 2], b"", b"no picture"):
            path.write_bytes(broken)
            with pytest.raises(DataError, match=r"dog/2\.\w+: cannot be read as a picture"):
                read_data(folder)
        path.unlink()


def test_decompression_bombs_are_refused(tmp_path: Path) -> None:
    for side in (10_001, 12_000, 60_000):
        path = tmp_path / "a" / "bomb.png"
        path.parent.mkdir(exist_ok=True)
        head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
        body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        with pytest.raises(DataError, match=r"bomb\.png: cannot be read as a picture \(.*pixels"):
            read_data(tmp_path)


def test_too_many_large_pictures_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockprop.data.image_folders.LARGEST_SET", 100)
    with pytest.raises(DataError, match="3 pictures of 4 x 3 need too much memory; pass a smaller size="):
        read_data(folder)


def test_formats_that_start_other_programs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a" / "1.png"
    path.parent.mkdir()
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        read_data(tmp_path)
