"""Which layers style and content are compared in, by network."""

import pytest

from blockprop.blocks import AvgPool2d, Conv2d, Flatten, Linear
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.visualize.style.layers import DEFAULTS, default_layers
from blockprop.visualize.style.stylize import stylize
from tests.conftest import DataFile
from tests.visualize.styles import pictures, small

FILES = {
    "squeezenet1_1": ("squeezenet1_1",),
    "googlenet": ("googlenet_bvlc",),
    "vgg19": ("vgg19_normalised_conv3_1", "vgg19_distilled16x_conv4_1", "vgg19_distilled16x_conv5_1"),
}


def test_an_unknown_network_gets_rectifiers_spread_over_depth() -> None:
    found = default_layers(small())
    assert list(found.style) == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    assert found.content == ("relu4",)
    content, one = pictures((48, 64), (40, 50))
    assert next(stylize(small(), content, one, steps=1)).value > 0


def test_without_rectifiers_layers_must_be_said() -> None:
    network = Sequential({"conv": Conv2d(3, 4, 3), "pool": AvgPool2d(2), "flat": Flatten(), "fc": Linear(4 * 9, 2)})
    with pytest.raises(SettingError, match=r"style_layers=…, of conv, pool, flat, fc"):
        stylize(network, *pictures((8, 8), (8, 8)))
    with pytest.raises(ShapeError, match="flat"):
        stylize(network, *pictures((8, 8), (8, 8)), content_layers="conv", style_layers="flat")


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_defaults_for_published_networks(name: str, file: str, data_file: DataFile) -> None:
    path = data_file(f"weights/{file}.safetensors")
    network = with_preprocessing(pretrained(name, path))
    found = default_layers(network)
    nodes = {node.name for node in network.nodes}
    assert {*found.content, *found.style} <= nodes
    assert set(found.style) <= set(DEFAULTS[name].style)
    steps = list(stylize(network, *pictures((64, 80), (64, 64)), steps=3, scales=1))
    assert steps[-1].value < 0.8 * steps[0].value
