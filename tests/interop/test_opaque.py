"""Opaque: operators of torch as blocks, and which operators are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from blockprop.engine.check import check_block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.interop.modules import to_torch
from blockprop.interop.opaque import Opaque
from blockprop.reports.diagram import diagram
from blockprop.saving.storage import load, save
from tests.blocks import test_blocks as common
from tests.cases import Case
from tests.cases.case import positive, spread
from tests.trust.layouts import differences

X, Y = {"input": 0}, {"input": 1}


def of_all(function: Any, *settings: Any, **more: Any) -> Any:
    return lambda _block, *x: function(*x, *settings, **more)


def with_index(generator: torch.Generator) -> tuple[Tensor, ...]:
    return spread((3, 5), generator), torch.tensor([[4, 0], [1, 1], [2, 3]])


def with_mask(generator: torch.Generator) -> tuple[Tensor, ...]:
    return spread((3, 5), generator) > 0, spread((3, 5), generator), spread((3, 5), generator)


OPAQUE = [
    Case(lambda: Opaque("aten.cumsum.default", [X, 1]), ((3, 4),), of_all(torch.cumsum, 1), wrong=((),)),
    Case(lambda: Opaque("aten.lgamma.default", [X]), positive(3, 4), of_all(torch.lgamma)),
    Case(lambda: Opaque("aten.add.Tensor", [X, 2], {"alpha": 3}), ((3, 4),), of_all(torch.add, 2, alpha=3)),
    Case(lambda: Opaque("aten.mul.Tensor", [X, X]), ((3, 4),), of_all(torch.square)),
    Case(lambda: Opaque("aten.atan2.default", [Y, X]), ((3, 4), (3, 4)), lambda _, x, y: torch.atan2(y, x)),
    Case(
        lambda: Opaque("aten.cat.default", [[X, Y, X], 1]),
        ((3, 4), (3, 2)),
        lambda _, x, y: torch.cat((x, y, x), 1),
        wrong=((3, 4), (2, 2, 2)),
    ),
    Case(lambda: Opaque("aten.gather.default", [X, 1, Y]), with_index, lambda _, x, index: x.gather(1, index)),
    Case(lambda: Opaque("aten.index.Tensor", [X, [None, Y]]), with_index, lambda _, x, i: x[:, i], batch=None),
    Case(lambda: Opaque("aten.where.self", [X, Y, {"input": 2}]), with_mask, of_all(torch.where)),
    Case(
        lambda: Opaque("aten.sum.dim_IntList", [X, [1], True], {"dtype": {"dtype": "float64"}}),
        ((3, 4),),
        of_all(torch.sum, 1, keepdim=True, dtype=torch.float64),
    ),
    Case(
        lambda: Opaque("aten.clone.default", [X], {"memory_format": {"memory_format": "channels_last"}}),
        ((2, 3, 2, 2),),
        of_all(torch.clone),
    ),
    Case(
        lambda: Opaque("aten.expand.default", [X, [2, {"size": "a0*2 - a0"}, -1]]),
        ((3, 4),),
        lambda _, x: x.expand(2, -1, -1),
        batch=None,
    ),
    Case(
        lambda: Opaque("aten.var_mean.correction", [X, [1]], {"correction": 0}, 2),
        ((3, 4),),
        of_all(torch.var_mean, 1, correction=0),
    ),
    Case(lambda: Opaque("aten.unbind.int", [X, 1], output_count=3), ((2, 3),), of_all(torch.unbind, 1)),
    Case(lambda: Opaque("aten.max_pool2d.default", [X, [2, 2], [1, 1]]), ((2, 1, 3, 4),), of_all(F.max_pool2d, 2, 1)),
]
each_case = pytest.mark.parametrize("case", OPAQUE, ids=str)


@each_case
@pytest.mark.parametrize(
    "check",
    [
        common.test_both_backward_methods_equal_finite_differences,
        common.test_a_batch_of_one_is_a_row_of_the_batch,
        common.test_an_empty_batch_gives_empty_outputs_and_zero_gradients,
        common.test_a_wrong_shape_is_refused,
        common.test_settings_make_an_equal_block,
        common.test_half_a_graph_can_run_under_autograd_or_inference_mode,
    ],
    ids=lambda check: check.__name__.removeprefix("test_"),
)
def test_it_passes_the_common_checks(case: Case, check: Any) -> None:
    check(case)


@each_case
def test_both_passes_equal_autograd(case: Case) -> None:
    common.test_both_passes_equal_autograd(case, torch.float64)


@each_case
def test_any_order_of_memory_gives_the_same(case: Case) -> None:
    for difference in differences(case, torch.float64, trials=3):
        raise AssertionError(str(difference))


@each_case
def test_it_survives_a_file_and_training_under_autograd(case: Case, tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(len(case.tensors()))]
    network = Network([Node("opaque", case.make(), tuple(names))], names)
    save(network, tmp_path / "net")
    other = load(tmp_path / "net", opaque=True)
    save(other, tmp_path / "net.safetensors")
    assert repr(load(tmp_path / "net.safetensors", opaque=True)) == repr(network)
    module, leaves = to_torch(other), [x.requires_grad_(x.is_floating_point()) for x in case.tensors()]
    mine, theirs = module(*leaves), case.reference(None, *leaves)
    mine, theirs = (y if isinstance(y, tuple) else (y,) for y in (mine, theirs))
    wanted = [x for x in leaves if x.requires_grad]
    for d, expected in zip(
        torch.autograd.grad(sum(y.square().sum() for y in mine), wanted),
        torch.autograd.grad(sum(y.square().sum() for y in theirs), wanted),
        strict=True,
    ):
        torch.testing.assert_close(d, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_nothing_of_the_recording_gets_out(mode: Any) -> None:
    block, x = Opaque("aten.view.default", [X, [-1]]), torch.randn(2, 3)
    with mode():
        y, saved = block.forward(x)
        (d_x,) = block.propagate(saved, torch.ones(6))
        again = Opaque("aten.exp.default", [X])
        z, saved = again.forward(1 * y)  # under inference_mode a tensor that autograd cannot record
        (d_y,) = again.propagate(saved, torch.ones(6))
    assert not any(t.requires_grad or t.grad_fn is not None for t in (x, y, z, d_x, d_y))
    torch.testing.assert_close(d_y, y.exp())
    x.requires_grad_()
    with mode():
        y, saved = block.forward(x)
        assert not y.requires_grad
        assert not block.propagate(saved, torch.ones(6))[0].requires_grad
    assert x.grad is None


def test_without_a_derivative_there_is_none() -> None:
    for block in (
        Opaque("aten.argmax.default", [X]),
        Opaque("aten.gt.Scalar", [X, 0.5]),
        Opaque("aten.detach.default", [X]),
    ):
        y, saved = block.forward(torch.randn(3))
        assert block.propagate(saved, torch.ones(y.shape)) == (None,)
    sort, x = Opaque("aten.sort.default", [X], output_count=2), torch.randn(3)
    (_, places), saved = sort.forward(x)
    assert places.dtype == torch.int64
    assert sort.propagate(saved, (None, torch.ones(3))) == (None,)
    assert torch.equal(sort.propagate(saved, (torch.arange(3.0), None))[0][places], torch.arange(3.0))
    _, saved = Opaque("aten.mul.Tensor", [X, Y]).forward(torch.arange(3), torch.ones(3))
    assert Opaque("aten.mul.Tensor", [X, Y]).propagate(saved, torch.ones(3))[0] is None
    _, saved = Opaque("aten.expand_as.default", [X, Y]).forward(torch.ones(1), torch.ones(3))
    d_x, d_y = Opaque("aten.expand_as.default", [X, Y]).propagate(saved, torch.ones(3))
    assert d_x == 3
    assert d_y is None


def test_complex_numbers() -> None:
    forth, back = Opaque("aten.fft_rfft.default", [X]), Opaque("aten.fft_irfft.default", [X, 6])
    x = torch.randn(6, dtype=torch.float64)
    spectrum, saved = forth.forward(x)
    y, saved_back = back.forward(spectrum)
    torch.testing.assert_close(y, x)
    (d_x,) = forth.propagate(saved, back.propagate(saved_back, torch.arange(6.0, dtype=torch.float64))[0])
    torch.testing.assert_close(d_x, torch.arange(6.0, dtype=torch.float64))


def test_random_operators_go_back_through_what_they_drew() -> None:
    block, x = Opaque("aten.dropout.default", [X, 0.5, True]), torch.ones(100)
    y, saved = block.forward(x)
    other, _ = block.forward(x)
    assert not torch.equal(y, other)
    before = torch.get_rng_state()
    (d_x,) = block.propagate(saved, torch.ones(100))
    assert torch.equal(d_x, y)
    assert torch.equal(before, torch.get_rng_state())


def test_it_is_checked_like_any_block() -> None:
    network = Sequential(blocks.Linear(3, 4), Opaque("aten.logcumsumexp.default", [X, 1]), blocks.Tanh())
    x = torch.randn(2, 3)
    check_block(network.blocks["opaque1"], torch.randn(2, 4)).verify()
    assert network.blocks["opaque1"].forward(torch.empty(2, 4, device="meta"))[0].is_meta
    trace = network.forward(x)
    d = network.backward(trace, torch.ones(2, 4), "inputs")
    leaf = x.clone().requires_grad_()
    y = torch.tanh(torch.logcumsumexp(F.linear(leaf, *network.parameters.values()), 1))
    torch.testing.assert_close(d["x"], torch.autograd.grad(y.sum(), leaf)[0])


def test_a_diagram_marks_what_goes_back_by_autograd() -> None:
    network = Sequential(blocks.ReLU(), Opaque("aten.cumsum.default", [X, 1]))
    svg = diagram(network)
    assert svg.count("stroke-dasharray") == 2, "the box, and the legend"
    assert "opaque1: aten.cumsum (backward by torch's autograd)" in svg.replace("&#x27;", "'")
    assert ">backward by torch's autograd</text>" in svg
    assert "autograd" not in diagram(Sequential(blocks.ReLU()))
