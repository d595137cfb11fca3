"""`blockprop predict`: what a saved network makes of photographs or of the rows of a table."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockprop.commands.console import LONG, counted, say, say_all, show, show_table
from blockprop.commands.options import (
    SHIPPED,
    Blocks,
    Device,
    Json,
    NetworkOption,
    OpaqueNodes,
    PreprocessingOption,
    one_network,
)
from blockprop.commands.photos import notes_of_parts
from blockprop.commands.picture_options import Crop, TokensOption
from blockprop.commands.results import place
from blockprop.commands.unreadable import passed_over, require_some
from blockprop.errors import DataError, NotFiniteError, SettingError, did_you_mean, shape

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network


EPILOG = (
    "Examples:\n\n"
    "blockprop predict lenet.safetensors digit.png\n\n"
    "blockprop predict squeezenet.safetensors cat.jpg holidays/\n\n"
    "blockprop predict prices.safetensors new_cars.csv --out prices.csv"
)
ROWS_SHOWN = 50
"""Rows of predictions that are printed at most."""
BAR = 20
"""Characters of a bar that stands for 100 %."""
NO_CLASSES = (
    "the network names no classes, so that its numbers are shown as they are; if they are scores of classes, "
    "`blockprop import --classes FILE` names these"
)
VALUES_SHOWN, LARGEST_SHOWN = 10, 3
"""Numbers of a network without classes that are printed: all if there are not more than so many, else so many."""
LEAST_NAME = 30
"""Characters of a class name that are always printed."""


def predict(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NETWORK] DATA",
            help=f"A saved network, by default {SHIPPED}, which come with blockprop; and photographs, folders of them, "
            "or data as for `train`.",
        ),
    ] = None,
    named: NetworkOption = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many classes to name; by default 5 for photographs, or else 3.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Whose output to show, if the network has several.")] = None,
    preprocessing: PreprocessingOption = None,
    tokens: TokensOption = None,
    crop: Crop = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A .csv file for all predictions.")] = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say what a saved network makes of photographs or of the rows of a table."""
    from blockprop.commands.inputs import is_network, load_network, network_for_data, network_for_photos
    from blockprop.commands.kinds import require_source
    from blockprop.commands.preprocessing import seeing
    from blockprop.commands.tokens import outputs_for_tokens
    from blockprop.pictures.image_kinds import is_image
    from blockprop.saving.files import require_writable, write_file

    data = data or []
    first, data = (data[0], data[1:]) if data and is_network(data[0]) else (None, data)
    network = one_network(first, named)
    if not data and tokens is None:
        raise SettingError("expected photographs or other data" + (f" after the network {network}" if network else ""))
    if tokens is not None and (data or network is None):
        raise SettingError("--tokens takes the place of data, and needs a network that takes tokens")
    notes: list[str] = []
    given = {path: _files(path, notes) for path in data}
    sources = [file for path in data for file in given[path]]
    in_folders = {file for path, files in given.items() for file in files if file != path}
    photos = [source for source in sources if is_image(Path(source))]
    if network is None:
        network = network_for_photos(photos) if photos else network_for_data(sources[0])
        say(f"the network is {network}; one before the data takes its place", as_json)
    net = with_one_output(load_network(network, own_blocks, device, opaque), output)
    for source in sources:
        require_source(net, source)
    net = seeing(net, network, preprocessing, bool(photos), as_json)
    if out is not None:
        out = place(out)
        require_writable(out)
    count = top or (5 if net.meta.get("picture") else 3)
    rows = []
    with counted("Looking", len(sources), as_json or len(sources) == 1, after=LONG) as advance:
        for source in sources:
            told: list[str] = []
            try:
                rows += _predictions(source, net, count, crop, told, as_json or len(sources) > 1)
            except DataError as error:
                if source not in in_folders:
                    raise
                passed_over(source, error)
                notes.append(str(error)) if as_json else None
            advance(Path(source).name)
            notes += [note if source in note or len(sources) == 1 else f"{source}: {note}" for note in told]
    require_some(", ".join(data), len(sources), len(rows))
    if tokens is not None:
        outputs = outputs_for_tokens(net, tokens, notes)
        rows = [_prediction(name, numbers, net, count) for name, numbers in outputs.items()]
    if photos and any("values" in row for row in rows):
        notes.append(NO_CLASSES)
    notes += notes_of_parts({row["example"]: row["seen"] for row in rows if "seen" in row})
    say_all(notes, as_json)
    if out is not None:
        write_file(out, _csv(rows))
        say(f"{len(rows)} predictions are in {out}", as_json)
    if as_json:
        show({"network": network, "predictions": rows, "notes": notes}, as_json)
    elif out is None:
        if net.meta.get("picture") and all("classes" in row for row in rows):
            _show_bars(rows[:ROWS_SHOWN])
        else:
            show_table(["example", "prediction"], [[row["example"], _answer(row)] for row in rows[:ROWS_SHOWN]])
        if len(rows) > ROWS_SHOWN:
            say(f"… and {len(rows) - ROWS_SHOWN} more; --out predictions.csv writes all")


def with_one_output(network: Network, name: str | None) -> Network:
    """The network with this output alone, or with its only one. SettingError if it is not clear which is meant."""
    from blockprop.engine.network import Network

    names = ", ".join(network.outputs)
    if name is None and len(network.outputs) > 1:
        raise SettingError(f"the network has {len(network.outputs)} outputs ({names}); choose one with --output NAME")
    if name is None:
        return network
    if name not in network.keys:
        raise SettingError(f"the network has no output {name!r}; its own: {names}{did_you_mean(name, network.keys)}")
    return Network(network.nodes, network.inputs, (name,), network.meta)


