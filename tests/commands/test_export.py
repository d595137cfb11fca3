"""`blockprop export`: the file that it writes, what it prints, and its sentences for what goes wrong."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from blockprop import blocks
from blockprop.cli import main
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.saving.storage import load, save
from tests.commands.running import Output, run_json, sentence

OWN = """
from blockprop import Block

class Twice(Block):
    def forward(self, x):
        return x * 2, None
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(*given: Block, **meta: object) -> None:
    network = Sequential(*given)
    network.meta |= meta
    save(network, "net.safetensors")


def test_a_saved_network_becomes_a_model(capsys: Output) -> None:
    saved(blocks.Conv2d(3, 4, 3), blocks.ReLU(), shape=[3, 8, 8], free={"x": [0, 2, 3]})
    found = run_json(capsys, "export", "net.safetensors", "-o", "net.onnx")
    assert (found["model"], found["opset"], found["nodes"]) == ("net.onnx", 18, 2)
    assert found["file_bytes"] == Path("net.onnx").stat().st_size
    onnx.checker.check_model("net.onnx", full_check=True)
    x = torch.randn(2, 3, 9, 10)
    (y,) = onnxruntime.InferenceSession("net.onnx").run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(np.array(y)), load("net.safetensors")(x), rtol=1e-5, atol=1e-5)


def test_opset_and_shape(capsys: Output) -> None:
    saved(blocks.Linear(3, 2))
    run_json(capsys, "export", "net.safetensors", "-o", "net.onnx", "--opset", "21", "--shape", "3")
    assert onnx.load("net.onnx").opset_import[0].version == 21


def test_shapes_of_several_inputs(capsys: Output) -> None:
    save(Network([Node("y", blocks.Add(), ("a", "b"))], ("a", "b")), "net.safetensors")
    run_json(capsys, "export", "net.safetensors", "-o", "net.onnx", "--shape", "2,3;1,3")
    sizes = [[dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in onnx.load("net.onnx").graph.input]
    assert sizes == [[0, 2, 3], [0, 1, 3]]
    text = sentence(capsys, "export", "net.safetensors", "-o", "net.onnx", "--shape", "2,3")
    assert "--shape: expected one for each of a, b" in text


def test_what_cannot_be_exported(capsys: Output) -> None:
    saved(blocks.Linear(3, 2))
    assert "shape 'x' has" in sentence(capsys, "export", "net.safetensors", "-o", "net.onnx")
    assert "17…21, came 12" in sentence(
        capsys, "export", "net.safetensors", "-o", "net.onnx", "--opset", "12", "--shape", "3"
    )
    assert "ends in .onnx" in sentence(capsys, "export", "net.safetensors", "-o", "net.safetensors", "--shape", "3")
    assert "does not exist" in sentence(capsys, "export", "none.safetensors", "-o", "net.onnx")
    assert not Path("net.onnx").exists()


def test_blocks_without_an_onnx_form(capsys: Output) -> None:
    Path("own.py").write_text(OWN)

    class Twice(Block):
        pass

    saved(Twice(), shape=[3])
    arguments = ["export", "net.safetensors", "-o", "net.onnx", "--blocks", "own.py"]
    capsys.readouterr()
    assert main(arguments) == 1
    assert "twice1: Twice(): no ONNX form" in capsys.readouterr().err
    assert not Path("net.onnx").exists()
