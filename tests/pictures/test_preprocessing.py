"""What a network expects of a picture: in code, in files beside it, and with the names of its classes."""

import json
from pathlib import Path

import pytest

from blockprop.errors import FormatError, SettingError
from blockprop.pictures.preprocessing import Preprocessing, beside, read_classes, read_preprocessing

CAFFE = Preprocessing(8, 255.0, (104, 117, 123), channels="BGR")


def test_settings_in_different_words_are_equal() -> None:
    assert Preprocessing(8) == Preprocessing((8, 8)) == Preprocessing.from_dict({"size": [8, 8]})
    assert Preprocessing(8).to_dict()["size"] == [8, 8]
    assert Preprocessing(224).reading_side == 256
    assert Preprocessing(230).reading_side == 263  # of 262.86
    assert Preprocessing((240, 320)).reading_side == 274
    assert Preprocessing().reading_side is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 0}, "size: expected .* came 0"),
        ({"size": (3, 4, 5)}, "size"),
        ({"size": True}, "size"),
        ({"size": "224"}, "size"),
        ({"size": 10**6}, "size"),
        ({"range": 0}, "range: expected a number above 0, came 0"),
        ({"range": "255"}, "range"),
        ({"range": 10**400}, "range"),
        ({"mean": (1, 2)}, r"mean: expected one number or 3, one for each channel, came \(1, 2\)"),
        ({"mean": float("nan")}, "mean"),
        ({"mean": (1, 2, 3), "channels": "gray"}, "mean: expected one number or 1"),
        ({"scale": (1, 0, 1)}, "scale: nothing can be divided by 0"),
        ({"scale": None}, "scale"),
        ({"channels": "bgr"}, "channels: expected one of RGB, BGR, gray, came 'bgr'"),
        ({"channels": ["RGB"]}, "channels"),
        ({"size": 224, "shorter_side": 223}, "shorter_side: expected a whole number of at least 224 pixels, came 223"),
        ({"shorter_side": 1.5}, "shorter_side"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Preprocessing(**settings)


def test_settings_from_json_and_toml(tmp_path: Path) -> None:
    given = {"size": 227, "range": 255, "mean": [104, 117, 123], "channels": "BGR", "shorter_side": 256}
    expected = Preprocessing((227, 227), 255, (104, 117, 123), 1.0, "BGR", 256)
    (tmp_path / "a.json").write_text(json.dumps(given))
    assert read_preprocessing(tmp_path / "a.json") == (expected, None)
    (tmp_path / "b.toml").write_text(
        'size = [227, 227]\nrange = 255\nmean = [104, 117, 123]\nchannels = "BGR"\nshorter_side = 256\n'
        'classes = ["cat", "dog"]\n'
    )
    assert read_preprocessing(tmp_path / "b.toml") == (expected, ["cat", "dog"])
    (tmp_path / "c.json").write_text("{}")
    assert read_preprocessing(tmp_path / "c.json") == (Preprocessing(), None)


def test_class_names_from_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufefftench, Tinca tinca\r\n\r\nKätzchen \n\n\n".encode())
    (tmp_path / "a.json").write_text('{"classes": "names.txt"}')
    assert read_preprocessing(tmp_path / "a.json")[1] == ["tench, Tinca tinca", "", "Kätzchen"]
    assert read_classes(tmp_path / "names.txt") == ["tench, Tinca tinca", "", "Kätzchen"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"men": 1}', r"a\.json: there is no setting 'men'; did you mean 'mean'\?"),
        ("a.json", '{"class": []}', r"did you mean 'classes'\?"),
        ("a.toml", "sise = 224", r"a\.toml: there is no setting 'sise'; did you mean 'size'\?"),
        ("a.json", '{"mean": "0.5"}', r"a\.json: mean: expected one number or 3, .* came '0.5'"),
        ("a.json", '{"classes": 3}', r"a\.json: classes: expected a list of names or a text file's name, got a whole"),
        ("a.json", '{"classes": ["cat", 3]}', r"a\.json: classes: expected a list of names"),
        (
            "a.json",
            '{"classes": "nams.txt"}',
            r"a\.json: classes: .*nams\.txt: there is no such file; did .*names\.txt",
        ),
        ("a.json", '{"classes": "empty.txt"}', r"a\.json: classes: .*empty\.txt: .* the file is empty"),
        ("a.json", '{"classes": "bad.txt"}', r"a\.json: classes: .*bad\.txt: expected text"),
        ("a.json", "[1]", r"a\.json: expected a JSON object"),
        ("a.json", "{", r"a\.json: expected JSON"),
        ("a.toml", "size = ", r"a\.toml: expected TOML"),
        ("a.yaml", "size: 3", r"a\.yaml: expected a \.json or \.toml file"),
    ],
)
def test_files_that_say_nothing_clear(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=said):
        read_preprocessing(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"net\.json: there is no such file$"):
        read_preprocessing(tmp_path / "net.json")
    (tmp_path / "nett.json").write_text("{}")
    with pytest.raises(FormatError, match=r"net\.json: there is no such file; did you mean 'nett\.json'"):
        read_preprocessing(tmp_path / "net.json")


def test_the_file_beside_a_network(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    assert beside(model) is None
    (tmp_path / "net.toml").write_text("")
    assert beside(model) == tmp_path / "net.toml"
    (tmp_path / "net.json").write_text("{}")
    with pytest.raises(FormatError, match=r"net\.json and .*net\.toml both stand beside"):
        beside(model)
    (tmp_path / "net.toml").unlink()
    assert beside(str(model)) == tmp_path / "net.json"
    assert beside(tmp_path / "net.json") is None
