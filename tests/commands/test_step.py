"""`blockprop step`: pages of the lecture's network, of shipped ones and large ones, and what is not understood."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from blockprop.cli import main
from blockprop.errors import SettingError
from blockprop.learning import stepper
from blockprop.networks import shipped
from tests.commands.running import PHOTO, Output, run_json, sentence


def test_the_lecture(capsys: Output) -> None:
    told = run_json(capsys, "step", "lecture:tanh", "--input", "0.5,-1", "--label", "1")
    assert told["page"] == "step.html"
    assert told["kilobytes"] < 300
    text = Path("step.html").read_text()
    assert '"x":[0.5,-1.0]' in text
    assert '"target":1' in text
    assert "lecture:tanh: back-propagation, step by step" in text


def test_a_shipped_network(capsys: Output) -> None:
    told = run_json(capsys, "step", "digits", "--data", "digits", "--example", "2", "-o", "digits.html")
    assert told["kilobytes"] < 3000
    assert "data:image/png;base64," in Path("digits.html").read_text()
    few = run_json(capsys, "step", "digits", "--data", "digits", "--last", "3", "-o", "few.html")
    assert few["nodes"] == 3


def test_a_large_network_in_part(capsys: Output) -> None:
    Path("deep.py").write_text(
        "from blockprop import Sequential\n"
        "from blockprop.blocks import Flatten, Linear, Tanh\n"
        "def build(shape, outputs):\n"
        "    return Sequential(Flatten(), *[Tanh() for _ in range(250)], Linear(64, outputs))\n"
    )
    capsys.readouterr()
    assert main(["step", "deep.py:build", "--data", "digits"]) == 0
    assert "has 252 nodes: the page has the last 200" in capsys.readouterr().err


def test_derivatives_that_are_to_be_checked(capsys: Output) -> None:
    asked = ("step", "digits", "--data", "digits", "-o", "digits.html")
    run_json(capsys, *asked, "--check", "conv1_1.weight[2,0,0,1]", "--check", "fc.bias[7]")
    text = Path("digits.html").read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert 2 * 9 + 1 in [at for at, _, _ in data["checks"]["conv1_1.weight"]]
    with pytest.raises(SettingError, match=r"fc.weight\[99,0\] does not exist"):
        stepper(shipped("digits"), torch.rand(1, 1, 28, 28), target=torch.tensor([1]), check=["fc.weight[99,0]"])


@pytest.mark.usefixtures("network_and_photo")
def test_a_photograph_without_a_label_is_of_the_likeliest_class(capsys: Output) -> None:
    Path("photos").mkdir()
    shutil.copy(PHOTO, "photos/a.png")
    for source in (PHOTO, "photos"):
        capsys.readouterr()
        assert main(["step", "pictures", "--data", source, "-o", "photo.html", "--force"]) == 0
        said = capsys.readouterr().err
        seen = run_json(capsys, "predict", "pictures", source)["predictions"][0]["classes"][0]["class"]
        assert f"{source} does not say what it shows: the loss asks for {seen}, the likeliest" in said
    assert main(["step", "pictures", "--data", PHOTO, "--label", "ship", "-o", "ship.html"]) == 0
    assert "does not say" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lecture", "-o", ""), "expected a name such as step.html, came ."),
        (("lecture", "--check", ""), "--check has nothing in it"),
        (("lecture", "-o", "step.pdf"), "expected a name such as step.html"),
        (("lecture", "--label", "5"), "expected a class from 0 to 1"),
        (("nothing.safetensors",), "nothing.safetensors"),
    ],
)
def test_what_is_not_understood_is_said(capsys: Output, arguments: tuple[str, ...], said: str) -> None:
    assert said in sentence(capsys, "step", *arguments)
