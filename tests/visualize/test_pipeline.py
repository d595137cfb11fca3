"""From numbers to scores in one graph: both canvases, their inverses, names, gradients."""

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Affine, Conv2d, GlobalAvgPool, Jitter, Linear, Noise, ReLU
from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, SettingError, ShapeError
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.visualize.objectives.penalties import l2, total_variation
from blockprop.visualize.objectives.scores import score
from blockprop.visualize.pipeline import CANVASES, canvas_by_name, fourier, pipeline, pixels, resized, robust

each_canvas = pytest.mark.parametrize("name", CANVASES)
each_color = pytest.mark.parametrize("channels", [1, 3])


def small(channels: int = 3, classes: int = 4) -> Network:
    conv = {"conv": Conv2d(channels, 6, 3), "relu": ReLU(), "pool": GlobalAvgPool(), "fc": Linear(6, classes)}
    network = Sequential(conv)
    kind = "RGB" if channels == 3 else "gray"
    return with_preprocessing(network, Preprocessing(12, 255.0, 100.0, 50.0, kind))


def colors(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(n, channels, height, width) * 0.9 + 0.05


@each_canvas
@each_color
@pytest.mark.parametrize("size", [(12, 12), (7, 10), (10, 9)], ids=str)
def test_a_picture_comes_back_from_its_numbers(name: str, channels: int, size: tuple[int, int]) -> None:
    canvas = canvas_by_name(name, *size, channels)
    picture = colors(2, channels, *size)
    numbers = canvas.start(2, picture)
    assert numbers.shape == (2, *canvas.numbers)
    torch.testing.assert_close(canvas.picture(numbers), picture, rtol=1e-4, atol=1e-5)
    again = canvas.start(3, picture[:1])
    assert again.shape[0] == 3
    torch.testing.assert_close(canvas.picture(again)[2], picture[0], rtol=1e-4, atol=1e-5)


@each_canvas
def test_black_and_white_start_finite(name: str) -> None:
    canvas = canvas_by_name(name, 8, 8)
    picture = torch.zeros(1, 3, 8, 8)
    picture[..., 4:] = 1
    torch.testing.assert_close(canvas.picture(canvas.start(1, picture)), picture, rtol=0, atol=2e-3)


@each_canvas
@each_color
def test_gray_and_noise(name: str, channels: int) -> None:
    canvas = canvas_by_name(name, 12, 10, channels)
    assert torch.equal(canvas.picture(canvas.start(2, "gray")), torch.full((2, channels, 12, 10), 0.5))
    noise = canvas.start(3, "noise", seed=5)
    assert torch.equal(noise, canvas.start(3, "noise", seed=5))
    assert torch.equal(noise[:2], canvas.start(2, "noise", seed=5))
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, canvas.start(3, "noise", seed=6))
    assert 0 < (canvas.picture(noise) - 0.5).abs().max() < 0.3


@each_canvas
def test_names_outputs_and_scores_are_the_networks_own(name: str) -> None:
    network = small()
    graph = pipeline(network, canvas_by_name(name, 12, 12), robust(12, 12))
    assert graph.outputs == network.outputs
    assert {node.name for node in network.nodes} <= {node.name for node in graph.nodes}
    assert "transform.jitter2" in graph.blocks
    assert "picture" in graph.meta
    x = canvas_by_name(name, 12, 12).start(2)
    trace = graph.forward(x)
    assert trace["image"].shape == (2, 3, 12, 12)
    assert trace["image"].min() >= 0
    assert trace["image"].max() <= 1
    for target in (2, "conv:3", "relu:1,4,4"):
        objective = score(network, target)
        assert set(objective.nodes) <= set(graph.keys)
        assert repr(objective) == repr(score(graph, target))


def test_without_transforms_it_is_the_network_on_the_picture() -> None:
    network, canvas = small(), fourier(12, 12)
    numbers = canvas.start(2, "noise")
    assert torch.equal(pipeline(network, canvas)(numbers), network(canvas.picture(numbers)))


@each_canvas
@each_color
def test_its_gradient_equals_finite_differences(name: str, channels: int) -> None:
    canvas = canvas_by_name(name, 12, 11, channels)
    graph = pipeline(small(channels), canvas, robust(12, 11))
    objective = score(graph, 1) - 2.0 * l2() - 0.3 * total_variation()
    numbers = canvas.start(2, colors(2, channels, 12, 11)).double()
    check_network(graph, numbers, objective=objective, wrt="inputs").verify()


def test_a_larger_picture_fits_a_network_of_one_size_with_preprocessing() -> None:
    network = Sequential(Conv2d(3, 2, 12), {"end": GlobalAvgPool()})
    sized = with_preprocessing(Network(network.nodes, network.inputs, None, {"shape": [3, 12, 12]}), Preprocessing(12))
    assert pipeline(sized, pixels(20, 16), robust(20, 16))(pixels(20, 16).start(1)).shape == (1, 2)


def test_transforms_are_copied() -> None:
    jitter, network = Jitter(1), small()
    first, second = (pipeline(network, pixels(12, 12), [jitter, Noise(0.1)]).seed(0) for _ in range(2))
    assert jitter.generator is None
    numbers = pixels(12, 12).start(1)
    one = first(numbers)
    assert torch.equal(second(numbers), one)
    assert not torch.equal(first(numbers), one)


@pytest.mark.parametrize("side", [8, 32, 128, 224])
def test_robust_keeps_the_size(side: int) -> None:
    x = torch.rand(2, 3, side, side + 3)
    for block in robust(side, side + 3):
        x = block(x)
    assert x.shape == (2, 3, side, side + 3)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="did you mean 'fourier'"):
        canvas_by_name("forier", 8, 8)
    with pytest.raises(SettingError, match="at least 1 pixel"):
        canvas_by_name("pixels", 0, 8)
    with pytest.raises(SettingError, match="noise, gray or a picture"):
        pixels(8, 8).start(1, "grey")
    with pytest.raises(SettingError, match="at least one picture"):
        pixels(8, 8).start(0)
    with pytest.raises(ShapeError, match="1 or 2 pictures of 3 x 8 x 8"):
        pixels(8, 8).start(2, torch.zeros(3, 3, 8, 8))
    with pytest.raises(SettingError, match="blocks as transforms"):
        pipeline(small(), pixels(12, 12), [Jitter])  # type: ignore[list-item]
    with pytest.raises(GraphError, match="a node 'image' itself"):
        pipeline(Sequential({"image": Affine(2.0)}), pixels(8, 8))


def test_resized() -> None:
    picture = torch.rand(1, 3, 20, 30)
    assert resized(picture, 20, 30) is picture
    assert resized(picture, 10, 12).shape == (1, 3, 10, 12)
