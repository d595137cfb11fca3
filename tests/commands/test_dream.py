"""`blockprop dream`: on photographs, on noise, guided; and films."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from blockprop.cli import main
from blockprop.commands.dream import Film
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.visualize.running import PictureRecord
from tests.commands.running import DREAM, Output, run_json, sentence

pytestmark = pytest.mark.usefixtures("network_and_pictures")
FILM = [*DREAM, "--frames", "4", "--film"]


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


def test_small_photographs_are_enlarged_and_pictures_of_before_are_made_as_they_were(capsys: Output) -> None:
    assert run_json(capsys, *DREAM, "--size", "90")["size"] == "90 x 60"
    assert run_json(capsys, "replay", "photo_dream.png")["same_pixels"]
    how = read_settings("photo_dream.png")
    del how["arguments"]["enlarges"]
    write_picture("before.png", read_picture("photo_dream.png"), how)
    assert run_json(capsys, "replay", "before.png")["size"] == "60 x 40"


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


@pytest.mark.parametrize("film", ["film.gif", "frames"])
def test_force_replaces_the_frames_of_another_film_but_nothing_else(film: str, capsys: Output) -> None:
    folder = Path("frames" if film == "frames" else "film.gif.frames")
    folder.mkdir()
    run_json(capsys, *DREAM, "--frames", "3", "--film", "longer")
    os.rename("longer/0003.png", folder / "0003.png")
    assert run_json(capsys, *DREAM, "--frames", "2", "--film", film, "--force")["frames"] == 2
    assert sorted(os.listdir(folder) if folder.exists() else []) == ["0001.png", "0002.png"] * (film == "frames")
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(folder / "0009.png")
    command = [*DREAM, "--frames", "2", "--film", film, "--force"]
    assert "holds pictures already" in sentence(capsys, *command)


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
    assert "the folder holds pictures already" in sentence(capsys, *FILM, "frames", "--force")
    told = sentence(capsys, *FILM, "shots", "--out", "shots/0001.png")
    assert "would be overwritten" in told
    told = sentence(capsys, "dream", "a.preview.png", *DREAM[2:], "-o", "a.png", "--preview-every", "1")
    assert "would be overwritten" in told
    told = sentence(capsys, *DREAM, "-o", "a.png", "--preview-every", "1")
    assert "a.preview.png is there already, and blockprop did not make it" in told
    assert Path("frames/0001.png").read_bytes() == Path("a.preview.png").read_bytes() == photo
