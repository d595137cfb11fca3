"""What the tests of commands find: a folder of their own, and what commands are run on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blockprop.saving.storage import save
from tests.commands.running import PHOTO, small


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def network_and_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    """net.safetensors, which commands take by default, and a red disc on green, 60 x 40."""
    save(small(), "net.safetensors")
    monkeypatch.setenv("BLOCKPROP_NETWORK", "net.safetensors")
    y, x = np.mgrid[:40, :60]
    pixels = np.full((40, 60, 3), (40, 160, 60), np.uint8)
    pixels[(y - 20) ** 2 + (x - 25) ** 2 < 120] = (220, 30, 40)
    Image.fromarray(pixels).save(PHOTO)


@pytest.fixture
def network_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """net.safetensors, which commands take by default, two pictures and two masks, 60 x 40."""
    monkeypatch.setenv("BLOCKPROP_NETWORK", "net.safetensors")
    save(small(), "net.safetensors")
    y, x = np.mgrid[:40, :60]
    waves = np.stack([np.sin(x / 3 + shift) * 100 + 128 for shift in (0, 1, 2)], 2).astype(np.uint8)
    Image.fromarray(waves).save("waves.png")
    hills = np.stack([x * 4, y * 5, 255 - x * 3], 2).astype(np.uint8)
    Image.fromarray(hills).save("photo.png")
    half = np.where(x < 30, 255, 0).astype(np.uint8)
    Image.fromarray(half).save("left.png")
    Image.fromarray(255 - half).save("right.png")
