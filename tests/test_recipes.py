"""The shell lines of README run, in their order, in an empty folder; those of all guides are understood."""

import hashlib
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.exceptions import TyperException

from blockprop.cli import COMMANDS, app, main
from blockprop.networks import fetching
from blockprop.networks.architectures import PREPROCESSING
from blockprop.networks.published import PUBLISHED
from blockprop.pictures.picture_files import read_settings
from tests.conftest import DataFile

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/*.md"))
CLICK: Any = typer.main.get_command(app)
FETCHED = {"squeezenet1_1": "onnx/squeezenet1_1.onnx", "googlenet": "onnx/googlenet_bvlc.onnx"}


def shell_lines(text: str) -> list[str]:
    """The lines of a page's shell code, those that go on with a backslash joined."""
    code = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line for line in map(str.strip, code.splitlines()) if line]


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[: words.index(">")] if ">" in words else words


LINES = [(page.name, line) for page in PAGES for line in shell_lines(page.read_text()) if line.startswith("blockprop ")]
LINES += [
    (name, line)
    for name, (_, epilog) in COMMANDS.items()
    for line in epilog.split("\n\n")
    if line.startswith("blockprop ")
]


@pytest.mark.parametrize(("place", "line"), LINES, ids=lambda text: text)
def test_every_line_is_understood(place: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command, its options and their values are known, and no argument is missing."""
    monkeypatch.chdir(tmp_path)
    _, command, *arguments = words_of(line)
    assert command in CLICK.commands, place
    with typer.Context(CLICK, info_name="blockprop") as whole:
        CLICK.commands[command].make_context(command, arguments, parent=whole)


@pytest.mark.parametrize("line", ["train digits --epoch 3", "train", "train digits --epochs many", "trane digits"])
def test_a_wrong_line_would_be_seen(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, TyperException)):
        test_every_line_is_understood("here", f"blockprop {line}", tmp_path, monkeypatch)


def test_scripts_of_the_readme_are_there() -> None:
    scripts = [words_of(line)[0] for line in shell_lines((ROOT / "README.md").read_text()) if line.startswith("./")]
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


@pytest.fixture
def presupposed(data_file: DataFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with the files that README presupposes, small; what it fetches stands in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLOCKPROP_CACHE", str(tmp_path / "cache"))
    with np.load(data_file("datasets/mnist.npz")) as mnist:
        some = {name: mnist[name][:600] for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez("mnist.npz", **some)
    Image.fromarray(some["x_test"][0]).save("digit.png")
    (tmp_path / "squeezenet.onnx").write_bytes(data_file(FETCHED["squeezenet1_1"]).read_bytes())
    photos = {"goose": "photos/n01855672_goose.jpg", "cat": "photos/n02119789_kit_fox.jpg"}
    photos |= {"town": "art/content_tubingen.jpg", "starry_night": "art/style_starry_night.jpg"}
    photos |= dict.fromkeys(("sky", "holidays"), "art/deepdream_sky.jpg")
    for name, file in photos.items():
        picture = Image.open(data_file(file))
        picture.thumbnail((160, 160) if name in ("sky", "holidays") else (320, 320))
        picture.save(f"{name}.jpg")
    for name, file in FETCHED.items():
        content = data_file(file).read_bytes()
        published = replace(
            PUBLISHED[name],
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            preprocessing=PREPROCESSING[name],
        )
        monkeypatch.setitem(fetching.PUBLISHED, name, published)
        Path("cache").mkdir(exist_ok=True)
        (Path("cache") / published.file).write_bytes(content)


@pytest.mark.slow
@pytest.mark.usefixtures("presupposed")
def test_the_readmes_lines_run_in_an_empty_folder(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in shell_lines((ROOT / "README.md").read_text()) if line.startswith("blockprop ")]
    assert len(lines) > 15
    for line in lines:
        capsys.readouterr()
        code = main(words_of(line)[1:])
        printed = capsys.readouterr()
        assert code == 0, f"{line}\n{printed.err}"
        if ">" in line:
            Path(shlex.split(line, comments=True)[-1]).write_text(printed.out)
        if line.startswith("blockprop predict squeezenet"):
            assert "goose" in printed.out.splitlines()[1]
    assert read_settings("goose_again.png")["arguments"] == read_settings("goose.png")["arguments"]
    assert main(["maximize", "--config", "goose.toml", "-o", "once_more.png", "--steps", "1"]) == 0
