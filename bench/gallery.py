"""The pictures of docs/gallery.md, each made by one command, from networks with published weights.

Usage: python bench/gallery.py [NAME...]      needs ../shared/data and scikit-image, whose sample pictures are shown
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from reporting import DATA

from blockprop import pretrained, save
from blockprop.cli import main as blockprop
from blockprop.pictures import read_classes, with_preprocessing

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
WEIGHTS = {"squeezenet": ("squeezenet1_1", "squeezenet1_1"), "googlenet": ("googlenet", "googlenet_bvlc")}
PHOTOS = ["cat.png", "espresso.png", "dahlia.png", "pavilion.png"]
CLASSES = ["goose", "strawberry", "junco", "zebra", "beacon", "monarch", "espresso", "volcano"]
GOOGLENET, SQUEEZENET = ["-n", "googlenet.safetensors"], ["-n", "squeezenet.safetensors"]

COMMANDS = {
    "saliency": ["saliency", *PHOTOS, *GOOGLENET, "-m", "gradient", "-m", "guided_grad_cam", "-m", "grad_cam"],
    "saliency_methods": ["saliency", "espresso.png", *GOOGLENET, "-m", "all"],
    "segment": ["segment", *PHOTOS, *GOOGLENET, "-m", "guided_grad_cam"],
    "sanity": ["sanity", "cat.png", *GOOGLENET],
    "classes": ["sheet", *CLASSES, *GOOGLENET, "--size", "224", "--steps", "256", "--columns", "4"],
    "layers": ["sheet", "layers", *GOOGLENET, "--size", "160"],
    "channels": ["sheet", "fire5:128-139", *SQUEEZENET, "--size", "128", "--columns", "6"],
    "diverse": [
        *("maximize", "goose", *GOOGLENET, "--count", "4", "--size", "192"),
        *("--diversity", "20", "--diversity-node", "inception_4c"),
    ],
}
"""What is typed for each picture, but for the name of the file."""


def photos() -> None:
    """Sample pictures of scikit-image (public domain) and scikit-learn (Creative Commons, by attribution)."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = {"cat": data.chelsea(), "espresso": data.coffee()}
    found |= {"dahlia": load_sample_image("flower.jpg"), "pavilion": load_sample_image("china.jpg")}
    for name, pixels in found.items():
        Image.fromarray(np.asarray(pixels)).save(f"{name}.png")


def networks() -> None:
    classes = read_classes(DATA.parent / "imagenet_classes.txt")
    for name, (architecture, file) in WEIGHTS.items():
        network = pretrained(architecture, DATA.parent / "weights" / f"{file}.safetensors")
        save(with_preprocessing(network, classes=classes), f"{name}.safetensors")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        photos()
        networks()
        for name in sys.argv[1:] or COMMANDS:
            assert blockprop([*COMMANDS[name], "--out", "picture.png"]) == 0
            Image.open("picture.png").convert("RGB").save(PICTURES / f"{name}.jpg", quality=86, optimize=True)


if __name__ == "__main__":
    main()
