"""A file that names operators of torch is loaded only if one says so."""

from pathlib import Path

import pytest
import torch
import typer

from blockprop import Network, build_network, load, save
from blockprop.blocks import Flatten, Linear
from blockprop.cli import app, main
from blockprop.engine.plan import Node
from blockprop.errors import FormatError, SettingError
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


def test_how_many_parts_are_made_is_bounded() -> None:
    """A million parts of nothing take seconds."""
    x = {"input": 0}
    for title in ("aten.tensor_split.sections", "aten.chunk.default"):
        Opaque(title, [x, 4])
        with pytest.raises(SettingError, match="may be 10,000 at most, came 1000000"):
            Opaque(title, [x, 1_000_000])
