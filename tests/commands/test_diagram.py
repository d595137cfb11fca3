"""`blockprop diagram`: a network's dataflow graph."""

from pathlib import Path

import pytest
import torch

from blockprop.blocks import Add, Embedding, Parameter, ReLU
from blockprop.cli import main
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.saving.storage import save
from tests.commands.running import Output, run_json, sentence, train_digits


def test_diagrams(capsys: Output) -> None:
    result = run_json(capsys, "diagram", "lenet", "--out", "lenet.svg")
    assert result["nodes"] == 12
    assert ">6 × 28 × 28<" in Path("lenet.svg").read_text()
    train_digits(capsys)
    run_json(capsys, "diagram", "net.safetensors", "--data", "digits", "--out", "net.svg")
    assert "gradient" in Path("net.svg").read_text()


@pytest.mark.parametrize("command", ["diagram", "info"])
def test_a_network_without_an_input_has_shapes_all_the_same(command: str, capsys: Output) -> None:
    nodes = [Node("picture", Parameter(torch.zeros(1, 3, 5, 7)), ()), Node("relu", ReLU(), ("picture",))]
    save(Network(nodes, (), ("relu",)), "own.safetensors")
    result = run_json(capsys, command, "own.safetensors")
    if command == "diagram":
        assert "3 × 5 × 7" in Path(result["diagram"]).read_text()
    else:
        assert [node["shapes"] for node in result["nodes"]] == [[[1, 3, 5, 7]]] * 2
    assert "this network has none; leave it out" in sentence(capsys, command, "own.safetensors", "--shape", "3,5,7")


def test_networks_of_several_inputs_of_words_and_of_an_unknown_shape(capsys: Output) -> None:
    save(Network([Node("sum", Add(), ("a", "b"))], ("a", "b"), ("sum",)), "two.safetensors")
    save(Sequential({"words": Embedding(9, 4), "relu": ReLU()}), "words.safetensors")
    for network, shape, shown in (("two", "3,5;3,5", "3 × 5"), ("words", "6", "6 × 4")):
        assert main(["diagram", f"{network}.safetensors"]) == 0
        assert "does not say what its inputs look like; with --shape" in capsys.readouterr().err
        result = run_json(capsys, "diagram", f"{network}.safetensors", "--shape", shape)
        assert shown in Path(result["diagram"]).read_text()
