"""`blockprop import`: a torch module, an ONNX file or published weights as a network of blocks."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockprop.commands import choices
from blockprop.commands.console import say, show, watched_bytes
from blockprop.commands.options import Json, PreprocessingOption
from blockprop.commands.parsing import constants_named, shape_named
from blockprop.commands.results import place
from blockprop.errors import SettingError, suggestion

if TYPE_CHECKING:
    from blockprop.engine.network import Network


EPILOG = (
    "Examples:\n\n"
    "blockprop import squeezenet.onnx -o squeezenet.safetensors\n\n"
    "blockprop import googlenet --weights weights.safetensors --classes names.txt -o googlenet.safetensors\n\n"
    "blockprop import my_net.py:build --shape 3,224,224 -o my_net.safetensors\n\n"
    "blockprop import resnet18 --fetch -o resnet18.safetensors\n\n"
    "What the model expects of a picture is read from --preprocessing, or from a .json or .toml file of its name "
    "beside it:\n\n"
    '{"size": 224, "range": 255, "mean": [104, 117, 123], "channels": "BGR", "classes": "names.txt"}'
)


def import_(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An .onnx file; my_net.py:build, a function that returns a torch.nn.Module; a network by name with "
            f"its --weights ({', '.join(choices.ARCHITECTURES)}); or a published one with --fetch "
            f"({', '.join(choices.PUBLISHED)}).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to save the network (.safetensors, or a folder).")],
    weights: Annotated[str | None, typer.Option(help="For a network by name: its safetensors file.")] = None,
    until: Annotated[str | None, typer.Option(help="For vgg19: its last layer, such as conv4_1.")] = None,
    shape: Annotated[
        str | None,
        typer.Option(help="One example's shape, such as 3,224,224; those of several inputs between semicolons."),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="5,17,3",
            help="For a torch module that takes tokens: an example of them in place of --shape; those of several "
            "inputs between semicolons.",
        ),
    ] = None,
    preprocessing: PreprocessingOption = None,
    classes: Annotated[str | None, typer.Option(help="A text file with the name of a class on each line.")] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--constant",
            metavar="NAME=VALUE",
            help="For an ONNX file: a fixed value for an input, such as training=false, mean=104,117,123, k=k.npy; "
            "again for others.",
        ),
    ] = None,
    opaque: Annotated[
        bool, typer.Option("--opaque", help="Keep operators without a block, with torch's own backward pass.")
    ] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download a published network, once, into the cache.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a torch module, an ONNX file or published weights into a network of blocks."""
    from blockprop.commands.preprocessing import with_picture
    from blockprop.interop.opaque import Opaque
    from blockprop.saving.storage import require_place, save

    out = place(out)
    require_place(out)
    start = time.perf_counter()
    fixed = constants_named(constants or [])
    network, file = _read(model, weights, until, shape, tokens, fixed, opaque, fetch, as_json)
    network = with_picture(network, file, preprocessing, classes, as_json)
    save(network, out)
    result = {
        "network": str(out),
        "nodes": len(network.nodes),
        "parameters": sum(tensor.numel() for tensor in network.parameters.values()),
        "seconds": time.perf_counter() - start,
    }
    hidden = [node.name for node in network.nodes if isinstance(node.block, Opaque)]
    notes = network.meta.get("notes") or []
    result |= {"opaque": hidden if as_json else ", ".join(hidden)} if hidden else {}
    show(result | ({"notes": notes} if notes and as_json else {}), as_json)
    for note in notes:
        say(note, as_json)
    if not network.meta.get("picture") and len(network.meta.get("shape") or []) == 3:
        say(
            "what it expects of a picture is not known; --preprocessing imagenet, caffe or FILE says it, here or for "
            "`predict` and its like",
            as_json,
        )


