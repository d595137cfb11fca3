"""Every command that takes a saved network takes an ONNX file as well, with the same results."""

import pytest
from PIL import Image

from blockprop.cli import main
from tests.commands.running import Output, run_json

TAKING = {
    "info": ["info", "net"],
    "predict": ["predict", "net", "a.png"],
    "evaluate": ["evaluate", "net", "digits"],
    "diagram": ["diagram", "net", "-o", "a.svg"],
    "export": ["export", "net", "-o", "a.onnx"],
}


@pytest.mark.parametrize("command", TAKING)
def test_a_command_takes_an_onnx_file(command: str, capsys: Output) -> None:
    Image.new("L", (28, 28), 90).save("a.png")
    assert main(["export", "digits", "-o", "net.onnx"]) == 0
    assert run_json(capsys, *[{"net": "net.onnx"}.get(word, word) for word in TAKING[command]])


def test_the_sentence_for_a_device_that_is_not_there_is_short(capsys: Output) -> None:
    assert main(["predict", "digits", "digits", "--device", "mps"]) == 1
    said = capsys.readouterr().err
    assert "the device 'mps' cannot be used here" in said
    assert len(said) < 250
