"""Odd terminals, full and closed streams, names that no file system takes: a sentence or quiet, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NO_UNICODE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
TRAIN = ["train", "digits", "--network", "mlp:4", "--epochs", "1", "--out"]


def run(
    arguments: list[str],
    folder: Path,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    **environment: str,
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "blockprop", *arguments],
        stdout=stdout,
        stderr=stderr,
        cwd=folder,
        env=os.environ | environment,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_terminal_without_unicode(encoding: str, more: list[str], tmp_path: Path) -> None:
    done = run(["info", "digits", *more], tmp_path, PYTHONIOENCODING=encoding, **NO_UNICODE)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    if more:
        assert isinstance(json.loads(text), dict)
    failed = run(["info", "nö…網.safetensors", *more], tmp_path, PYTHONIOENCODING=encoding, **NO_UNICODE)
    assert failed.returncode == 1
    assert b"does not exist" in failed.stderr
    assert b"Traceback" not in failed.stderr
    if more:
        assert "does not exist" in json.loads(failed.stdout.decode(encoding))["error"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", "digits"], ["info", "digits", "--json"]])
def test_a_full_standard_output_is_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = run(arguments, tmp_path, stdout=full)
    os.close(full)
    assert done.returncode == 1
    assert done.stderr.decode() == "blockprop: standard output: No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_standard_error_stops_no_run(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = run(["maximize", "3", "--steps", "2", "--out", "a.png"], tmp_path, stderr=full)
    os.close(full)
    assert done.returncode == 0
    assert b"a.png" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", "digits"], ["info", "nothing", "--json"]])
def test_a_closed_pipe_is_nothing_to_talk_about(arguments: list[str], tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = run(arguments, tmp_path, stdout=theirs)
    os.close(theirs)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == ("nothing" in arguments)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["x" * 300, "x" * 240, "網" * 84], ids=len)
@pytest.mark.parametrize("command", [TRAIN, ["info"], ["maximize", "3", "--steps", "1", "--out"]], ids=" ".join)
def test_a_name_that_is_too_long_is_one_sentence(name: str, command: list[str], tmp_path: Path) -> None:
    done = run([*command, name + ".safetensors"], tmp_path)
    assert done.returncode == 1
    last = done.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("blockprop: ")
    assert "should not have happened" not in last
    assert not list(tmp_path.iterdir())


def test_an_import_says_that_it_runs_the_code(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(4, 2)\n")
    done = run(["import", "my_net.py:build", "--shape", "4", "--out", "net.safetensors"], tmp_path)
    assert done.returncode == 0
    assert b"the code of my_net.py runs" in done.stderr
