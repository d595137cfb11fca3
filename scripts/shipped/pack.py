"""Put a trained network into the package: what it expects of pictures in front, numbers in half precision.

Usage: python scripts/shipped/pack.py NAME TRAINED.safetensors DATA

NAME is pictures or digits. The network is tried on DATA's test part before and after, and docs/our_network.md gets its
confusion matrix.
"""

import re
import sys
from pathlib import Path

import torch

from blockprop.data.dataset import Dataset
from blockprop.data.reading import read_data
from blockprop.engine.network import Network
from blockprop.networks.shipped import shipped
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load, save
from blockprop.training.evaluation import predict

ROOT = Path(__file__).parents[2]
PREPROCESSING = {
    "pictures": Preprocessing(shorter_side=32),
    "digits": Preprocessing(shorter_side=28, channels="gray"),
}
DOCUMENT = ROOT / "docs" / "our_network.md"


def main() -> None:
    name, trained, data = sys.argv[1:]
    network = load(trained)
    test = read_data(data).test
    assert test is not None
    before = confusion(network, test)
    classes = list(network.meta["classes"])
    shape = network.meta["shape"]
    network.meta = {"architecture": name, "shape": shape, "free": {network.inputs[0]: [0, 2, 3]}}
    ready = with_preprocessing(network, PREPROCESSING[name], classes)
    ready.meta |= {"shape": shape}
    save(ready.to(dtype=torch.float16), ROOT / "blockprop" / "networks" / "shipped" / f"{name}.safetensors")
    found = confusion(shipped(name), test)
    for title, matrix in (("as trained", before), ("as shipped", found)):
        print(f"{title}: {int(matrix.trace()):,} of {int(matrix.sum()):,} right, {accuracy(matrix):.2%}")
    write(name, found, classes)


def confusion(network: Network, test: Dataset) -> torch.Tensor:
    """How many pictures of class i (row) the network takes for class j (column)."""
    assert test.y is not None
    guesses = predict(network, test.x).argmax(1)
    count = len(test.classes or ())
    return torch.bincount(test.y * count + guesses, minlength=count * count).view(count, count)


def accuracy(matrix: torch.Tensor) -> float:
    return float(matrix.trace() / matrix.sum())


def write(name: str, matrix: torch.Tensor, classes: list[str]) -> None:
    """Put the matrix between its marks in the document."""
    rows = [["", *classes, "right"], ["---"] * (len(classes) + 2)]
    for i, row in enumerate(matrix.tolist()):
        rows.append([classes[i], *(str(count) if count else "·" for count in row), f"{row[i] / sum(row):.1%}"])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    told = f"{int(matrix.trace()):,} of {int(matrix.sum()):,} right: **{accuracy(matrix):.2%}**.\n\n{table}"
    text = DOCUMENT.read_text(encoding="utf-8")
    start, end = f"<!-- confusion of {name} -->", f"<!-- end of {name} -->"
    changed = re.sub(f"{start}.*{end}", lambda _: f"{start}\n{told}\n{end}", text, flags=re.S)
    assert changed != text or told in text, f"{DOCUMENT} lacks the marks of {name}"
    DOCUMENT.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