def _files(given: str, notes: list[str]) -> list[str]:
    """The pictures of a folder one by one, so that each prediction says which it is for; else what was given."""
    from blockprop.pictures.image_kinds import files_in, left_out

    folder = Path(given)
    if not folder.is_dir():
        return [given]
    pictures, others = files_in(folder)
    notes += left_out(others, folder) if pictures else []
    return [str(file) for file in pictures] or [given]


def _predictions(
    source: str, network: Network, top: int, crop: str | None, notes: list[str], quiet: bool
) -> list[dict[str, Any]]:
    """One row for each example of a source; what was odd in it goes to the notes."""
    from blockprop.commands.inputs import examples_for
    from blockprop.pictures.image_kinds import is_image
    from blockprop.training.evaluation import BATCH
    from blockprop.training.evaluation import predict as outputs_for

    if is_image(Path(source)):
        return [_of_photo(source, network, top, crop)]
    examples, _, told = examples_for(network, source, need_labels=False, crop=crop)
    notes += told
    names = [source]
    if examples.rows is not None:
        names = [f"{source}:{row}" for row in examples.rows.tolist()]
    elif len(examples) > 1:
        names = [f"{source}:{i + 1}" for i in range(len(examples))]
    with counted("Predicting", -(-len(examples) // BATCH), quiet, after=LONG) as advance:
        outputs = outputs_for(network, examples.x, progress=lambda: advance(""))
    return [_prediction(name, output, network, top) for name, output in zip(names, outputs, strict=True)]


def _of_photo(source: str, network: Network, top: int, crop: str | None) -> dict[str, Any]:
    from blockprop.engine.fitting import fitting
    from blockprop.pictures.framing import in_words, sight
    from blockprop.pictures.image_files import read_image
    from blockprop.pictures.photos import photo_of

    settings = sight(network, crop)
    pixels = read_image(Path(source), channels=settings.count)
    output = network(fitting(photo_of(pixels, settings, source), network)).cpu()
    if output.numel() != max(output.shape, default=1):
        name = network.outputs[0]
        raise SettingError(f"the output {name!r} is {shape(output)}, not one score for each class or number")
    return _prediction(source, output.flatten(), network, top) | {"seen": in_words(settings, *pixels.shape[:2])}


def _prediction(name: str, output: Tensor, network: Network, top: int) -> dict[str, Any]:
    from blockprop.visualize.objectives.scores import gives_classes

    if not output.isfinite().all():
        raise NotFiniteError(f"{name}: the network gives numbers that are not finite; is its preprocessing right?")
    classes = network.meta.get("classes") or []
    if output.numel() == 1 or not gives_classes(network, network.outputs[0], output.numel()):
        return {"example": name, "values": output.flatten().tolist()}
    best = probabilities(output.float(), network).topk(min(top, len(output)))
    ranked = [
        {"class": _class_name(int(number), classes), "number": int(number), "probability": float(share)}
        for share, number in zip(best.values, best.indices, strict=True)
    ]
    return {"example": name, "classes": ranked}


def _class_name(number: int, classes: list[str]) -> str:
    return (classes[number] if number < len(classes) else "") or str(number)


def probabilities(scores: Tensor, network: Network) -> Tensor:
    """The shares of the classes: softmax of one example's scores, unless the network itself ends with it.

    What only arranges the numbers anew may come after it.
    """
    from blockprop.blocks import Softmax
    from blockprop.visualize.objectives.scores import softmax_at

    node = softmax_at(network, network.outputs[0])
    if node is None:
        return scores.softmax(0)
    return scores if isinstance(node.block, Softmax) else scores.exp()


def _answer(row: dict[str, Any]) -> str:
    if "values" in row:
        return _numbers(row["values"])
    return ", ".join(f"{guess['class']} {guess['probability']:.1%}" for guess in row["classes"])


def _numbers(values: list[float]) -> str:
    """What a network without classes gives: all of its numbers, or the largest of many."""
    if len(values) <= VALUES_SHOWN:
        return ", ".join(f"{value:.6g}" for value in values)
    largest = sorted(range(len(values)), key=lambda i: -values[i])[:LARGEST_SHOWN]
    return f"{len(values):,} numbers, the largest " + ", ".join(f"{values[i]:.4g} (output {i})" for i in largest)


def _show_bars(rows: list[dict[str, Any]]) -> None:
    """Each photograph with its classes: share, bar, name; names are cut at the edge of the terminal."""
    space = max(shutil.get_terminal_size().columns - BAR - 13, LEAST_NAME)
    for i, row in enumerate(rows):
        print("\n" * (i > 0) + row["example"])
        for guess in row["classes"]:
            name, share = guess["class"], guess["probability"]
            name = name if len(name) <= space else name[: space - 1] + "…"
            print(f"{share:9.1%}  {_bar(share):{BAR}}  {name}")


def _bar(share: float) -> str:
    """A bar as long as the share, to an eighth of a character."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows and "values" in rows[0]:
        writer.writerow(["example", *(f"value{i + 1}" for i in range(len(rows[0]["values"])))])
        writer.writerows([row["example"], *row["values"]] for row in rows)
    else:
        ranks = range(1, 1 + max((len(row["classes"]) for row in rows), default=1))
        heads = [f"{head}{rank if rank > 1 else ''}" for rank in ranks for head in ("class", "probability")]
        writer.writerow(["example", *heads])
        for row in rows:
            best = [fact for guess in row["classes"] for fact in (guess["class"], guess["probability"])]
            writer.writerow([row["example"], *best])
    return text.getvalue()
