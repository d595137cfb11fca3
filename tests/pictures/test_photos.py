"""How photographs are read for a network."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.errors import DataError, SettingError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import read_photo, with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing, read_classes
from tests.conftest import DataFile
from tests.pictures.examples import classifier


def photo(path: Path, height: int, width: int, **options) -> tuple[Path, Image.Image]:
    """A file without losses, and the picture in it."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.save(path, **options)
    return path, image


def numbers(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize(
    ("height", "width", "settings", "scaled", "corner"),
    [
        (50, 80, Preprocessing(16, shorter_side=20), (20, 32), (2, 8)),
        (80, 50, Preprocessing(16, shorter_side=20), (32, 20), (8, 2)),
        (50, 80, Preprocessing(224), (256, 409), (16, 92)),  # 409.6 rounded down, (409 − 224) / 2 to even
        (10, 80, Preprocessing((8, 16), shorter_side=10), (10, 80), (1, 32)),  # covers 10 x 20
        (80, 10, Preprocessing((8, 16), shorter_side=10), (160, 20), (76, 2)),
        (30, 40, Preprocessing(None, shorter_side=15), (15, 20), (0, 0)),
    ],
)
def test_photographs_are_scaled_and_cut(
    tmp_path: Path,
    height: int,
    width: int,
    settings: Preprocessing,
    scaled: tuple[int, int],
    corner: tuple[int, int],
) -> None:
    path, image = photo(tmp_path / "photo.png", height, width)
    large = numbers(image.resize((scaled[1], scaled[0]), Image.Resampling.BILINEAR))
    height, width = settings.height_width or scaled
    top, left = corner
    x = read_photo(path, settings)
    assert torch.equal(x, large[:, :, top : top + height, left : left + width])
    assert x.shape == (1, 3, height, width)
    assert x.dtype == torch.float32
    assert x.is_contiguous()


def test_photographs_that_fit_already_stay_as_they_are(tmp_path: Path) -> None:
    path, image = photo(tmp_path / "photo.png", 16, 24)
    assert torch.equal(read_photo(path, Preprocessing((16, 24))), numbers(image))
    assert torch.equal(read_photo(path, Preprocessing()), numbers(image))
    assert not torch.equal(read_photo(path, Preprocessing((16, 24), shorter_side=20)), numbers(image))


def test_photographs_are_the_right_way_up_and_in_the_right_number_of_channels(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise
    path, image = photo(tmp_path / "photo.png", 16, 24, exif=turned)
    assert torch.equal(read_photo(path, Preprocessing()), numbers(image.transpose(Image.Transpose.ROTATE_270)))
    gray = read_photo(path, Preprocessing(8, channels="gray"))
    assert gray.shape == (1, 1, 8, 8)
    Image.new("L", (8, 8), 51).save(tmp_path / "gray.png")
    assert torch.allclose(read_photo(tmp_path / "gray.png", Preprocessing(8)), torch.full((1, 3, 8, 8), 0.2))


def test_what_is_no_photograph(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(DataError, match=r"text\.png: cannot be read as a picture"):
        read_photo(tmp_path / "text.png", Preprocessing())
    path, _ = photo(tmp_path / "line.png", 1, 40_000)
    with pytest.raises(DataError, match=r"line\.png: 40000 x 1 pixels are too long and thin"):
        read_photo(path, Preprocessing(224))
    with pytest.raises(SettingError, match="does not say what it expects of a picture"):
        read_photo(path, classifier())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right"), [("squeezenet1_1", (25, 31)), ("googlenet", (29, 31))])
def test_published_networks_know_real_photographs(name: str, right: tuple[int, int], data_file: DataFile) -> None:
    """As the authors of the shared data measured with another program: (first, among the first five) of 32."""
    files = {"squeezenet1_1": "squeezenet1_1", "googlenet": "googlenet_bvlc"}
    network = pretrained(name, data_file(f"weights/{files[name]}.safetensors"))
    network = with_preprocessing(network, classes=read_classes(data_file("imagenet_classes.txt")))
    with data_file("photos/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = [
        network(read_photo(data_file(f"photos/{row['file']}"), network)).topk(5).indices[0].tolist() for row in rows
    ]
    wanted = [int(row["class_index"]) for row in rows]
    first = sum(five[0] == number for five, number in zip(best, wanted, strict=True))
    among = sum(number in five for five, number in zip(best, wanted, strict=True))
    assert (first, among) == right
