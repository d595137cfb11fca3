"""What the commands that make pictures refuse, in a sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from blockprop.cli import main
from blockprop.saving.storage import save
from tests.commands.running import PHOTO, Output, sentence, small

pytestmark = pytest.mark.usefixtures("network_and_photo")


def strange(name: str) -> str:
    """A file that is hard to read as a picture."""
    if name == "text.jpg":
        Path(name).write_text("no picture")
    elif name == "cut.png":
        Image.effect_noise((90, 90), 50).convert("RGB").save("whole.png")
        Path(name).write_bytes(Path("whole.png").read_bytes()[:3000])
    elif name == "dot.png":
        Image.new("RGB", (1, 1)).save(name)
    elif name == "bomb.png":
        Image.new("1", (30_000, 30_000)).save(name)
    return name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.jpg", "cannot be read as a picture"),
        ("cut.png", "cannot be read as a picture"),
        ("dot.png", "dot.png: 1 x 1 pixels; each side needs at least 2"),
        ("bomb.png", "900000000 pixels"),
        ("missing.jpg", "missing.jpg does not exist"),
    ],
)
@pytest.mark.parametrize("command", ["saliency", "segment", "sanity", "maximize"])
def test_what_is_no_picture(command: str, name: str, reason: str, capsys: Output) -> None:
    file = strange(name)
    Path("out.png").write_text("what was there before")
    arguments = [command, "gray wolf", "--start", file] if command == "maximize" else [command, file]
    assert reason in sentence(capsys, *arguments, "--out", "out.png")
    assert Path("out.png").read_text() == "what was there before"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["saliency", "photo.png", "-t", "gren frog"], "did you mean 'green frog'"),
        (["saliency", "photo.png", "-t", "relu9"], "did you mean 'relu2' or 'relu1'?"),
        (["saliency", "photo.png", "-t", "relu1:99"], "'relu1' has 8 channels; there is no channel 99"),
        (["saliency", "photo.png", "-m", "grad-cam"], "did you mean 'grad_cam'"),
        (["saliency", "photo.png", "--as", "overly"], "did you mean 'overlay'"),
        (["saliency", "photo.png", "photo.png", "--as", "map"], "--as map is for one photograph, came 2"),
        (["saliency", "photo.png", "--out", "a.gif"], "pictures are written as .png"),
        (["saliency", "photo.png", "-n", "none.safetensors"], "none.safetensors does not exist"),
        (["maximize", "purple cow"], "there is no class and no node 'purple cow'"),
        (["maximize", "gray wolf", "--size", "big"], "expected a size such as 224"),
        (["maximize", "gray wolf", "--transform", "Blurr(3)"], "there is no block 'Blurr'; did you mean 'Blur'?"),
        (["maximize", "gray wolf", "--resume"], "there is no state gray_wolf.png.state"),
        (["maximize", "gray wolf=x"], "expected a name, or name=weight such as gray wolf=0.5"),
        (["sheet", "gray wolf", "cow"], "there is no class and no node 'cow'"),
        (["sheet", "8-5"], "expected the smaller number first"),
        (["replay", "photo.png"], "does not say how it was made"),
        (["segment", "photo.png", "--foreground", "0.2"], "expected 0 ≤ background ≤ foreground ≤ 1"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[-2:]),
)
def test_wrong_use_says_what_to_do_and_writes_nothing(arguments: list[str], reason: str, capsys: Output) -> None:
    before = sorted(os.listdir())
    capsys.readouterr()
    assert main(arguments) == 1
    assert reason in " ".join(capsys.readouterr().err.split())
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("command", ["saliency", "maximize"])
def test_a_target_that_the_picture_cannot_influence(command: str, capsys: Output) -> None:
    save(small(dead=True), "dead.safetensors")
    what = ["saliency", PHOTO, "-t", "gray wolf"] if command == "saliency" else ["maximize", "gray wolf"]
    capsys.readouterr()
    more = [] if command == "saliency" else ["--redirect-steps", "2"]
    assert main([*what, "-n", "dead.safetensors", "--out", "a.png", *more]) == 1
    assert "the gradient" in (told := capsys.readouterr().err)
    assert "zero everywhere" in " ".join(told.split())
    assert not Path("a.png").exists()


def test_a_full_disk_loses_nothing() -> None:
    Path("a.png").write_text("what was there before")
    code = (  # no file may be larger than 4 KiB: what the operating system then says is what it says of a full disk
        "import resource, sys; from blockprop.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        f"sys.exit(main(['saliency', '{PHOTO}', '--out', 'a.png', '--force']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a.png" in done.stderr
    assert "this should not have happened" not in done.stderr
    assert Path("a.png").read_text() == "what was there before"
    assert sorted(os.listdir()) == ["a.png", "net.safetensors", "photo.png"]


def test_json_is_one_object_also_for_errors(capsys: Output) -> None:
    assert main(["maximize", "purple cow", "--json"]) == 1
    assert "purple cow" in json.loads(capsys.readouterr().out)["error"]
