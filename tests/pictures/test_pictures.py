"""What a network needs to see a picture: blocks in front of it, files that say so, and how photographs are read."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import Add, Affine, Conv2d, Flatten, GlobalAvgPool, Linear, Resize
from blockprop.engine.check import check_network
from blockprop.engine.network import Network, Sequential
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.errors import DataError, FormatError, SettingError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import (
    Preprocessing,
    beside,
    preprocessing_of,
    read_classes,
    read_photo,
    read_preprocessing,
    with_preprocessing,
)
from blockprop.saving.storage import load, save
from tests.conftest import DataFile

CAFFE = Preprocessing(8, 255.0, (104, 117, 123), channels="BGR")


def classifier(channels: int = 3) -> Network:
    """Takes any size, and leaves each channel's mean."""
    return Sequential({"pass": Affine(), "pool": GlobalAvgPool(), "fc": Linear(channels, 2)}, input="data")


def of_one_size() -> Network:
    return Sequential(Flatten(), Linear(3 * 8 * 8, 2))


def names(network: Network) -> list[str]:
    return [node.name for node in network.nodes]


# The blocks in front --------------------------------------------------------------------------------------------------


def test_the_numbers_become_what_the_network_was_made_for() -> None:
    given = Preprocessing(8, 255.0, (104, 117, 123), (1, 2, 4), "BGR")
    network = with_preprocessing(classifier(), given)
    assert names(network)[:2] == ["picture.channels", "picture.scale"]
    assert network.inputs == ("data",)
    picture = torch.tensor([1.0, 0.2, 0.6]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    seen = network.forward(picture)["pass"]
    # blue 255 · 0.6 − 104 = 49, green (255 · 0.2 − 117) / 2 = −33, red (255 − 123) / 4 = 33
    assert torch.allclose(seen, torch.tensor([49.0, -33.0, 33.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8))
    assert seen.dtype == torch.float32


def test_going_back_ends_at_the_picture() -> None:
    network = with_preprocessing(classifier(), Preprocessing(8, 255.0, (104, 117, 123), (1, 2, 4), "BGR"))
    trace = network.forward(torch.rand(1, 3, 8, 8))
    d_seen = torch.rand(1, 3, 8, 8)
    d = network.backward(trace, {"pass": d_seen}, wrt="inputs")["data"]
    factors = torch.tensor([255 / 4, 255 / 2, 255 / 1]).view(1, 3, 1, 1)
    assert torch.allclose(d, d_seen.flip(1) * factors)
    picture = torch.rand(2, 3, 5, 6)
    resizing = with_preprocessing(of_one_size(), Preprocessing(8, 2.0))
    assert check_network(resizing, picture, objective=mean_squared_error(), target=torch.rand(2, 2)).passed


def test_blocks_are_shared_and_the_first_network_is_as_it_was() -> None:
    network = classifier()
    before = names(network)
    seeing = with_preprocessing(network, CAFFE, ["cat", "dog"])
    assert seeing.blocks["fc"] is network.blocks["fc"]
    assert names(network) == before
    assert network.meta == {}


@pytest.mark.parametrize("scale", [1, (1.0, 1.0, 1.0)])
def test_what_changes_nothing_is_left_out(scale) -> None:
    assert names(with_preprocessing(classifier(), Preprocessing(8, 1, (0, 0, 0), scale))) == names(classifier())


def test_one_number_for_all_channels_stays_one() -> None:
    block = with_preprocessing(classifier(), Preprocessing(8, 255, 128, 128)).blocks["picture.scale"]
    assert repr(block) == "Affine(factor=1.9921875, shift=-1.0)"


def test_only_a_network_of_one_size_gets_its_pictures_resized() -> None:
    assert names(with_preprocessing(classifier(), Preprocessing(8))) == names(classifier())
    network = with_preprocessing(of_one_size(), Preprocessing(8))
    assert names(network)[0] == "picture.size"
    assert repr(network.blocks["picture.size"]) == repr(Resize((8, 8), mode="bilinear"))
    assert network(torch.rand(2, 3, 20, 11)).shape == (2, 2)
    same = torch.rand(2, 3, 8, 8)
    assert torch.equal(network(same), of_one_size_like(network)(same))


def of_one_size_like(network: Network) -> Network:
    return Network([node._replace(inputs=("x",)) if i == 0 else node for i, node in enumerate(network.nodes[1:])])


@pytest.mark.parametrize(("axes", "resized"), [([0, 2, 3], False), ([0], True), ([0, 2], True)])
def test_the_meta_data_decide_which_axes_are_free(axes: list[int], resized: bool) -> None:
    network = classifier()
    network.meta["free"] = {"data": axes}
    seeing = with_preprocessing(network, Preprocessing(8))
    assert ("picture.size" in names(seeing)) == resized
    assert seeing.meta["free"] == {"data": [0, 2, 3]}
    assert network.meta["free"] == {"data": axes}


def test_the_size_that_the_network_knows_is_taken_if_it_takes_no_other() -> None:
    network = of_one_size()
    network.meta["shape"] = [3, 8, 8]
    seeing = with_preprocessing(network, Preprocessing(range=255))
    assert names(seeing)[:2] == ["picture.size", "picture.scale"]
    assert preprocessing_of(seeing) == Preprocessing((8, 8), 255)
    free = classifier()
    free.meta |= {"shape": [3, 8, 8], "free": {"data": [0, 2, 3]}}
    assert preprocessing_of(with_preprocessing(free, Preprocessing(range=255))) == Preprocessing(None, 255)


def test_published_networks_bring_their_preprocessing_in_their_meta_data() -> None:
    network = classifier()
    network.meta["preprocessing"] = CAFFE.to_dict()
    seeing = with_preprocessing(network)
    assert preprocessing_of(seeing) == CAFFE
    assert "preprocessing" not in seeing.meta


def test_gray_pictures_have_one_channel() -> None:
    network = with_preprocessing(classifier(1), Preprocessing((8, 6), 255, 10, channels="gray"))
    assert network.meta["shape"] == [1, 8, 6]
    trace = network.forward(torch.ones(1, 1, 8, 6))
    assert torch.equal(trace["pass"], torch.full((1, 1, 8, 6), 245.0))


def test_names_do_not_collide() -> None:
    nodes = [
        Node("picture.scale", Affine(2.0), ("x",)),
        Node("picture", Affine(), ("picture.scale",)),
        Node("sum", Add(), ("picture", "x")),
    ]
    network = with_preprocessing(Network(nodes), Preprocessing(8, 255.0))
    assert names(network) == ["picture.scale2", "picture.scale", "picture", "sum"]
    assert torch.equal(network(torch.ones(1, 3, 8, 8)), torch.full((1, 3, 8, 8), 3 * 255.0))


def test_an_output_that_is_the_input_stays_what_it_was() -> None:
    network = Network([Node("pool", GlobalAvgPool(), ("x",))], ("x",), ("x", "pool"))
    seeing = with_preprocessing(network, Preprocessing(8, 255.0))
    x, pooled = seeing(torch.ones(1, 3, 8, 8))
    assert torch.equal(x, torch.full((1, 3, 8, 8), 255.0))
    assert torch.equal(pooled, torch.full((1, 3), 255.0))


def test_all_of_it_is_saved_and_comes_back(tmp_path: Path) -> None:
    network = with_preprocessing(classifier(), CAFFE, ["cat", "dog"])
    assert network.meta["classes"] == ["cat", "dog"]
    assert network.meta["shape"] == [3, 8, 8]
    save(network, tmp_path / "net.safetensors")
    twin = load(tmp_path / "net.safetensors")
    assert twin.meta == network.meta
    assert preprocessing_of(twin) == CAFFE == preprocessing_of(network)
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(twin(x), network(x))
    assert preprocessing_of(classifier()) is None
    twin.meta["picture"] = {"size": 8, "center": 3}
    with pytest.raises(FormatError, match="meta data, picture: there is no setting 'center'"):
        preprocessing_of(twin)


def two_inputs() -> Network:
    return Network([Node("sum", Add(), ("a", "b"))], ("a", "b"))


def of_rows() -> Network:
    network = Sequential(Linear(4, 2))
    network.meta["shape"] = [4]
    return network


@pytest.mark.parametrize(
    ("network", "given", "said"),
    [
        (two_inputs(), Preprocessing(8), "expected a network with one input, for pictures; this one has a, b"),
        (of_rows(), Preprocessing(), r"expected a network for pictures; this one takes examples of \(4,\)"),
        (Sequential(Linear(4, 2)), Preprocessing(8), "does not take pictures of 3 x 8 x 8: node 'linear1'"),
        (Sequential(Conv2d(1, 2, 3)), Preprocessing(8), r"of 3 x 8 x 8: node 'conv2d1': expected \(n, 1, h, w\)"),
        (of_one_size(), Preprocessing(9), "does not take pictures of 3 x 9 x 9"),
        (with_preprocessing(classifier(), CAFFE), CAFFE, "has preprocessing already"),
        (classifier(), None, r"does not say what it expects of a picture; pass a Preprocessing\(…\)"),
    ],
)
def test_networks_that_take_no_pictures(network: Network, given: Preprocessing | None, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        with_preprocessing(network, given)


def test_one_name_for_each_output() -> None:
    with pytest.raises(SettingError, match="3 class names do not fit an output of 1 x 2"):
        with_preprocessing(classifier(), CAFFE, ["cat", "dog", "ox"])


# The settings ---------------------------------------------------------------------------------------------------------


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


# Photographs ----------------------------------------------------------------------------------------------------------


def photo(path: Path, height: int, width: int, **options) -> tuple[Path, Image.Image]:
    """A file without losses, and the picture in it."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.save(path, **options)
    return path, image


def numbers(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize(
    ("height", "width", "settings", "scaled", "corner"),
    [
        (50, 80, Preprocessing(16, shorter_side=20), (20, 32), (2, 8)),
        (80, 50, Preprocessing(16, shorter_side=20), (32, 20), (8, 2)),
        (50, 80, Preprocessing(224), (256, 409), (16, 92)),  # 409.6 rounded down, (409 − 224) / 2 to even
        (10, 80, Preprocessing((8, 16), shorter_side=10), (10, 80), (1, 32)),  # covers 10 x 20
        (80, 10, Preprocessing((8, 16), shorter_side=10), (160, 20), (76, 2)),
        (30, 40, Preprocessing(None, shorter_side=15), (15, 20), (0, 0)),
    ],
)
def test_photographs_are_scaled_and_cut(
    tmp_path: Path,
    height: int,
    width: int,
    settings: Preprocessing,
    scaled: tuple[int, int],
    corner: tuple[int, int],
) -> None:
    path, image = photo(tmp_path / "photo.png", height, width)
    large = numbers(image.resize((scaled[1], scaled[0]), Image.Resampling.BILINEAR))
    height, width = settings.height_width or scaled
    top, left = corner
    x = read_photo(path, settings)
    assert torch.equal(x, large[:, :, top : top + height, left : left + width])
    assert x.shape == (1, 3, height, width)
    assert x.dtype == torch.float32
    assert x.is_contiguous()


def test_photographs_that_fit_already_stay_as_they_are(tmp_path: Path) -> None:
    path, image = photo(tmp_path / "photo.png", 16, 24)
    assert torch.equal(read_photo(path, Preprocessing((16, 24))), numbers(image))
    assert torch.equal(read_photo(path, Preprocessing()), numbers(image))
    assert not torch.equal(read_photo(path, Preprocessing((16, 24), shorter_side=20)), numbers(image))


def test_photographs_are_the_right_way_up_and_in_the_right_number_of_channels(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise
    path, image = photo(tmp_path / "photo.png", 16, 24, exif=turned)
    assert torch.equal(read_photo(path, Preprocessing()), numbers(image.transpose(Image.Transpose.ROTATE_270)))
    gray = read_photo(path, Preprocessing(8, channels="gray"))
    assert gray.shape == (1, 1, 8, 8)
    Image.new("L", (8, 8), 51).save(tmp_path / "gray.png")
    assert torch.allclose(read_photo(tmp_path / "gray.png", Preprocessing(8)), torch.full((1, 3, 8, 8), 0.2))


def test_what_is_no_photograph(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(DataError, match=r"text\.png: cannot be read as a picture"):
        read_photo(tmp_path / "text.png", Preprocessing())
    path, _ = photo(tmp_path / "line.png", 1, 40_000)
    with pytest.raises(DataError, match=r"line\.png: 40000 x 1 pixels are too long and thin"):
        read_photo(path, Preprocessing(224))
    with pytest.raises(SettingError, match="does not say what it expects of a picture"):
        read_photo(path, classifier())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right"), [("squeezenet1_1", (25, 31)), ("googlenet", (29, 31))])
def test_published_networks_know_real_photographs(name: str, right: tuple[int, int], data_file: DataFile) -> None:
    """As the authors of the shared data measured with another program: (first, among the first five) of 32."""
    files = {"squeezenet1_1": "squeezenet1_1", "googlenet": "googlenet_bvlc"}
    network = pretrained(name, data_file(f"weights/{files[name]}.safetensors"))
    network = with_preprocessing(network, classes=read_classes(data_file("imagenet_classes.txt")))
    with data_file("photos/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = [
        network(read_photo(data_file(f"photos/{row['file']}"), network)).topk(5).indices[0].tolist() for row in rows
    ]
    wanted = [int(row["class_index"]) for row in rows]
    first = sum(five[0] == number for five, number in zip(best, wanted, strict=True))
    among = sum(number in five for five, number in zip(best, wanted, strict=True))
    assert (first, among) == right
