"""A file that names operators of torch is loaded only if one says so."""

from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import Tensor

from blockprop import Network, build_network, load, save
from blockprop.blocks import Flatten, Linear
from blockprop.cli import app, main
from blockprop.engine.plan import Node
from blockprop.errors import FormatError, ShapeError
from blockprop.interop.opaque import Opaque

READ_NO_NETWORK = {"import", "demo"}


def network(count: int = 2) -> Network:
    block = Opaque("aten.cumsum.default", [{"input": 0}, 1])
    nodes = [Node(f"odd{i}", block, (f"odd{i - 1}" if i else "flat",)) for i in range(count)]
    meta = {"shape": [1, 8, 8], "classes": ["a", "b"]}
    flat = [Node("flat", Flatten(), ("x",)), Node("fc", Linear(64, 2), (f"odd{count - 1}",))]
    return Network([*flat, *nodes], meta=meta)


@pytest.mark.parametrize("name", ["net", "net.safetensors"])
def test_it_is_refused_by_node_unless_the_flag_is_given(name: str, tmp_path: Path) -> None:
    save(network(), tmp_path / name)
    with pytest.raises(FormatError, match=r"at the nodes 'odd0', 'odd1'; opaque=True allows it"):
        load(tmp_path / name)
    with pytest.raises(FormatError, match="opaque=True"):
        build_network(tmp_path / name, (1, 8, 8), 2)
    assert load(tmp_path / name, opaque=True)(torch.ones(1, 1, 8, 8)).shape == (1, 2)
    assert build_network(tmp_path / name, (1, 8, 8), 2, opaque=True)(torch.ones(1, 1, 8, 8)).shape == (1, 2)
    save(network(8), tmp_path / name)
    with pytest.raises(FormatError, match=r"'odd4' and 3 more; opaque"):
        load(tmp_path / name)


def test_the_command_line_names_its_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(network(), tmp_path / "net.safetensors")
    path = str(tmp_path / "net.safetensors")
    assert main(["info", path]) != 0
    said = capsys.readouterr().err
    assert "--opaque allows it" in said
    assert "opaque=True" not in said
    assert main(["info", path, "--opaque"]) == 0


def test_each_command_that_reads_a_network_has_the_option() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        options = {text for param in command.params for text in param.opts}
        if "--blocks" in options:
            assert "--opaque" in options, name


X = {"input": 0}
MANY = {
    "aten.tensor_split.sections": [X, 1_000_000],
    "aten.tensor_split.tensor_indices_or_sections": [X, {"input": 1}],
    "aten.chunk.default": [X, 1_000_000],
    "aten.unbind.int": [X, 0],
    "aten.split.Tensor": [X, 1],
}


@pytest.mark.parametrize("title", MANY)
def test_how_many_parts_are_made_is_bounded(title: str) -> None:
    """A million parts of nothing take seconds, and a file may make an axis of any length out of one number."""
    count = torch.tensor(1_000_000)
    for x in (torch.zeros(1_000_000, 0), torch.zeros(1, 1).expand(1_000_000, 1)):
        with pytest.raises(ShapeError, match="would make 1,000,000 tensors; 10,000 are allowed"):
            Opaque(title, MANY[title]).forward(x, *[count] * ("tensor_indices" in title))


def test_parts_in_a_formula_are_bounded() -> None:
    with pytest.raises(ShapeError, match="would make 3,000,000 tensors"):
        Opaque("aten.tensor_split.sections", [X, {"size": "a0*1000000"}]).forward(torch.zeros(3, 0))


@pytest.mark.parametrize(
    ("title", "arguments", "inputs", "size"),
    [
        ("one_hot.default", [X], [torch.full((4,), 10**12)], "32000.0 GB"),
        ("repeat_interleave.Tensor", [X], [torch.full((4,), 10**12)], "32000.0 GB"),
        ("repeat_interleave.self_Tensor", [X, {"input": 1}], [torch.ones(2, 3), torch.tensor(10**12)], "48000.0 GB"),
        ("repeat_interleave.self_Tensor", [X, {"input": 1}, 0], [torch.ones(2, 3), torch.full((2,), 10**12)], "48000"),
    ],
)
def test_sizes_that_follow_from_numbers_are_bounded(
    title: str, arguments: list[Any], inputs: list[Tensor], size: str
) -> None:
    block = Opaque(f"aten.{title}", arguments)
    with pytest.raises(ShapeError, match=f"would make a tensor of {size}"):
        block.forward(*inputs)
    few = [x.clamp(max=2) for x in inputs]
    assert block(*few).numel() in (8, 12)