def _read(
    model: str,
    weights: str | None,
    until: str | None,
    shape: str | None,
    tokens: str | None,
    constants: dict[str, Any],
    opaque: bool,
    fetch: bool,
    quiet: bool,
) -> tuple[Network, str | None]:
    """(network, file that it came from)"""
    from blockprop.importers import from_onnx
    from blockprop.networks.architectures import ARCHITECTURES
    from blockprop.networks.published import PUBLISHED
    from blockprop.networks.python_files import names_python
    from blockprop.networks.weights import pretrained

    if constants and not model.endswith(".onnx"):
        raise SettingError(f"--constant is for inputs of ONNX files, which {model} is not")
    if names_python(model):
        file = model.rpartition(":")[0] or model
        say(f"the code of {file} runs, as with `python {file}`", quiet)
        return _from_module(model, shape, tokens, opaque), file
    if tokens is not None:
        raise SettingError(f"--tokens is for torch modules, my_net.py:build, which {model} is not")
    if weights is not None:
        return pretrained(model, weights, **({"until": until} if until else {})), weights
    if fetch or (model in PUBLISHED and not Path(model).exists()):
        return _published(model, fetch, quiet)
    path = Path(model)
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        raise SettingError(
            f"{model}: a pickled torch file can run any code, so it is not opened; import the module itself with "
            "my_net.py:build, or export it to ONNX"
        )
    if model in ARCHITECTURES and not path.exists():
        raise SettingError(f"{model}: pass the file with its weights, --weights FILE.safetensors")
    if path.suffix == ".safetensors":
        raise SettingError(
            f"{model} holds tensors and says nothing of a graph: name its architecture, such as "
            f"`import squeezenet1_1 --weights {model}`, of {', '.join(ARCHITECTURES)}"
        )
    if not path.exists():
        near = suggestion(model, {**ARCHITECTURES, **PUBLISHED})
        raise SettingError(f"{model}: there is no such file, and no network of that name{near}")
    shapes = [(None, *shape_named(part)) for part in shape.split(";")] if shape else None
    return from_onnx(path, shapes, constants), model


def _from_module(spec: str, shape: str | None, tokens: str | None, opaque: bool) -> Network:
    import torch
    from torch import nn

    from blockprop.commands.tokens import one_batch_of_tokens
    from blockprop.importers import from_torch
    from blockprop.networks.python_files import call_in

    module = call_in(spec, "build")
    if not isinstance(module, nn.Module):
        raise SettingError(f"{spec}: expected a torch.nn.Module, the function returned a {type(module).__name__}")
    if (shape is None) == (tokens is None):
        raise SettingError(
            "a torch module does not know its input: pass one example's shape, --shape 3,224,224, or, if it takes "
            "tokens, an example of them, --tokens 5,17,3"
        )
    if tokens is None:
        example = [torch.randn(2, *shape_named(part)) for part in str(shape).split(";")]
    else:
        example = [one_batch_of_tokens(part).repeat(2, 1) for part in tokens.split(";")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opaque nodes are listed in the result
        return from_torch(module, example, training=False, opaque=opaque)


def _published(name: str, fetch: bool, quiet: bool) -> tuple[Network, str | None]:
    from blockprop.importers import from_onnx
    from blockprop.networks.architectures import ARCHITECTURES
    from blockprop.networks.fetching import cache_folder, fetch_published
    from blockprop.networks.published import PUBLISHED

    if name not in PUBLISHED:
        raise SettingError(f"nothing is published here as {name!r}{suggestion(name, PUBLISHED)}")
    published = PUBLISHED[name]
    if not fetch and not (cache_folder() / published.file).exists():
        your_own = "pass your own file with --weights, or " if name in ARCHITECTURES else ""
        raise SettingError(
            f"{name}: {your_own}pass --fetch to download it from {published.url} ({published.size / 1e6:.0f} MB), "
            f"or put it at {cache_folder() / published.file}"
        )
    with watched_bytes(f"Fetching {published.file}", quiet) as progress:
        path = fetch_published(name, progress=progress)
    network = from_onnx(path)
    return network, str(path)
