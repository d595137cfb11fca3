"""Which files of a folder are pictures, which are named, and what the folders in it are."""

import os
from pathlib import Path

import pytest
from PIL import Image

from blockprop.data.reading import read_data
from blockprop.errors import BlockpropWarning, DataError
from blockprop.pictures.image_kinds import files_in, is_image, left_out
from tests.pictures.test_image_files import picture


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_no_picture_of_a_class_vanishes(tmp_path: Path) -> None:
    """Whatever Pillow reads, by any of its names, in folders and behind links, with a wrong name or none."""
    kinds = ["jpg", "jfif", "jpe", "JPEG", "webp", "avif", "jp2", "j2k", "gif", "bmp", "tga", "ppm", "tif", "png"]
    for kind in kinds:
        picture(tmp_path / "cat" / f"{kind}.{kind}")
    picture(tmp_path / "dog" / "nested" / "1.png")
    picture(tmp_path / "outside.png").rename(tmp_path.parent / "outside.png")
    (tmp_path / "dog" / "link.png").symlink_to(tmp_path.parent / "outside.png")
    for name in ("noname", "wrong.txt", "wrong.dat"):
        picture(tmp_path / "dog" / "x.jpg").rename(tmp_path / "dog" / name)
    with pytest.warns(BlockpropWarning, match=r"dog: the pictures in nested/ are of the class 'dog', too"):
        data = read_data(tmp_path).train
    assert data.y.tolist() == [0] * len(kinds) + [1] * 5


