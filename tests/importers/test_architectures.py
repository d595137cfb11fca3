"""The networks that stand for the users' own: they run, have the paper's parameters, and make meaningful tests."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tests.architectures import ARCHITECTURES, SPELLINGS, Architecture, resized
from tests.architectures.alexnet import AlexNet
from tests.architectures.convnext import ConvNeXt
from tests.architectures.densenet import DenseNet
from tests.architectures.efficientnet import EfficientNet, drop_branch
from tests.architectures.googlenet import GoogLeNet, GoogLeNetOutputs
from tests.architectures.gpt import GPT, MaskedAttention
from tests.architectures.gpt import TorchAttention as CausalAttention
from tests.architectures.inception import InceptionV3
from tests.architectures.lenet import LeNet5, LeNet5Of1998
from tests.architectures.mixer import Mixer
from tests.architectures.mobilenet import MobileNetV2, mobilenet_v3_large, mobilenet_v3_small
from tests.architectures.resnet import resnet18, resnet50
from tests.architectures.segmentation import Segmentation
from tests.architectures.shufflenet import ShuffleNetV2
from tests.architectures.squeezenet import SqueezeNet
from tests.architectures.swin import Swin
from tests.architectures.unet import UNet
from tests.architectures.vgg import VGG16, VGG19
from tests.architectures.vit import OwnAttention, TorchAttention, ViT

ALL = ARCHITECTURES | SPELLINGS

each = pytest.mark.parametrize("name", ALL)
each_network = pytest.mark.parametrize("name", ARCHITECTURES)

PUBLISHED: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "lenet5": (61_706, LeNet5),
    "lenet5_1998": (60_000, LeNet5Of1998),
    "alexnet": (60_965_224, lambda: AlexNet(1.0, 1000, side=6)),
    "vgg16": (138_357_544, lambda: VGG16(1.0, 1000, side=7)),
    "vgg19": (143_667_240, lambda: VGG19(1.0, 1000, side=7)),
    "googlenet": (13_378_280, lambda: GoogLeNet(1.0, 1000)),
    "googlenet without auxiliary heads": (6_998_552, lambda: GoogLeNet(1.0, 1000, auxiliary=False)),
    "inception_v3": (23_834_568, lambda: InceptionV3(1.0, 1000)),
    "squeezenet1_1": (1_235_496, lambda: SqueezeNet(1.0, 1000)),
    "resnet18": (11_689_512, lambda: resnet18(64, 1000)),
    "resnet50": (25_557_032, lambda: resnet50(64, 1000)),
    "densenet121": (7_978_856, lambda: DenseNet(32, 1000)),
    "mobilenet_v2": (3_504_872, lambda: MobileNetV2(1.0, 1000)),
    "mobilenet_v3_large": (5_483_032, lambda: mobilenet_v3_large(1.0, 1000)),
    "mobilenet_v3_small": (2_542_856, lambda: mobilenet_v3_small(1.0, 1000)),
    "efficientnet_b0": (5_288_548, lambda: EfficientNet(1.0, 1000)),
    "convnext_tiny": (28_589_128, lambda: ConvNeXt(96, 1000)),
    "shufflenet_v2": (2_278_604, lambda: ShuffleNetV2((24, 116, 232, 464, 1024), 1000)),
    "unet": (31_030_593, lambda: UNet(64, channels=1, classes=1)),
    "fcn_resnet50": (35_322_218, lambda: Segmentation(False, 64, 21)),
    "deeplabv3_resnet50": (42_004_074, lambda: Segmentation(True, 64, 21)),
    "vit": (86_567_656, lambda: ViT(TorchAttention, 768, 12, 16, 196, 12, 1000)),
    "vit_sdpa": (86_567_656, lambda: ViT(OwnAttention, 768, 12, 16, 196, 12, 1000)),
    "swin_tiny": (28_288_354, lambda: Swin(96, (3, 6, 12, 24), window=7, classes=1000)),
    "mixer": (59_880_472, lambda: Mixer(768, 16, 196, 12, 1000)),
    "gpt": (124_439_808, lambda: GPT(CausalAttention, 768, 12, 12, 50_257, 1024)),
    "gpt_masked": (124_439_808, lambda: GPT(MaskedAttention, 768, 12, 12, 50_257, 1024)),
}
"""The number of parameters of the network in full size, with the classes of the data set that it was published for."""

SMALL = {
    "lenet5": 61_706,
    "lenet5_1998": 60_000,
    "alexnet": 83_954,
    "vgg16": 134_638,
    "vgg19": 155_454,
    "googlenet": 166_936,
    "inception_v3": 88_458,
    "squeezenet1_1": 47_322,
    "resnet18": 177_362,
    "resnet50": 96_782,
    "densenet121": 120_122,
    "mobilenet_v2": 162_602,
    "mobilenet_v3_large": 191_970,
    "mobilenet_v3_small": 119_842,
    "efficientnet_b0": 297_407,
    "convnext_tiny": 223_890,
    "shufflenet_v1": 67_534,
    "shufflenet_v2": 40_366,
    "unet": 121_658,
    "unet_bilinear": 123_398,
    "unet_cropping": 30_534,
    "fcn_resnet50": 141_918,
    "deeplabv3_resnet50": 168_110,
    "srresnet": 28_404,
    "espcn": 2_233,
    "vit": 92_050,
    "vit_sdpa": 92_050,
    "swin_tiny": 197_296,
    "mixer": 67_762,
    "encoder": 44_644,
    "encoder_norm_first": 44_692,
    "encoder_padded": 44_644,
    "gpt": 53_600,
    "gpt_masked": 53_600,
    "lstm": 4_419,
    "gru": 3_603,
    "tcn": 3_437,
}

UNUSED = {"googlenet": ("aux1.", "aux2."), "module_dict": ("stems.large.",), "unused": ("never.", "conv2.")}
"""Parameters that reach no output in eval mode, by how their names start."""


@cache
def made(name: str) -> nn.Module:
    return ALL[name].make()


def inputs_of(architecture: Architecture, seed: int = 1) -> tuple[Tensor, ...]:
    return architecture.inputs(torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def outputs_of(module: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """All tensors of the output, however it is nested."""
    return tree_leaves(module(*inputs))


@each
def test_outputs_are_finite_moderate_and_differ(name: str) -> None:
    with torch.no_grad():
        outputs = outputs_of(made(name), *inputs_of(ALL[name]))
    for y in outputs:
        assert y.isfinite().all()
        assert 1e-3 < y.float().std() < 300
        assert y.float().abs().max() < 1000
        assert not torch.equal(y[0], y[1])


@each
def test_free_sizes_may_differ_and_others_may_not(name: str) -> None:
    architecture, inputs = ALL[name], inputs_of(ALL[name])
    sizes: dict[str, int] = {}
    for axes, x in zip(architecture.axes, inputs, strict=True):
        sizes |= zip(axes, x.shape, strict=True)
    other = {"batch": 3, "height": sizes.get("height", 0) + 9, "width": sizes.get("width", 0) + 5, "length": 7}
    free = {axis: other[axis] for axis in architecture.free}
    with torch.no_grad():
        outputs = outputs_of(made(name), *resized(architecture, inputs, free))
        assert {y.shape[0] for y in outputs} == {3}
        for axis in {"height", "width", "length"} & set(sizes) - set(free):
            with pytest.raises(RuntimeError):
                made(name)(*resized(architecture, inputs, {axis: sizes[axis] + 35}))


@each
def test_gradients_reach_the_inputs_and_all_trained_parameters(name: str) -> None:
    module = made(name)
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs_of(ALL[name])]
    outputs = outputs_of(module, *inputs)
    trained = {key: p for key, p in module.named_parameters() if p.requires_grad}
    wanted = [*trained.values(), *(x for x in inputs if x.requires_grad)]
    found = torch.autograd.grad(outputs, wanted, [torch.randn_like(y) for y in outputs], allow_unused=True)
    for key, gradient in zip(trained, found, strict=False):
        if key.startswith(UNUSED.get(name, ("nothing",))):
            assert gradient is None, key
        else:
            assert gradient.isfinite().all(), key
            assert gradient.any(), key
    for gradient in found[len(trained) :]:
        assert gradient.isfinite().all()
        assert gradient.count_nonzero() >= gradient.numel() / 4


@each_network
def test_small_networks_have_as_many_parameters_as_stated(name: str) -> None:
    assert count(made(name)) == SMALL[name] < 300_000


@pytest.mark.parametrize("name", PUBLISHED)
def test_full_networks_have_as_many_parameters_as_published(name: str) -> None:
    number, build = PUBLISHED[name]
    with torch.device("meta"):
        assert count(build()) == number


@each_network
def test_make_repeats(name: str) -> None:
    first = made(name).state_dict()
    torch.manual_seed(7)
    second = ALL[name].make().state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@each
def test_all_is_in_eval_mode_and_every_norm_is_scattered(name: str) -> None:
    for part in made(name).modules():
        assert not part.training
        if isinstance(part, nn.BatchNorm2d):
            for x in (part.weight, part.bias, part.running_mean, part.running_var):
                assert (x != 0).all()
                assert (x != 1).all()


def test_googlenet_has_two_more_outputs_while_training() -> None:
    module = ARCHITECTURES["googlenet"].make().train()
    outputs = module(*inputs_of(ARCHITECTURES["googlenet"]))
    assert isinstance(outputs, GoogLeNetOutputs)
    sum(y.sum() for y in outputs).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_stochastic_depth_leaves_out_whole_examples_while_training() -> None:
    x = torch.ones(1000, 2, 3, 3)
    y = drop_branch(x, 0.2, training=True)
    assert set(y.unique().tolist()) == {0.0, 1.25}
    assert (y.amax((1, 2, 3)) == y.amin((1, 2, 3))).all()
    assert 0.7 < (y > 0).float().mean() < 0.9
    assert drop_branch(x, 0.2, training=False) is x


def test_both_kinds_of_causal_attention_agree() -> None:
    masked, plain = made("gpt_masked"), ALL["gpt"].make()
    plain.load_state_dict({key: x for key, x in masked.state_dict().items() if not key.endswith("mask")})
    x = inputs_of(ALL["gpt"])
    torch.testing.assert_close(plain(*x), masked(*x))


def test_both_kinds_of_attention_of_vit_agree() -> None:
    names = {"qkv.": "mha.in_proj_", "proj.": "mha.out_proj."}
    own, theirs = ALL["vit_sdpa"].make(), made("vit")
    weights = theirs.state_dict()
    for key in own.state_dict():
        for mine, its in names.items():
            if f"attention.{mine}" in key:
                weights[key] = weights.pop(key.replace(f"attention.{mine}", f"attention.{its}"))
    own.load_state_dict(weights)
    x = inputs_of(ALL["vit"])
    torch.testing.assert_close(own(*x), theirs(*x))


def test_nothing_that_comes_later_changes_a_causal_output() -> None:
    for name in ("gpt", "gpt_masked"):
        (words,) = inputs_of(ALL[name])
        changed = words.clone()
        changed[:, 10:] = 1
        before, after = made(name)(words), made(name)(changed)
        torch.testing.assert_close(before[:, :10], after[:, :10])
        assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_padding_changes_nothing() -> None:
    module, (words,) = made("encoder_padded"), inputs_of(ALL["encoder_padded"])
    torch.testing.assert_close(module(words)[1:], module(words[1:, :9]))


def test_the_unet_without_padding_loses_184_pixels() -> None:
    assert made("unet_cropping")(torch.zeros(1, 1, 188, 204)).shape == (1, 2, 4, 20)


SAME = {
    "relu_function": lambda name: name.startswith("relu_") and name not in DIFFERENT,
    "flatten_torch": lambda name: name.startswith(("flatten_", "unflatten")) and name not in DIFFERENT,
    "mean_tuple": lambda name: name.startswith("mean_"),
    "max_amax": lambda name: name.startswith("max_"),
    "add": lambda name: name in {"add_augmented", "add_torch", "add_inplace", "add_builtin_sum", "add_stacked"},
    "mul": lambda name: name in {"mul_augmented", "mul_inplace", "mul_torch"},
    "cat": lambda name: name in {"cat_tuple", "hstack"},
    "end_softmax": lambda name: name.startswith("end_softmax"),
    "end_log_softmax": lambda name: name.startswith("end_log"),
    "linear_on_pictures": lambda name: name == "einsum_linear",
}
DIFFERENT = {"relu_ten_uses", "relu_ten_uses_inplace", "relu_dropped", "relu_forked", "relu_cloned"}
DIFFERENT |= {"relu_through_view", "relu_half_of_the_channels", "flatten_channels_last", "flatten_contiguous"}


@pytest.mark.parametrize("first", SAME)
def test_spellings_of_one_thing_give_the_same(first: str) -> None:
    x = inputs_of(SPELLINGS[first])
    others = [name for name in SPELLINGS if SAME[first](name) and name != first]
    assert others
    for name in others:
        torch.testing.assert_close(made(name)(*x), made(first)(*x))
