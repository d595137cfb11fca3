"""Recurrent blocks beyond the common checks: steps by hand, torch's modules, large products, dropout, other numbers."""

import math

import pytest
import torch
from torch import Tensor, nn

from blockprop.blocks import GRU, LSTM, RNN, Linear
from blockprop.blocks.through_time import Recurrent
from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.errors import SettingError, ShapeError
from blockprop.saving.storage import load, save
from tests.cases.gru import gru_of_2014
from tests.cases.recurrent import recurrent

KINDS = {LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN}


def with_numbers(block: Recurrent, **numbers: object) -> Recurrent:
    """The block with these parameters of its only layer, and zeros for the rest."""
    for name, tensor in block.parameters.items():
        value = torch.tensor(numbers.get(name.removesuffix("_l0"), 0.0), dtype=torch.float64)
        setattr(block, name, value.expand(tensor.shape).clone())
    return block


def number(value: float) -> Tensor:
    return torch.tensor([[[value]]], dtype=torch.float64)


def back(block: Recurrent, *inputs: Tensor, seed: int = 1) -> tuple[tuple, tuple, dict]:
    """(outputs, d_inputs, gradients) for random d_outputs"""
    outputs, saved = block.forward(*inputs)
    d_outputs = random_like(outputs, seed)
    return outputs, block.propagate(saved, d_outputs), block.gradients(saved, d_outputs)


def random_like(tensors: tuple[Tensor, ...], seed: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(x.shape, generator=generator).to(x.dtype) for x in tensors)


def test_a_step_of_lstm_by_hand() -> None:
    """All gates half open: c = 2 / 2 + 1/2 · 1/2, h = tanh(c) / 2."""
    block = with_numbers(LSTM(1, 1), bias_ih=[0, 0, math.atanh(0.5), 0])
    (y, h, c), saved = block.forward(number(3), number(1), number(2))
    tanh = math.tanh(1.25)
    assert c.item() == pytest.approx(1.25)
    assert y.item() == h.item() == pytest.approx(tanh / 2)

    d_output = number(1), None, number(10)
    _, _, d_c0 = block.propagate(saved, d_output)
    d_c = 10 + (1 - tanh**2) / 2
    assert d_c0.item() == pytest.approx(d_c / 2)
    d_gates = [d_c * 0.5 / 4, d_c * 2 / 4, d_c * 0.5 * 0.75, tanh / 4]
    gradients = block.gradients(saved, d_output)
    assert gradients["bias_ih_l0"].tolist() == pytest.approx(d_gates)
    assert gradients["weight_ih_l0"].flatten().tolist() == pytest.approx([3 * d for d in d_gates])
    assert gradients["weight_hh_l0"].flatten().tolist() == pytest.approx(d_gates)


@pytest.mark.parametrize(("reset_after", "candidate"), [(True, math.tanh(3 / 2)), (False, math.tanh(2 / 2 + 1))])
def test_a_step_of_both_kinds_of_gru_by_hand(reset_after: bool, candidate: float) -> None:
    """Both gates half open, the candidate from h = 2 and a bias of 1: h' = candidate / 2 + 2 / 2."""
    block = with_numbers(GRU(1, 1, reset_after=reset_after), weight_hh=[[0], [0], [1]], bias_hh=[0, 0, 1])
    (y, _), saved = block.forward(number(0), number(2))
    assert y.item() == pytest.approx(candidate / 2 + 1)
    d_output = number(1), None
    _, d_h0 = block.propagate(saved, d_output)
    d_n = (1 - candidate**2) / 2
    assert d_h0.item() == pytest.approx(0.5 + d_n * 0.5)
    gradients = block.gradients(saved, d_output)
    d_r = d_n * (3 if reset_after else 2) / 4
    d_z = (2 - candidate) / 4
    assert gradients["bias_ih_l0"].tolist() == pytest.approx([d_r, d_z, d_n])
    assert gradients["bias_hh_l0"].tolist() == pytest.approx([d_r, d_z, d_n / 2 if reset_after else d_n])


