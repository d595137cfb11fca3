"""What a network needs to see a picture, as blocks in front of it."""

from pathlib import Path

import pytest
import torch

from blockprop.blocks import Add, Affine, Conv2d, Flatten, GlobalAvgPool, Linear, Resize
from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError, SettingError
from blockprop.pictures.framing import preprocessing_of
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load, save
from tests.pictures.examples import classifier

CAFFE = Preprocessing(8, 255.0, (104, 117, 123), channels="BGR")


def of_one_size() -> Network:
    return Sequential(Flatten(), Linear(3 * 8 * 8, 2))


def names(network: Network) -> list[str]:
    return [node.name for node in network.nodes]


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
