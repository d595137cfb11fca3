"""Files of all kinds, damaged, and read as a user would: what comes of each, with its time and memory.

A case follows from its number and the seed alone. `tried` runs them in a process that may die.
"""

import contextlib
import functools
import gzip
import io
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from blockprop import blocks
from blockprop.cli import main
from blockprop.commands.parsing import constants_named
from blockprop.data.reading import read_data
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError
from blockprop.importers import from_onnx
from blockprop.interop.opaque import Opaque
from blockprop.pictures.picture_files import read_picture, write_picture
from blockprop.pictures.provenance import how_made
from blockprop.saving.storage import load, save
from tests.commands.running import small
from tests.importers import onnx_mutations
from tests.importers.onnx_models import MODELS
from tests.trust import damaged_states, mutations

Damage = Callable[[bytes, random.Random], bytes]
WORDS = "should not have happened"


class Kind(NamedTuple):
    """A kind of file: its originals by name, how it is damaged, and what a user does with it; that may raise errors."""

    originals: Callable[[Path], None]
    damage: Damage
    use: Callable[[Path], Any]


def command(*arguments: str) -> None:
    """Run a command; AssertionError if it says that something should not have happened."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main(list(arguments))
    if WORDS in said.getvalue() or "Traceback" in said.getvalue():
        raise AssertionError(said.getvalue()[-500:])
    if code:
        raise BlockpropError(said.getvalue())


def _networks(folder: Path) -> None:
    torch.manual_seed(0)
    save(small(), folder / "cnn.safetensors")
    nodes = {"rnn": (blocks.LSTM(4, 3), "x"), "last": (blocks.Slice(1, -1), "rnn[0]")}
    nodes |= {"flat": (blocks.Flatten(), "last"), "fc": (blocks.Linear(3, 2), "flat")}
    save(Network([Node(name, block, (x,)) for name, (block, x) in nodes.items()]), folder / "lstm.safetensors")
    sized = {"pad": blocks.Pad((1, "a3+1")), "resize": blocks.Resize(scale=2.0), "view": blocks.Reshape(("a1*a2", -1))}
    sized |= {"t": blocks.Transpose((0, 2, 1)), "sum": blocks.Sum((1,)), "units": blocks.Affine(2.0, 1.0)}
    save(Sequential(sized), folder / "sized.safetensors")


def _opaque(folder: Path) -> None:
    x: Any = {"input": 0}
    nodes = {
        "cumsum": Opaque("aten.cumsum.default", [x, 1]),
        "pad": Opaque("aten.constant_pad_nd.default", [x, [1, 2]]),
    }
    save(Sequential(nodes), folder / "opaque.safetensors")


def _use_network(path: Path, opaque: bool = False) -> None:
    network = load(path, opaque=opaque)
    repr(network)
    shape = network.meta.get("shape")
    for given in ((1, 3, 24, 24), (2, 4, 4), tuple(shape) if isinstance(shape, list) else (2, 3)):
        try:
            trace = network.forward(torch.zeros([size for size in given if isinstance(size, int) and 0 < size < 99]))
        except BlockpropError:
            continue
        network.backward(trace, {key: torch.ones_like(trace[key]) for key in network.outputs}, "inputs")
    if path.stat().st_size % 4 == 0:
        command("info", str(path), *(["--opaque"] if opaque else []))


def _onnx(folder: Path) -> None:
    for name, make in MODELS.items():
        (folder / f"{name.replace(' ', '_')}.onnx").write_bytes(make().SerializeToString())


def _pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (33, 41, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "a.jpg", exif=exif)
    image.save(folder / "a.webp")
    image.save(folder / "a.bmp")
    image.save(folder / "a.tiff", compression="tiff_lzw")
    image.convert("I;16").save(folder / "deep.tif")
    image.save(folder / "a.gif", save_all=True, append_images=[image.rotate(90 * i) for i in range(3)])


def _png(folder: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (33, 41, 4), np.uint8))
    image.save(folder / "a.png")
    image.convert("P").save(folder / "p.png")
    image.save(folder / "moving.png", save_all=True, append_images=[image.rotate(90)])
    write_picture(folder / "deep.png", torch.rand(3, 20, 30), bits=16)


def _use_picture(path: Path) -> None:
    read_picture(path, longest=64 if path.stat().st_size % 2 else None)
    if path.stat().st_size % 8 == 0:
        command("predict", "net.safetensors", str(path))
    if path.stat().st_size % 8 == 1:
        command("replay", str(path))


def _made(folder: Path) -> None:
    network = load("net.safetensors")
    shared = {
        "network": "net.safetensors",
        "size": "24",
        "rate": 0.05,
        "canvas": "fourier",
        "transforms": ["Jitter(2)"],
    }
    shared |= {"l2": None, "total_variation": None, "doubt": 3.0, "output": None, "roomy": False}
    every: dict[str, dict[str, Any]] = {
        "maximize": {**shared, "targets": ["gray wolf"], "pictures": [], "start": "noise", "steps": 2, "count": 1},
        "sheet": {**shared, "targets": ["0-1"], "most": 20, "steps": 1, "at_once": 4, "columns": None},
        "saliency": {
            "pictures": ["photo.png"],
            "targets": ["top"],
            "methods": ["smooth_grad"],
            "samples": 2,
            "sigma": 0.1,
        },
        "segment": {"pictures": ["photo.png"], "target": "top", "method": "gradient", "rounds": 1, "samples": 1},
        "dream": {"pictures": ["photo.png"], "layers": ["relu1"], "steps": 1, "octaves": 1, "frames": 1, "tile": 64},
        "stylize": {"pictures": ["photo.png"] * 2, "weights": [1.0], "size": 24, "steps": 1, "scales": 1, "masks": 0},
    }
    every["stylize"] |= {"content_layers": ["relu1"], "style_layers": ["relu1=2"], "style_scale": 1.0}
    for name, arguments in every.items():
        pictures = ["photo.png"] if arguments.get("pictures") else []
        how = how_made(name, {"network": "net.safetensors", **arguments}, 0, network, pictures)
        (folder / f"{name}.json").write_text(json.dumps(how))


def _in_settings(content: bytes, rng: random.Random) -> bytes:
    how = json.loads(content)
    mutations.in_document(how if rng.random() < 0.15 else how["arguments"], rng)
    return mutations.dumped(how).encode()


def _use_settings(path: Path) -> None:
    try:
        write_picture("replayed.png", torch.rand(3, 24, 24), json.loads(path.read_bytes()))
    except (BlockpropError, RecursionError, ValueError):
        return
    with contextlib.suppress(BlockpropError):
        command("replay", "replayed.png", "--show")
    command("replay", "replayed.png", "--out", "again.png")


def _tables(folder: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.random(60).round(3), "when": pd.date_range("2024-01-01", periods=60)})
    frame = frame.assign(color=rng.choice(["red", "green", "blue"], 60), price=rng.integers(0, 999, 60))
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.tsv", index=False, sep="\t")


def _parquet(folder: Path) -> None:
    _tables(folder)
    pd.read_csv(folder / "t.csv").to_parquet(folder / "t.parquet")
    for other in ("t.csv", "t.tsv"):
        (folder / other).unlink()


def _use_data(path: Path) -> None:
    data = read_data(path, test_fraction=0.2, warn=False)
    assert torch.isfinite(data.train.x).all()


def _npz(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 1, 6, 6), np.float32), rng.integers(0, 3, 20)
    np.savez(folder / "a.npz", x=x, y=y)
    np.savez_compressed(folder / "b.npz", x_train=x, y_train=y, x_test=x, y_test=y, classes=np.array(["a", "b", "c"]))


def _npy(folder: Path) -> None:
    np.save(folder / "k.npy", np.arange(12, dtype=np.float32).reshape(3, 4))


def _idx(folder: Path) -> None:
    pixels = np.arange(5 * 16, dtype=np.uint8).tobytes()
    (folder / "train-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">III", 5, 4, 4) + pixels)
    packed = gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">III", 5, 4, 4) + pixels)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(packed)


def _use_folder(path: Path) -> None:
    root = path.parent / "classes"
    shutil.rmtree(root, ignore_errors=True)
    for i, name in enumerate(("a", "a", "b", "b")):
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path if i == 1 else "photo.png", root / name / f"{i}{path.suffix if i == 1 else '.png'}")
    read_data(root, size=16, warn=False, skip_unreadable=bool(path.stat().st_size % 2))


def _configs(folder: Path) -> None:
    lines = ['command = "predict"', "top = 2", 'preprocessing = "imagenet"', "data = ['net.safetensors', 'photo.png']"]
    (folder / "a.toml").write_text("\n".join(lines[:2] + lines[3:]))
    lines = [
        'network = "net.safetensors"',
        "photo = ['photo.png']",
        "samples = 2",
        "method = ['smooth_grad']",
        "sigma = 0.2",
    ]
    (folder / "saliency.toml").write_text("\n".join(lines))


def _use_config(path: Path) -> None:
    command("saliency" if "saliency" in path.name else "predict", "--config", str(path), "--json")


def _preprocessings(folder: Path) -> None:
    settings = {
        "size": 16,
        "range": 1.0,
        "mean": [0.5, 0.5, 0.5],
        "scale": 2.0,
        "channels": "RGB",
        "classes": ["a", "b"],
    }
    (folder / "model.json").write_text(json.dumps(settings | {"shorter_side": 18, "classes": "names.txt"}))
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (folder / "model.toml").write_text("\n".join(lines))


def _in_preprocessing(content: bytes, rng: random.Random) -> bytes:
    if content.startswith(b"{") and rng.random() < 0.7:
        return mutations.dumped(mutations.in_document(json.loads(content), rng)).encode()
    return mutations.in_text(content, rng)


def _use_preprocessing(path: Path) -> None:
    (path.parent / "names.txt").write_text("a\nb\n")
    bare: Network = Sequential(
        {"conv": blocks.Conv2d(3, 2, 3), "pool": blocks.GlobalAvgPool(), "flat": blocks.Flatten()}
    )
    save(bare, "bare.safetensors")
    command("predict", "bare.safetensors", "photo.png", "--preprocessing", str(path))


KINDS: dict[str, Kind] = {
    "networks": Kind(_networks, mutations.in_safetensors, _use_network),
    "networks with opaque nodes": Kind(_opaque, mutations.in_safetensors, functools.partial(_use_network, opaque=True)),
    "ONNX files": Kind(_onnx, onnx_mutations.damaged, from_onnx),
    "pictures": Kind(_pictures, mutations.in_bytes, _use_picture),
    "PNG pictures": Kind(_png, mutations.in_png, _use_picture),
    "settings for replay": Kind(_made, _in_settings, _use_settings),
    "tables of text": Kind(_tables, mutations.in_text, _use_data),
    "parquet tables": Kind(_parquet, mutations.in_bytes, _use_data),
    "npz archives": Kind(_npz, mutations.in_npz, _use_data),
    "npy arrays": Kind(_npy, mutations.in_npy, lambda path: constants_named([f"k={path}"])),
    "IDX files": Kind(_idx, mutations.in_bytes, functools.partial(read_data, need_labels=False, warn=False)),
    "folders of pictures": Kind(_pictures, mutations.in_bytes, _use_folder),
    "states": Kind(damaged_states.states, mutations.in_safetensors, damaged_states.use_state),
    "checkpoints": Kind(damaged_states.checkpoints, mutations.in_safetensors, damaged_states.use_checkpoint),
    "settings files": Kind(_configs, mutations.in_text, _use_config),
    "preprocessing files": Kind(_preprocessings, _in_preprocessing, _use_preprocessing),
}


def prepare() -> None:
    """The network and the photograph that commands take, and a folder of originals for each kind, in this folder."""
    torch.set_num_threads(1)
    save(small(), "net.safetensors")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 30, 3), np.uint8)).save("photo.png")
    for name, kind in KINDS.items():
        Path(name).mkdir()
        kind.originals(Path(name))