def test_other_files_are_named_once_and_what_desktops_leave_is_not(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    picture(tmp_path / "dog" / "1.png")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._1.png", "Icon\r", ".git/1.png", "__MACOSX/1.png"):
        (tmp_path / "cat" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "cat" / name).write_bytes(b"nothing")
    assert names(files_in(tmp_path / "cat").others) == []
    read_data(tmp_path)  # in silence
    for name in ("README.txt", "dog/labels.csv", "dog/a.xml", "cat/.hidden.png"):
        (tmp_path / name).write_text("words")
    with pytest.warns(BlockpropWarning) as said:
        data = read_data(tmp_path).train
    (text,) = (str(one.message) for one in said)
    assert "4 files are no pictures, or hidden, and are left out: README.txt, cat/.hidden.png, dog/a.xml and 1" in text
    assert len(data) == 2


def test_pictures_beside_the_classes_are_named(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png", "1.png"):
        picture(tmp_path / name)
    with pytest.warns(BlockpropWarning, match=r"beside the folders of the classes is left out: 1\.png"):
        assert len(read_data(tmp_path).train) == 2


def test_pictures_of_several_sizes_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png", size=(8, 6))
    picture(tmp_path / "dog" / "1.png", size=(16, 6))
    with pytest.warns(BlockpropWarning, match="brought to 8 x 6, the size of the first; 1 of 2 are scaled, and cut"):
        assert read_data(tmp_path).train.shape == (3, 6, 8)


@pytest.mark.parametrize("broken", ["empty", "text", "half", "link"])
def test_what_is_called_a_picture_and_is_none_is_refused(tmp_path: Path, broken: str) -> None:
    picture(tmp_path / "cat" / "1.png")
    path = picture(tmp_path / "dog" / "1.jfif", size=(40, 40))
    content = path.read_bytes()
    path.unlink()
    if broken == "link":
        path.symlink_to(tmp_path / "nothing.jfif")
    else:
        path.write_bytes({"empty": b"", "text": b"no picture", "half": content[: len(content) // 2]}[broken])
    with pytest.raises(DataError, match=r"dog/1\.jfif: cannot be read as a picture"):
        read_data(tmp_path, size=4)


def test_a_link_to_a_folder_above_is_no_endless_walk(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert len(files_in(tmp_path).pictures) == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png")
    (tmp_path / "cat").chmod(0)
    with pytest.raises(DataError, match="cat: the folder cannot be read"):
        files_in(tmp_path)


def test_what_is_a_picture(tmp_path: Path) -> None:
    for name in ("a.JFIF", "a.heic", "a.avif", "a.svg", "a.cr2"):
        assert is_image(tmp_path / name)  # as its name says
    for name in ("a.safetensors", "a.csv", "a.onnx", "a"):
        (tmp_path / name).write_bytes(b"\x10\0\0\0\0\0\0\0{}")
        assert not is_image(tmp_path / name)
    assert left_out([], tmp_path) == []


def parts(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name)
    return root


@pytest.mark.parametrize("validation", ["val", "Valid", "validation"])
def test_the_parts_of_a_data_set(tmp_path: Path, validation: str) -> None:
    data = read_data(parts(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png", f"{validation}/a/1.png"))
    assert (len(data.train), len(data.test), len(data.validation)) == (2, 1, 1)
    assert data.test.y.tolist() == [1]
    assert data.validation.classes == ("a", "b")


def test_val_alone_is_the_test_part(tmp_path: Path) -> None:
    root = parts(tmp_path, "train/a/1.png", "train/b/1.png", "val/b/1.png")
    with pytest.warns(BlockpropWarning, match="val/ is the test part"):
        data = read_data(root)
    assert data.test.y.tolist() == [1]
    assert data.validation is None


def test_a_part_alone_is_taken_for_the_whole_and_said(tmp_path: Path) -> None:
    with pytest.warns(BlockpropWarning, match="test/ is the only part, and is taken for the whole"):
        data = read_data(parts(tmp_path, "test/a/1.png", "test/b/1.png"))
    assert data.train.classes == ("a", "b")
    assert data.test is None


def test_train_may_be_a_class(tmp_path: Path) -> None:
    with pytest.warns(BlockpropWarning, match="train/ counts as a class, since pictures lie in it"):
        data = read_data(parts(tmp_path, "bus/1.png", "train/1.png"))
    assert data.train.classes == ("bus", "train")


def test_what_lies_beside_the_parts_is_named(tmp_path: Path) -> None:
    root = parts(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png", "unknown/1.png")
    with pytest.warns(BlockpropWarning, match="unknown/ is left out: the parts are test/, train/"):
        assert len(read_data(root).train) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train/1.png", "test/1.png"), "test/, train/ hold pictures, but no folder for each class"),
        (("train/a/1.png", "test/1.png"), "test/ holds pictures, but no folder for each class, as the other parts"),
        (("val/a/1.png", "test/a/1.png"), "there is no train/ beside test/, val/"),
        (("train/a/1.png", "Training/a/1.png"), "could both be the train part"),
    ],
)
def test_parts_that_are_not_clear(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_data(parts(tmp_path, *files))


def test_a_picture_of_no_format_in_a_folder_without_labels(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.jfif")
    (tmp_path / "notes.md").write_text("words")
    with pytest.warns(BlockpropWarning, match=r"1 file is no picture, or hidden, and is left out: notes\.md"):
        assert len(read_data(tmp_path, need_labels=False).train) == 1


@pytest.mark.parametrize("names", ["training_set test_set", "train-images test-images", "TrainData TestData"])
def test_parts_have_longer_names(names: str, tmp_path: Path) -> None:
    train, test = names.split()
    data = read_data(parts(tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", f"{test}/b/1.png"))
    assert data.train.classes == ("a", "b")
    assert data.test is not None
    assert data.test.y is not None
    assert data.test.y.tolist() == [1]


@pytest.mark.parametrize("names", ["mine other", "train_2024 test_2024", "fold1 fold2"])
def test_folders_that_are_divided_alike_are_no_classes(names: str, tmp_path: Path) -> None:
    one, two = names.split()
    root = parts(tmp_path, *(f"{part}/{kind}/1.png" for part in (one, two) for kind in ("a", "b")))
    with pytest.raises(DataError, match="hold the same folders, as the parts of a data set do; call these train/"):
        read_data(root)


def test_classes_may_hold_one_folder_of_the_same_name(tmp_path: Path) -> None:
    with pytest.warns(BlockpropWarning, match="the pictures in images/ are of the class"):
        data = read_data(parts(tmp_path, "a/images/1.png", "b/images/1.png"))
    assert data.train.classes == ("a", "b")


def test_what_holds_the_parts_one_folder_deeper_is_said(tmp_path: Path) -> None:
    root = parts(tmp_path, "all/train/a/1.png", "all/train/b/1.png", "all/val/a/1.png")
    with pytest.raises(DataError, match=r"holds all/ alone, and that the parts of a data set; give .*all"):
        read_data(root)
