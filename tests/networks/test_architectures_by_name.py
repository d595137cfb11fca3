"""Published networks by name: forward and backward as second versions of them, written with torch's own functions."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.errors import SettingError, ShapeError
from blockprop.networks.architectures import (
    ARCHITECTURES,
    INCEPTIONS,
    PREPROCESSING,
    googlenet,
    resnet20_cifar10,
    squeezenet1_1,
    vgg19,
    vgg19_decoder,
)
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load, save

State = dict[str, Tensor]


def convolve(x: Tensor, p: State, name: str, **settings: int) -> Tensor:
    return F.relu(F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], **settings))


def squeezenet_again(x: Tensor, p: State) -> Tensor:
    x = F.max_pool2d(convolve(x, p, "conv1", stride=2), 3, 2, ceil_mode=True)
    for i in range(2, 10):
        few = convolve(x, p, f"fire{i}.squeeze1x1")
        x = torch.cat([convolve(few, p, f"fire{i}.expand1x1"), convolve(few, p, f"fire{i}.expand3x3", padding=1)], 1)
        if i in (3, 5):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    return convolve(x, p, "conv10").mean((2, 3))


def googlenet_again(x: Tensor, p: State) -> Tensor:
    x = F.max_pool2d(convolve(x, p, "conv1_7x7_s2", stride=2, padding=3), 3, 2, ceil_mode=True)
    x = convolve(F.local_response_norm(x, 5), p, "conv2_3x3_reduce")
    x = F.local_response_norm(convolve(x, p, "conv2_3x3", padding=1), 5)
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for name in INCEPTIONS:
        at = f"inception_{name}"
        branches = [
            convolve(x, p, f"{at}_1x1"),
            convolve(convolve(x, p, f"{at}_3x3_reduce"), p, f"{at}_3x3", padding=1),
            convolve(convolve(x, p, f"{at}_5x5_reduce"), p, f"{at}_5x5", padding=2),
            convolve(F.max_pool2d(x, 3, 1, padding=1), p, f"{at}_pool_proj"),
        ]
        x = torch.cat(branches, 1)
        if name in ("3b", "4e"):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    return F.linear(x.mean((2, 3)), p["loss3_classifier.weight"], p["loss3_classifier.bias"])


def resnet_again(x: Tensor, p: State) -> Tensor:
    def unit(x: Tensor, layer: str, bn: str, stride: int = 1) -> Tensor:
        y = F.conv2d(x, p[f"{layer}.weight"], stride=stride, padding=1)
        found = [p[f"{bn}.{name}"] for name in ("running_mean", "running_variance", "weight", "bias")]
        return F.batch_norm(y, *found)

    x = F.relu(unit(x, "conv1", "bn1"))
    for stage in (1, 2, 3):
        for i in range(3):
            at, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = unit(F.relu(unit(x, f"{at}.conv1", f"{at}.bn1", stride)), f"{at}.conv2", f"{at}.bn2")
            if stride == 2:
                zeros = torch.zeros_like(x[:, : x.shape[1] // 2, ::2, ::2])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
            x = F.relu(y + x)
    return F.linear(x.mean((2, 3)), p["linear.weight"], p["linear.bias"])


def vgg_again(x: Tensor, p: State) -> Tensor:
    x = F.conv2d(x, p["conv0.weight"], p["conv0.bias"])
    for name in ("1_1", "1_2", "pool", "2_1", "2_2", "pool", "3_1"):
        x = F.max_pool2d(x, 2) if name == "pool" else convolve(F.pad(x, (1,) * 4, mode="reflect"), p, f"conv{name}")
    return x


def decoder_again(x: Tensor, p: State) -> Tensor:
    for name in ("3_1", "double", "2_2", "2_1", "double", "1_2"):
        if name == "double":
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        else:
            x = convolve(F.pad(x, (1,) * 4, mode="reflect"), p, f"conv{name}")
    return F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), p["conv1_1.weight"], p["conv1_1.bias"])


SECOND: dict[str, tuple[Callable[[], Network], Callable[[Tensor, State], Tensor], tuple[int, ...]]] = {
    "squeezenet": (squeezenet1_1, squeezenet_again, (2, 3, 61, 50)),
    "googlenet": (googlenet, googlenet_again, (2, 3, 75, 64)),
    "resnet": (resnet20_cifar10, resnet_again, (2, 3, 32, 33)),
    "vgg": (lambda: vgg19("relu3_1", width=4), vgg_again, (2, 3, 21, 16)),
    "decoder": (lambda: vgg19_decoder("conv3_1", width=4), decoder_again, (2, 16, 5, 4)),
}


def randomized(network: Network) -> Network:
    """In float64, with running statistics and biases other than those a network starts with."""
    network.to(dtype=torch.float64)
    for name, tensor in network.state.items():
        if tensor.dim() == 1:
            tensor.copy_(torch.rand_like(tensor) + (0.5 if "variance" in name or "bn" in name else -0.5))
    return network


@pytest.mark.parametrize("name", SECOND)
def test_forward_and_backward_as_a_second_version(name: str) -> None:
    build, again, size = SECOND[name]
    network = randomized(build())
    x = torch.randn(size, dtype=torch.float64, requires_grad=True)
    expected = again(x, network.state)
    trace = network.forward(x.detach())
    y = trace[network.outputs[0]]
    torch.testing.assert_close(y, expected.detach(), rtol=1e-9, atol=1e-9)
    d_y = torch.randn_like(y)
    (d_x,) = torch.autograd.grad(expected, x, d_y)
    torch.testing.assert_close(network.backward(trace, d_y, wrt="x")["x"], d_x, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (squeezenet1_1, 1_235_496),  # the authors' own count
        (googlenet, 6_998_552),
        (resnet20_cifar10, 269_722),  # He et al. 2015, table 6: 0.27 million
        (lambda: vgg19(with_conv0=False), 20_024_384),
    ],
)
def test_counts_of_parameters(build: Callable[[], Network], count: int) -> None:
    assert sum(tensor.numel() for tensor in build().parameters.values()) == count


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_runs_empty_and_on_meta_and_can_be_saved(name: str, tmp_path: object) -> None:
    settings = {"width": 2} if name.startswith("vgg") else {}
    network = ARCHITECTURES[name](**settings)
    assert network.inputs == ("x",)
    assert network.meta == {"architecture": name, "free": {"x": [0, 2, 3]}}
    size = (16, 2, 2) if name == "vgg19_decoder" else (3, 64, 64)
    y = network(torch.zeros(1, *size))
    assert network(torch.zeros(0, *size)).shape == (0, *y.shape[1:])
    with torch.device("meta"):
        on_meta = ARCHITECTURES[name](**settings)
    assert on_meta(torch.zeros(1, *size, device="meta")).shape == y.shape
    save(network, f"{tmp_path}/net.safetensors")
    assert torch.equal(load(f"{tmp_path}/net.safetensors")(torch.ones(1, *size)), network(torch.ones(1, *size)))


@pytest.mark.parametrize(("build", "least"), [(squeezenet1_1, 25), (googlenet, 47)])
def test_smallest_pictures(build: Callable[[], Network], least: int) -> None:
    network = build()
    assert network(torch.zeros(1, 3, least, least)).shape == (1, 1000)
    with pytest.raises(ShapeError):
        network(torch.zeros(1, 3, least, least - 1))


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (squeezenet1_1, "conv1 relu_conv1 pool1 fire2 fire9 fire2.squeeze1x1 relu_fire2.squeeze1x1 pool10"),
        (googlenet, "pool1_norm1 pool2_3x3_s2 inception_3a inception_5b relu_inception_4c_3x3 pool5 loss3_classifier"),
        (resnet20_cifar10, "relu1 layer1.0.relu2 layer2.0.shortcut layer3.2.sum pool linear"),
        (vgg19_decoder, "conv5_1 relu5_1 upsample4 conv4_4 upsample1 conv1_2 conv1_1"),
    ],
)
def test_nodes_are_named_as_people_look_for_them(build: Callable[[], Network], names: str) -> None:
    assert set(names.split()) <= set(build().blocks)


@pytest.mark.parametrize("until", ["conv0", "conv1_1", "relu1_1", "pool1", "conv3_4", "relu4_1", "relu5_4", "pool5"])
def test_vgg_stops_where_it_is_told(until: str) -> None:
    network = vgg19(until, width=2)
    assert network.outputs == (until,)
    assert network.nodes[-1].name == until
    full = vgg19(width=2).blocks
    assert list(network.blocks) == list(full)[: len(network.blocks)]


def test_vgg_with_zeros_is_the_published_one() -> None:
    network = vgg19("conv1_2", width=8, padding="zeros", with_conv0=False)
    assert list(network.blocks) == ["conv1_1", "relu1_1", "conv1_2"]
    x, p = torch.randn(1, 3, 8, 8), network.parameters
    expected = F.conv2d(convolve(x, p, "conv1_1", padding=1), p["conv1_2.weight"], p["conv1_2.bias"], padding=1)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("layer", ["1_1", "2_1", "2_2", "3_1", "4_1", "5_1"])
def test_the_decoder_takes_and_gives_what_vgg_gives_and_takes(layer: str) -> None:
    encoder, decoder = vgg19(f"relu{layer}", width=4), vgg19_decoder(f"conv{layer}", width=4)
    x = torch.zeros(1, 3, 32, 48)
    assert decoder(encoder(x)).shape == x.shape
    theirs = {name: tensor.shape for name, tensor in encoder.parameters.items() if name.endswith("weight")}
    for name, tensor in decoder.parameters.items():
        if name.endswith("weight"):
            assert tensor.shape[:2] == theirs[name][:2][::-1]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: vgg19("conv3_5"), "conv3_4"),
        (lambda: vgg19("fc6"), "no layer 'fc6'"),
        (lambda: vgg19(padding="same"), "padding must be"),
        (lambda: vgg19_decoder("relu3_1"), "no convolution 'relu3_1'"),
        (lambda: vgg19_decoder("conv3_1", padding="circular"), "padding must be"),
    ],
)
def test_what_cannot_be_built_is_explained(build: Callable[[], Network], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        build()


def test_preprocessing_is_known_for_what_takes_pictures() -> None:
    assert set(PREPROCESSING) == set(ARCHITECTURES) - {"vgg19_decoder"}
    for facts in PREPROCESSING.values():
        assert len(Preprocessing.from_dict(facts).to_dict()) == len(facts)  # every setting is said
