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
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.picture_files import read_picture
from blockprop.pictures.preprocessing import read_classes
from blockprop.pictures.sheets import sheet

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
WEIGHTS = {"squeezenet": ("squeezenet1_1", "squeezenet1_1"), "googlenet": ("googlenet", "googlenet_bvlc")}
VGG = {
    "vgg5": "vgg19_distilled16x_conv5_1",
    "vgg4": "vgg19_distilled16x_conv4_1",
    "vgg3": "vgg19_normalised_conv3_1",
}
PHOTOS = ["cat.png", "espresso.png", "dahlia.png", "pavilion.png"]
CLASSES = ["goose", "strawberry", "junco", "zebra", "beacon", "monarch", "espresso", "volcano"]
GOOGLENET, SQUEEZENET = ["-n", "googlenet.safetensors"], ["-n", "squeezenet.safetensors"]
OURS = ["-n", "pictures"]
WHOLE = ["--crop", "whole"]

COMMANDS = {
    "saliency": ["saliency", *PHOTOS, *GOOGLENET, *WHOLE, "-m", "gradient", "-m", "guided_grad_cam", "-m", "grad_cam"],
    "saliency_methods": ["saliency", "espresso.png", *GOOGLENET, *WHOLE, "-m", "all"],
    "segment": ["segment", *PHOTOS, *GOOGLENET, *WHOLE, "-m", "guided_grad_cam"],
    "sanity": ["sanity", "cat.png", *GOOGLENET, *WHOLE],
    "classes": ["sheet", *CLASSES, *GOOGLENET, "--size", "224", "--steps", "256", "--columns", "4"],
    "layers": ["sheet", "layers", *GOOGLENET, "--size", "160"],
    "channels": ["sheet", "fire5:128-139", *SQUEEZENET, "--size", "128", "--columns", "6"],
    "diverse": [
        *("maximize", "goose", *GOOGLENET, "--count", "4", "--size", "192"),
        *("--diversity", "20", "--diversity-node", "inception_4c"),
    ],
    "dream": ["dream", "sky.jpg", *GOOGLENET],
    "dream_texture": ["dream", "sky.jpg", *GOOGLENET, "-l", "inception_3b"],
    "dream_guided": ["dream", "sky.jpg", *GOOGLENET, "--guide", "flowers.jpg"],
    "dream_flowers": ["dream", "flowers.jpg", *GOOGLENET],
    "dream_noise": ["dream", "noise", *GOOGLENET, "--size", "512x384"],
    "our_classes": ["sheet", "classes", *OURS, "--columns", "5"],
    "our_dream": ["dream", "pavilion.png", *OURS],
    "our_style": ["stylize", "pavilion.png", "dahlia.png", *OURS],
}
"""What is typed for each picture, but for the name of the file."""
PAINTERS = {
    "SqueezeNet 1.1": SQUEEZENET,
    "GoogLeNet": GOOGLENET,
    "VGG-19 / 4 to conv5_1": ["-n", "vgg5.safetensors"],
    "VGG-19 / 4 to conv4_1": ["-n", "vgg4.safetensors"],
    "VGG-19 to conv3_1": ["-n", "vgg3.safetensors"],
}
"""VGG-19 / 4 has a quarter of its channels."""
PAINTINGS = ["starry_night", "the_scream", "great_wave", "shipwreck_minotaur", "cafe_terrace"]
STYLE_STEPS = "50"


def photos() -> None:
    """Sample pictures of scikit-image (public domain) and scikit-learn (Creative Commons), and the art."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = {"cat": data.chelsea(), "espresso": data.coffee()}
    found |= {"dahlia": load_sample_image("flower.jpg"), "pavilion": load_sample_image("china.jpg")}
    for name, pixels in found.items():
        Image.fromarray(np.asarray(pixels)).save(f"{name}.png")
    for path in sorted((DATA.parent / "art").glob("*.jpg")):
        name = path.name.removeprefix("deepdream_").removeprefix("content_").removeprefix("style_")
        Path(name).symlink_to(path)


def styles() -> None:
    """A sheet: each painting's style by each network."""
    tiles = [(read_picture(f"{name}.jpg", longest=512)[0], name.replace("_", " ")) for name in PAINTINGS]
    for title, network in PAINTERS.items():
        for name in PAINTINGS:
            out = f"{network[1]}_{name}.png"
            command = ["stylize", "tubingen.jpg", f"{name}.jpg", *network, "--steps", STYLE_STEPS]
            assert blockprop([*command, "-o", out]) == 0
            tiles.append((read_picture(out)[0], title))
    made = sheet(tiles, columns=len(PAINTINGS), side=280)
    Image.fromarray((made.permute(1, 2, 0) * 255).round().byte().numpy()).save(PICTURES / "styles.jpg", quality=84)


def networks() -> None:
    classes = read_classes(DATA.parent / "imagenet_classes.txt")
    for name, (architecture, file) in WEIGHTS.items():
        network = pretrained(architecture, DATA.parent / "weights" / f"{file}.safetensors")
        save(with_preprocessing(network, classes=classes), f"{name}.safetensors")
    for name, file in VGG.items():
        network = pretrained("vgg19", DATA.parent / "weights" / f"{file}.safetensors")
        save(with_preprocessing(network), f"{name}.safetensors")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        photos()
        networks()
        for name in sys.argv[1:] or [*COMMANDS, "styles"]:
            if name == "styles":
                styles()
                continue
            assert blockprop([*COMMANDS[name], "--out", "picture.png"]) == 0
            Image.open("picture.png").convert("RGB").save(PICTURES / f"{name}.jpg", quality=86, optimize=True)


if __name__ == "__main__":
    main()
