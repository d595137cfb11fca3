"""`blockprop dream` and `blockprop stylize`: what they write, print and refuse; again, interrupted, resumed."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.cli import main
from blockprop.commands.dream import Film
from blockprop.commands.stylize import mask_like
from blockprop.networks.build import build_network
from blockprop.pictures.photos import Preprocessing, with_preprocessing
from blockprop.pictures.picture_files import write_picture
from blockprop.pictures.provenance import how_made
from blockprop.saving.storage import save
from blockprop.visualize import read_picture, read_settings
from blockprop.visualize.running import PictureRecord
from tests.commands.test_cli import Output, run_json, sentence
from tests.commands.test_cli_keeping import interrupted
from tests.commands.test_cli_visualize import small

DREAM = ["dream", "photo.png", "-l", "relu1", "--octaves", "2", "--steps", "3", "--jitter", "3"]
LAYERS = ["--content-layer", "relu2", "--style-layer", "relu1", "--style-layer", "relu2=0.5"]
STYLIZE = ["stylize", "photo.png", "waves.png", "--size", "32", "--steps", "3", *LAYERS]


@pytest.fixture(autouse=True)
def _network_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("BLOCKPROP_NETWORK", "net.safetensors")
    save(small(), "net.safetensors")
    y, x = np.mgrid[:40, :60]
    waves = np.stack([np.sin(x / 3 + shift) * 100 + 128 for shift in (0, 1, 2)], 2).astype(np.uint8)
    Image.fromarray(waves).save("waves.png")
    hills = np.stack([x * 4, y * 5, 255 - x * 3], 2).astype(np.uint8)
    Image.fromarray(hills).save("photo.png")
    half = np.where(x < 30, 255, 0).astype(np.uint8)
    Image.fromarray(half).save("left.png")
    Image.fromarray(255 - half).save("right.png")


def test_a_dream_has_the_photographs_size_and_says_how_it_went(capsys: Output) -> None:
    found = run_json(capsys, *DREAM, "--report", "page")
    assert found["picture"] == "photo_dream.png"
    assert (found["size"], found["steps"]) == ("60 x 40", 6)
    dreamed, photo = read_picture("photo_dream.png"), read_picture("photo.png")
    assert dreamed.shape == photo.shape
    assert float((dreamed - photo).abs().mean()) > 0.005
    assert "How it went" in Path("page/index.html").read_text()


def test_large_photographs_are_scaled_down(capsys: Output) -> None:
    run_json(capsys, *DREAM, "--size", "45")
    assert read_picture("photo_dream.png").shape == (1, 3, 30, 45)


def test_dreams_from_noise_guided_and_weighted(capsys: Output) -> None:
    more = ["--octaves", "1", "--steps", "2", "--guide", "waves.png", "-l", "relu1=2", "-l", "relu2:3=0.5"]
    run_json(capsys, "dream", "noise", "--size", "48x32", *more)
    assert read_picture("noise_dream.png").shape == (1, 3, 32, 48)
    assert list(read_settings("noise_dream.png")["pictures"]) == ["waves.png"]
    assert run_json(capsys, "replay", "noise_dream.png")["same_pixels"]


@pytest.mark.parametrize("film", ["film.gif", "film.webp", "film.png", "frames"])
def test_a_film_zooms_on(film: str, capsys: Output) -> None:
    found = run_json(capsys, *DREAM, "--frames", "3", "--zoom", "1.2", "--film", film)
    assert found["frames"] == 3
    if film == "frames":
        assert sorted(os.listdir(film)) == ["0001.png", "0002.png", "0003.png"]
        assert torch.equal(read_picture("frames/0003.png"), read_picture("photo_dream.png"))
        assert run_json(capsys, "replay", "frames/0002.png", "--out", "again.png")["same_pixels"]
    else:
        with Image.open(film) as moving:
            assert moving.n_frames == 3
            assert moving.size == (60, 40)


FILM = [*DREAM, "--frames", "4", "--film"]


@pytest.mark.parametrize("film", ["film.gif", "film.webp", "frames"])
def test_an_interrupted_film_goes_on_with_the_frames_it_has(
    film: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def stopped(self: Film, step: PictureRecord) -> None:
        take(self, step)
        if step.step == 2 * 6 + 2:  # in the third frame
            raise KeyboardInterrupt

    take = Film.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Film, "__call__", stopped)
        assert main([*FILM, film]) == 130
    if film != "frames":
        with Image.open(film) as moving:
            assert moving.n_frames == 2
    capsys.readouterr()
    assert run_json(capsys, *FILM, film, "--resume")["frames"] == 4
    assert run_json(capsys, *FILM, f"whole_{film}", "--out", "whole.png")["frames"] == 4
    assert torch.equal(read_picture("photo_dream.png"), read_picture("whole.png"))
    if film == "frames":
        pairs = [(Path(film) / f.name, f) for f in sorted(Path("whole_frames").iterdir())]
        assert all(torch.equal(read_picture(a), read_picture(b)) for a, b in pairs)
    else:
        assert Path(film).read_bytes() == Path(f"whole_{film}").read_bytes()
        assert not Path(f"{film}.frames").exists()


def test_a_film_that_cannot_be_written_leaves_its_frames(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def save_all_but_films(self: Image.Image, file: object, kind: str | None = None, **settings: object) -> None:
        if kind == "GIF":
            raise RuntimeError("encoding error")
        written(self, file, kind, **settings)

    written = Image.Image.save
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_all_but_films)
        assert main([*FILM, "film.gif"]) == 1
    assert "film.gif: no such film can be written, its frames stay (encoding error)" in capsys.readouterr().err
    assert len(os.listdir("film.gif.frames")) == 4
    assert run_json(capsys, *FILM, "film.gif", "--resume")["frames"] == 4
    with Image.open("film.gif") as moving:
        assert moving.n_frames == 4


def test_what_a_film_or_a_preview_would_overwrite_is_left_alone(capsys: Output) -> None:
    Path("frames").mkdir()
    photo = Path("photo.png").read_bytes()
    Path("frames/0001.png").write_bytes(photo)
    Path("a.preview.png").write_bytes(photo)
    assert "the folder holds pictures already" in sentence(capsys, *FILM, "frames")
    told = sentence(capsys, *FILM, "shots", "--out", "shots/0001.png")
    assert "would be overwritten" in told
    told = sentence(capsys, "dream", "a.preview.png", *DREAM[2:], "-o", "a.png", "--preview-every", "1")
    assert "would be overwritten" in told
    told = sentence(capsys, *DREAM, "-o", "a.png", "--preview-every", "1")
    assert "a.preview.png is there already, and blockprop did not make it" in told
    assert Path("frames/0001.png").read_bytes() == Path("a.preview.png").read_bytes() == photo


@pytest.mark.parametrize("command", [DREAM, STYLIZE], ids=lambda command: command[0])
def test_replay_makes_the_same_pixels(command: list[str], capsys: Output) -> None:
    run_json(capsys, *command, "--seed", "4", "--out", "a.png")
    assert run_json(capsys, "replay", "a.png")["same_pixels"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [[*DREAM, "--steps", "5000"], [*STYLIZE, "--steps", "5000", "--scales", "1", "--optimizer", "adam"]],
    ids=lambda command: command[0],
)
def test_ctrl_c_keeps_the_picture_and_resume_goes_on(command: list[str], capsys: Output) -> None:
    told = interrupted([*command, "--preview-every", "1", "--out", "a.png"], "a.preview.png")
    assert "stopped after" in told
    stop = read_settings("a.png")["arguments"]["stop"]
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    assert Path("a.png.state").exists()
    if command[0] == "stylize":  # a dream's steps are of each octave, so that a shorter one is another dream
        command = [*command, "--steps", str(stop + 3)]
        assert main([*command, "--resume", "--out", "a.png"]) in (0, 1)


def test_stylize_brings_the_picture_nearer_to_the_style(capsys: Output) -> None:
    found = run_json(capsys, *STYLIZE, "--report", "page")
    assert found["picture"] == "photo_waves.png"
    assert found["size"] == "32 x 21"
    first = run_json(capsys, *STYLIZE[: -len(LAYERS)], *LAYERS, "--steps", "1", "--out", "one.png")
    assert found["loss"] < first["loss"]
    assert "How it went" in Path("page/index.html").read_text()


def test_several_styles_with_masks_and_weights_from_a_picture(capsys: Output) -> None:
    more = ["--mask", "left.png", "--mask", "right.png", "--start", "waves.png", "--colors", "luminance"]
    run_json(capsys, "stylize", "photo.png", "waves.png=2", "photo.png", *more, *LAYERS, "--steps", "2", "-o", "a.png")
    assert read_settings("a.png")["arguments"]["weights"] == [2.0, 1.0]
    assert run_json(capsys, "replay", "a.png")["same_pixels"]


def test_masks_may_be_of_another_size_but_not_of_other_proportions(capsys: Output) -> None:
    for name in ("left", "right"):
        Image.open(f"{name}.png").resize((600, 400), Image.Resampling.NEAREST).save(f"large_{name}.png")
    styles = ["stylize", "photo.png", "waves.png", "photo.png", *LAYERS, "--steps", "2"]
    run_json(capsys, *styles, "--mask", "large_left.png", "--mask", "large_right.png", "-o", "a.png")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    cover = mask_like("large_left.png", read_picture("large_left.png"), read_picture("photo.png"))
    assert cover.shape == (40, 60)
    assert float((cover - read_picture("left.png")[0, 0]).abs().mean()) < 0.02  # its edge is soft
    Image.new("L", (60, 60), 255).save("square.png")
    told = sentence(capsys, *styles, "--mask", "left.png", "--mask", "square.png")
    assert "square.png has 60 x 60 pixels; a mask has the content's proportions, 60 x 40" in told


GOOD = {"network": "net.safetensors", "layers": ["relu1"], "content_layers": ["relu2"], "style_layers": ["relu1"]}


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("dream", {"pictures": []}),
        ("dream", {"guided": True}),
        ("dream", {"start": "fog"}),
        ("dream", {"octaves": 5000}),
        ("stylize", {"weights": [1.0, 2.0]}),
        ("stylize", {"weights": []}),
        ("stylize", {"masks": 1}),
        ("stylize", {"masks": -1}),
        ("stylize", {"start": "picture"}),
        ("stylize", {"start": "fog"}),
    ],
    ids=str,
)
def test_forged_pictures_are_refused_in_a_sentence(command: str, change: dict, capsys: Output) -> None:
    own = {"dream": {"pictures": ["photo.png"]}, "stylize": {"pictures": ["photo.png", "waves.png"], "weights": [1.0]}}
    needed = ("network", "layers") if command == "dream" else ("network", "content_layers", "style_layers")
    arguments = {name: GOOD[name] for name in needed} | own[command] | change
    how = how_made(command, arguments, 0, pictures=("photo.png", "waves.png"))
    write_picture("forged.png", torch.rand(3, 24, 24), how)
    told = sentence(capsys, "replay", "forged.png")
    assert "this should not have happened" not in told
    assert not Path("forged_again.png").exists()


def test_a_network_for_gray_pictures_dreams_on_a_photograph_in_gray(capsys: Output) -> None:
    network = build_network("stages:4,6", (1, 8, 8), 3)
    save(with_preprocessing(network, Preprocessing(channels="gray")), "gray.safetensors")
    capsys.readouterr()
    run_json(capsys, "dream", "photo.png", "-n", "gray.safetensors", "--octaves", "1", "--steps", "1")
    assert read_picture("photo_dream.png").shape == (1, 3, 40, 60)
    assert "pictures of 1 channels" in sentence(capsys, "stylize", "photo.png", "waves.png", "-n", "gray.safetensors")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["dream", "photo.png", "-l", "relu9"], "did you mean 'relu2'"),
        (["dream", "photo.png", "-l", "scores"], "scores"),
        (["dream", "photo.png", "-l", "relu1", "--size", "64x48"], "a photograph keeps its proportions"),
        (["dream", "missing.png", "-l", "relu1"], "missing.png does not exist"),
        (["dream", "photo.png", "-l", "relu1", "--film", "a.gif"], "--film needs --frames 2"),
        (["dream", "photo.png", "-l", "relu1", "--frames", "2", "--film", "a.mp4"], "films are written as .gif"),
        (["dream", "photo.png", "-l", "relu1", "--resume"], "there is no state photo_dream.png.state"),
        (["dream", "photo.png", "-l", "relu2", "--octaves", "30"], "too small"),
        (["dream", "noise", "--size", "1", "-l", "relu2"], "the picture of 1 x 1 pixels is too small"),
        (["stylize", "photo.png", "=2"], "expected a picture, or picture=weight"),
        (["stylize", "photo.png", "waves.png", "--size", "200000"], "makes more than 100,000,000"),
        (["stylize", "photo.png", "waves.png", "--style-scale", "20000"], "choose a smaller style scale"),
        (["stylize", "photo.png", "waves.png=much"], "expected a picture, or picture=weight"),
        (["stylize", "photo.png", "waves.png", "--mask", "left.png", "--mask", "left.png"], "a --mask for each style"),
        (["stylize", "photo.png", "waves.png", "--style-layer", "relu9"], "did you mean 'relu2'"),
        (["stylize", "photo.png", "waves.png", "--colors", "pink"], "colors must be one of"),
        (["stylize", "photo.png", "missing.png"], "missing.png does not exist"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[-2:]),
)
def test_wrong_use_says_what_to_do_and_writes_nothing(arguments: list[str], reason: str, capsys: Output) -> None:
    before = sorted(os.listdir())
    assert reason in sentence(capsys, *arguments)
    assert sorted(os.listdir()) == before
