"""`blockprop evaluate` and `blockprop predict`."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from blockprop.blocks import LogSoftmax, Softmax
from blockprop.commands.options import (
    Blocks,
    Device,
    Json,
    LossName,
    SavedNetwork,
    Source,
    Target,
    examples_for,
    load_network,
    loss_for,
)
from blockprop.console import say, show, show_table
from blockprop.dataset import Dataset
from blockprop.evaluation import evaluate as measure
from blockprop.evaluation import predict as outputs_for
from blockprop.files import require_writable, write_file
from blockprop.image_files import is_image
from blockprop.network import Network

EVALUATE_EPILOG = "Example:\n\nblockprop evaluate lenet.safetensors mnist.npz"
PREDICT_EPILOG = (
    "Examples:\n\n"
    "blockprop predict lenet.safetensors digit.png\n\n"
    "blockprop predict prices.safetensors new_cars.csv --out prices.csv"
)
SHOWN = 50
"""Rows of predictions that are printed at most."""


def evaluate(
    network: SavedNetwork,
    data: Source,
    target: Target = None,
    loss: LossName = None,
    own_blocks: Blocks = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Test a saved network: on the data's test part, or what was held out in training, or else on all."""
    net = load_network(network, own_blocks, device)
    examples, part = examples_for(net, data, target=target)
    found = measure(net, examples, loss_for(examples, loss))
    result: dict[str, Any] = {"network": network, "data": examples.name, "examples": len(examples), "part": part}
    result |= {"loss": found.value} | r_squared(net, examples)
    by_class: dict[str, float] = {}
    if found.accuracy is not None and examples.y is not None:
        result["accuracy"] = found.accuracy
        right = outputs_for(net, examples.x).argmax(1) == examples.y
        for number, name in enumerate(examples.classes or ()):
            if (examples.y == number).any():
                by_class[name] = float(right[examples.y == number].float().mean())
    if as_json:
        show(result | ({"accuracy_by_class": by_class} if by_class else {}), as_json)
        return
    show(result, as_json)
    if by_class:
        show_table(["class", "right"], [[name, f"{share:.2%}"] for name, share in by_class.items()])


def predict(
    network: SavedNetwork,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Pictures, or data as for `train`.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 3,
    out: Annotated[Path | None, typer.Option(help="A .csv file for all predictions.")] = None,
    own_blocks: Blocks = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say what a saved network makes of pictures or of the rows of a table."""
    net = load_network(network, own_blocks, device)
    if out is not None:
        require_writable(out)
    rows: list[dict[str, Any]] = []
    for source in [file for given in data for file in _files(given)]:
        examples, _ = examples_for(net, source, need_labels=False)
        names = [source] if len(examples) == 1 else [f"{source}:{i + 1}" for i in range(len(examples))]
        outputs = outputs_for(net, examples.x)
        rows += [_prediction(name, output, net, top) for name, output in zip(names, outputs, strict=True)]
    if out is not None:
        write_file(out, _csv(rows))
        say(f"{len(rows)} predictions are in {out}", as_json)
    if as_json:
        show({"network": network, "predictions": rows}, as_json)
    elif out is None:
        show_table(["example", "prediction"], [[row["example"], _answer(row)] for row in rows[:SHOWN]])
        if len(rows) > SHOWN:
            say(f"… and {len(rows) - SHOWN} more; --out predictions.csv writes all")


def r_squared(network: Network, examples: Dataset) -> dict[str, float]:
    """For numbers as targets: the share of their variance that the network explains, 1 − Σ(ŷ − y)² / Σ(y − ȳ)²."""
    if examples.classes is not None or examples.y is None:
        return {}
    y = examples.y.reshape(len(examples), -1)
    rest, whole = (outputs_for(network, examples.x) - y).square().sum(), (y - y.mean(0)).square().sum()
    return {"r_squared": float(1 - rest / whole)} if whole > 0 else {}


def _files(given: str) -> list[str]:
    """The pictures of a folder one by one, so that each prediction says which it is for; else what was given."""
    if not Path(given).is_dir():
        return [given]
    pictures = sorted(str(file) for file in Path(given).rglob("*") if is_image(file))
    return pictures or [given]


def _prediction(name: str, output: Tensor, network: Network, top: int) -> dict[str, Any]:
    classes = network.meta.get("classes")
    if not classes:
        return {"example": name, "values": output.flatten().tolist()}
    probabilities = _probabilities(output, network)
    best = probabilities.topk(min(top, len(probabilities)))
    ranked = [
        {"class": classes[int(number)], "probability": float(share)}
        for share, number in zip(best.values, best.indices, strict=True)
    ]
    return {"example": name, "classes": ranked}


def _probabilities(output: Tensor, network: Network) -> Tensor:
    last = network.nodes[-1].block
    if isinstance(last, Softmax):
        return output
    return output.exp() if isinstance(last, LogSoftmax) else output.softmax(0)


def _answer(row: dict[str, Any]) -> str:
    if "values" in row:
        return ", ".join(f"{value:.6g}" for value in row["values"])
    return ", ".join(f"{found['class']} {found['probability']:.1%}" for found in row["classes"])


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows and "values" in rows[0]:
        writer.writerow(["example", *(f"value{i + 1}" for i in range(len(rows[0]["values"])))])
        writer.writerows([row["example"], *row["values"]] for row in rows)
    else:
        writer.writerow(["example", "class", "probability"])
        writer.writerows([row["example"], row["classes"][0]["class"], row["classes"][0]["probability"]] for row in rows)
    return text.getvalue()
