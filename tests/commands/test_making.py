"""Pictures of all commands: Ctrl-C and resume; nothing is lost, and nothing is told late."""

import os
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.filesize import decimal
from rich.progress import Progress

from blockprop.cli import main
from blockprop.commands import making
from blockprop.commands.picture_settings import Surroundings
from blockprop.pictures.picture_files import read_picture, read_settings
from blockprop.saving.storage import save
from blockprop.visualize.maximize import maximize
from blockprop.visualize.running import PictureRecord, PictureRun
from tests.commands.running import PHOTO, WOLF, Output, fail, interrupted, run_json, sentence, small

pytestmark = pytest.mark.usefixtures("network_and_photo")


@pytest.mark.slow
def test_sigterm_keeps_the_best_picture_and_resume_goes_on(capsys: Output) -> None:
    arguments = ["maximize", "gray wolf", "--steps", "4000", "--preview-every", "1", "--out", "a.png"]
    told = interrupted(arguments, "a.preview.png", signal.SIGTERM)
    assert "a.png gets the picture so far" in told
    kept = read_settings("a.png")["arguments"]
    assert 1 <= kept["stop"] < 4000
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    assert Path("a.png.state").exists()
    assert not Path("a.preview.png").exists()
    more = str(kept["stop"] + 5)
    run_json(capsys, "maximize", "gray wolf", "--steps", more, "--resume", "--out", "a.png")
    run_json(capsys, "maximize", "gray wolf", "--steps", more, "--out", "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert not Path("a.png.state").exists()


@pytest.mark.slow
def test_an_interrupted_sheet_keeps_its_pictures_and_goes_on(capsys: Output) -> None:
    arguments = ["sheet", "0-3", "--steps", "300", "--at-once", "1", "--out", "a.png"]
    interrupted(arguments, "a.png.state")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    run_json(capsys, *arguments, "--resume")
    run_json(capsys, *arguments[:-1], "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert not Path("a.png.state").exists()


@pytest.mark.parametrize("command", [[*WOLF, "-o", "a.png"], ["sheet", "0-2", "--steps", "3", "-o", "a.png"]], ids=str)
def test_if_the_picture_cannot_be_written_the_state_stays(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_picture", fail)
        assert main(command) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert Path("a.png.state").exists()


def test_if_judging_fails_the_state_stays(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("blockprop.visualize.judging.judge", fail)
        assert main([*WOLF, "-o", "a.png"]) == 1
    run_json(capsys, *WOLF, "--resume", "-o", "a.png")
    run_json(capsys, *WOLF, "-o", "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert sorted(path for path in os.listdir() if "state" in path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["saliency", PHOTO, "-o", PHOTO],
        ["segment", PHOTO, "--mask", PHOTO],
        ["segment", PHOTO, "--mask", "a.png", "-o", "a.png"],
        ["maximize", "photo", "--start", PHOTO],
        [*WOLF, "--start", PHOTO, "-o", f"./{PHOTO}"],
    ],
    ids=" ".join,
)
def test_what_is_read_is_not_overwritten_even_by_force(arguments: list[str], capsys: Output) -> None:
    before = Path(PHOTO).read_bytes()
    assert main([*arguments, "--force"]) == 1
    assert Path(PHOTO).read_bytes() == before
    assert sorted(os.listdir()) == ["net.safetensors", PHOTO]
    capsys.readouterr()


def test_no_result_is_overwritten_without_force(capsys: Output) -> None:
    Image.new("RGB", (9, 9)).save("gray_wolf.png")
    before = Path("gray_wolf.png").read_bytes()
    names = [run_json(capsys, *WOLF)["picture"] for _ in range(2)]
    assert names == ["gray_wolf_2.png", "gray_wolf_3.png"]
    assert Path("gray_wolf.png").read_bytes() == before
    assert run_json(capsys, *WOLF, "--force")["picture"] == "gray_wolf.png"
    assert Path("gray_wolf.png").read_bytes() != before


def test_only_previews_and_states_that_were_written_are_removed(capsys: Output) -> None:
    names = ["a.preview.png", "a.png.state.old", "a.png.stated"]  # no previews are asked for
    for name in names:
        Path(name).write_text("my own")
    run_json(capsys, *WOLF, "-o", "a.png")
    assert [Path(name).read_text() for name in names] == ["my own"] * 3


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (["--start", "gray"], "the --start in the file"),
        (["--l2", "5"], "or --l2 …, --total-variation …, --doubt …, --diversity …) in the file"),
        (["--steps", "2"], "only 2"),
        (["-n", "other.safetensors"], "the network, or what is around it (--canvas …, --transform …) in the file"),
    ],
    ids=lambda case: case if isinstance(case, str) else case[0],
)
def test_a_picture_does_not_go_on_from_another_run(
    other: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    save(small(5), "other.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_picture", fail)
        main([*WOLF, "-o", "a.png"])
    command = WOLF if "--steps" not in other else WOLF[:2]
    assert reason in sentence(capsys, *command, *other, "--resume", "-o", "a.png")


@pytest.mark.parametrize(
    "other", [["--canvas", "pixels"], ["--doubt", "0"], ["--network", "other.safetensors"]], ids=" ".join
)
def test_a_sheet_does_not_go_on_from_another(other: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    save(small(5), "other.safetensors")
    sheet = ["sheet", "0-2", "--steps", "3", "--at-once", "1", "-o", "a.png"]
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_picture", fail)
        main(sheet)
    assert f"cannot resume, the {other[0]} in the file is" in sentence(capsys, *sheet, *other, "--resume")
    run_json(capsys, *sheet, "--resume")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sheet", "relu1:6-9"], "'relu1' has 8 channels; there is no channel 8"),
        ([*WOLF, "--output", "relu2"], "'relu2' is no output of the network; there are scores"),
        ([*WOLF, "--other", "none.safetensors"], "none.safetensors does not exist"),
        (["maximize", "relu1", "--other", "net.safetensors"], "--other is asked about a class"),
        ([*WOLF, "--diversity-node", "relu1"], "is for diversity, which is 0"),
        ([*WOLF, "--size", "2000000"], "more than the"),
        (["saliency", PHOTO, "--raw", "a.jpg"], "--raw writes a .npy file"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[-2:]),
)
def test_told_before_any_work_is_done(arguments: list[str], reason: str, capsys: Output) -> None:
    assert reason in sentence(capsys, *arguments)
    assert sorted(os.listdir()) == ["net.safetensors", PHOTO]


def test_what_resume_needs_is_said_with_its_size_and_goes_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    whole = PictureRun.advance

    def stopped(run: PictureRun) -> PictureRecord:
        if run.step == 2:
            raise KeyboardInterrupt
        return whole(run)

    with monkeypatch.context() as patch:
        patch.setattr(PictureRun, "advance", stopped)
        assert main([*WOLF, "-o", "a.png"]) == 130
    size = decimal(os.path.getsize("a.png.state"))
    told = " ".join(capsys.readouterr().err.split())
    assert f"--resume goes on: a.png.state ({size}) keeps what that needs, until the picture is finished" in told
    assert main([*WOLF, "-o", "a.png", "--resume"]) == 0
    assert not Path("a.png.state").exists()


def test_a_state_that_appears_on_the_way_is_said_once(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(PictureRun, "is_milestone", True)
    assert main([*WOLF, "-o", "a.png"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("--resume can go on after an interruption: a.png.state (") == 1
    assert not Path("a.png.state").exists()


def test_ctrl_c_while_the_progress_bar_ends_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left by a break, its generator is closed, not dropped: there an exception would go nowhere."""

    def interrupted(bar: Progress) -> None:
        stop(bar)
        raise KeyboardInterrupt

    stop = Progress.stop
    monkeypatch.setattr(Progress, "stop", interrupted)
    run = maximize(small(), 1, 24, 4)
    _, stopped = making.run_with_previews(run, "Picture", Surroundings(Path("a.png")), stop=2)
    assert stopped


def test_ctrl_c_in_a_part_counts_the_steps_of_all(capsys: Output) -> None:
    def stop(step: PictureRecord) -> None:
        if step.step == 2:
            raise KeyboardInterrupt

    run = maximize(small(), 1, 24, 4)
    run.observe(stop)
    making.run_with_previews(run, "Part", Surroundings(Path("a.png")), part=(1, 3))
    assert "stopped after 6 of 12 steps" in capsys.readouterr().err