def test_steps_of_rnn_by_hand() -> None:
    """h doubles and takes x: 1, then 1 + 2, then −9 + 6, which ReLU cuts off."""
    block = with_numbers(RNN(1, 1, nonlinearity="relu"), weight_ih=1, weight_hh=2)
    x = torch.tensor([1.0, 1.0, -9.0], dtype=torch.float64).view(3, 1, 1)
    (y, h), saved = block.forward(x)
    assert y.flatten().tolist() == [1, 3, 0]
    assert h.item() == 0
    d_output = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64).view(3, 1, 1), None
    (d_x,) = block.propagate(saved, d_output)
    assert d_x.flatten().tolist() == [21, 10, 0]
    assert block.gradients(saved, d_output)["weight_hh_l0"].item() == 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings", [{}, {"layers": 3, "bidirectional": True}, {"with_bias": False, "batch_first": True}, {"projection": 3}]
)
def test_weights_of_torch_s_modules_fit_by_name(kind: type, settings: dict) -> None:
    if "projection" in settings and kind is not LSTM:
        pytest.skip("only LSTM has a projection")
    block = kind(4, 5, **settings)
    names = {"layers": "num_layers", "with_bias": "bias", "projection": "proj_size"}
    module = KINDS[kind](4, 5, **{names.get(name, name): value for name, value in settings.items()}).double()
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    assert {name: p.shape for name, p in block.parameters.items()} == {name: w.shape for name, w in weights.items()}
    assert list(block.parameters) == list(weights)
    for name, weight in weights.items():
        setattr(block, name, weight)
    x = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, last = module(x)
    for mine, theirs in zip(block(x), (y, *(last if kind is LSTM else (last,))), strict=True):
        torch.testing.assert_close(mine, theirs.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_new_weights_are_within_torch_s_bounds(kind: type) -> None:
    for weight in kind(20, 25, 2).parameters.values():
        assert 0.15 < float(weight.abs().max()) <= 0.2


LARGE_BLOCKS = [
    lambda: LSTM(64, 128),
    lambda: LSTM(64, 160, projection=128),
    lambda: GRU(64, 160, bidirectional=True),
    lambda: GRU(64, 240, reset_after=False),
    lambda: RNN(64, 256),
]


@pytest.mark.parametrize("make", LARGE_BLOCKS)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_large_products_in_float32_equal_autograd(make) -> None:
    """Large enough for oneDNN in every step; float32 sums of some hundred terms are right to about 1e-5."""
    torch.manual_seed(0)
    block = make()
    x, h = torch.randn(5, 40, 64), 0.5 * torch.randn(block.directions, 40, block.features_out)
    outputs, d_inputs, gradients = back(block, x, h)
    inputs, weights = (x.requires_grad_(), h.requires_grad_()), block.parameters
    for weight in weights.values():
        weight.requires_grad_()
    reference = gru_of_2014 if getattr(block, "reset_after", True) is False else recurrent
    theirs = reference(block, *inputs)
    torch.autograd.backward(theirs, random_like(theirs))
    pairs = [*zip(outputs, theirs, strict=True), *((d, x.grad) for d, x in zip(d_inputs, inputs, strict=True))]
    for mine, other in [*pairs, *((gradients[name], weight.grad) for name, weight in weights.items())]:
        torch.testing.assert_close(mine, other.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_do_not_depend_on_propagate(kind: type) -> None:
    """Propagate leaves its way back to gradients, which must not take it for that of another d_output."""
    block, x = kind(3, 4, 2, bidirectional=True), torch.randn(5, 2, 3)
    outputs, saved = block.forward(x)
    first, second = random_like(outputs, 1), random_like(outputs, 2)
    expected = [block.gradients(saved, d) for d in (first, second)]

    def check(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
        for name, d in found.items():
            torch.testing.assert_close(d, wanted[name])

    block.propagate(saved, first)
    check(block.gradients(saved, first), expected[0])
    block.propagate(saved, first)
    check(block.gradients(saved, second), expected[1])
    block.propagate(saved, first)
    for d, other in zip(first, second, strict=True):
        d.copy_(other)
    check(block.gradients(saved, first), expected[1])


def test_a_network_goes_back_from_the_last_state_alone(tmp_path) -> None:
    torch.manual_seed(0)
    nodes = [Node("lstm", LSTM(3, 4, batch_first=True), ("x",)), Node("out", Linear(4, 2), ("lstm[1]",))]
    network = Network(nodes, outputs=("out",))
    x, target = torch.randn(2, 5, 3), torch.randn(1, 2, 2)
    check_network(network, x, objective=mean_squared_error(), target=target).verify()
    save(network, tmp_path / "net.safetensors")
    assert torch.equal(load(tmp_path / "net.safetensors")(x), network(x))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_for_training_and_between_layers(kind: type) -> None:
    x = torch.randn(3, 2, 4)
    block = kind(4, 5, 2, dropout=0.5)

    def trained(seed: int) -> Tensor:
        block.generator = torch.Generator().manual_seed(seed)
        return block.forward(x, training=True)[0][0]

    plain = block(x)[0]
    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))
    assert not torch.equal(trained(1), plain)
    assert torch.equal(block(x)[0], plain)
    single = kind(4, 5, dropout=0.5)
    assert torch.equal(single.forward(x, training=True)[0][0], single(x)[0])


def test_each_layer_draws_a_mask_of_its_own() -> None:
    block = RNN(4, 50, 3, dropout=0.5)
    _, saved = block.forward(torch.randn(3, 2, 4), training=True)
    first, second = saved.masks
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", [*KINDS, lambda *sizes: GRU(*sizes, reset_after=False)])
def test_half_precision(make, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    block, x = make(3, 4), torch.randn(4, 2, 3)
    outputs, d_inputs, gradients = back(block, x)
    for name, weight in block.parameters.items():
        setattr(block, name, weight.to(dtype))
    half_outputs, half_d_inputs, half_gradients = back(block, x.to(dtype))
    pairs = zip((*half_outputs, *half_d_inputs), (*outputs, *d_inputs), strict=True)
    for mine, theirs in [*pairs, *((half_gradients[name], d) for name, d in gradients.items())]:
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.float(), theirs, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTM(0, 4),
        lambda: GRU(3, 0),
        lambda: RNN(3, 4, 0),
        lambda: RNN(3, 4, 10**9),
        lambda: LSTM(3, 4, projection=4),
        lambda: LSTM(3, 4, projection=-1),
        lambda: GRU(3, 4, dropout=1.5),
        lambda: RNN(3, 4, nonlinearity="sigmoid"),
    ],
)
def test_nonsense_settings_are_refused(make) -> None:
    with pytest.raises(SettingError, match="came"):
        make()


@pytest.mark.parametrize(
    ("block", "shapes", "says"),
    [
        (LSTM(3, 4), ((5, 3),), r"\(l, n, 3\) with l at least 1, came \(5, 3\)"),
        (GRU(3, 4, batch_first=True), ((2, 0, 3),), r"\(n, l, 3\) with l at least 1, came \(2, 0, 3\)"),
        (LSTM(3, 4), ((5, 2, 3), (1, 2, 4), (1, 2, 3)), r"first states \(1, 2, 4\) and \(1, 2, 4\), came"),
        (GRU(3, 4), ((5, 2, 3), (2, 2, 4)), r"first states \(1, 2, 4\), came \[\(2, 2, 4\)\]"),
        (RNN(3, 4), ((5, 2, 3), (1, 2, 4), (1, 2, 4)), r"first states \(1, 2, 4\), came"),
    ],
)
def test_shapes_that_do_not_fit(block: Recurrent, shapes: tuple, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(*(torch.zeros(shape) for shape in shapes))
