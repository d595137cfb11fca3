"""How much work an import is: exports, trials and copies are counted; and that cheap trials find what dear ones did."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop.importers import from_torch
from blockprop.importers.torch.exporting import Exporter
from blockprop.importers.torch.formulas import leaves_of
from blockprop.importers.torch.tracking import FORMULAS
from blockprop.importers.torch.twin import Twin
from tests.importers.against_torch import assert_outputs_equal


class Layer(nn.Module):
    """A convolution, and what is done with its output."""

    def __init__(self, then: Callable[..., Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.table = nn.Parameter(torch.randn(1, 4, 12, 12))
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x), self.table)


def free(x: Tensor, _: Tensor) -> Tensor:
    return x.relu().flatten(2).mean(-1)


def refuses_sizes(x: Tensor, table: Tensor) -> Tensor:
    return x + table


def decides(x: Tensor, _: Tensor) -> Tensor:
    lacking = -x.shape[2] % 4
    return F.pad(x, (0, 0, 0, lacking)) if lacking else x


def copies_at_some_sizes(x: Tensor, _: Tensor) -> Tensor:
    return x[:, :, : max(12, x.shape[2] - 1)].reshape(x.shape[0], -1)


@pytest.mark.filterwarnings("ignore:axes 2, 3 of 'x' are fixed")
@pytest.mark.parametrize(
    ("then", "exports", "axes"),
    [(free, 2, [0, 2, 3]), (refuses_sizes, 2, [0]), (decides, 2, [0]), (copies_at_some_sizes, 2, [0, 2, 3])],
)
def test_a_module_is_exported_as_seldom_as_can_be(
    then: Any, exports: int, axes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, export = [], torch.export.export

    def counted(*args: Any, **keywords: Any) -> Any:
        calls.append(args)
        return export(*args, **keywords)

    monkeypatch.setattr(torch.export, "export", counted)
    network = from_torch(Layer(then).eval(), torch.randn(1, 3, 12, 12))
    assert (network.meta["free"], len(calls)) == ({"x": axes}, exports)


def test_sizes_are_tried_without_fake_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(Exporter, "_runs_faked", lambda *given: calls.append(given))
    from_torch(Layer(refuses_sizes).eval(), torch.randn(1, 3, 12, 12))
    assert not calls


SHIFTS = torch.tensor([1.0, -1.0])
"""A tensor that no module holds."""


def looks_at_a_number(x: Tensor, _: Tensor) -> Tensor:
    return x[:, : int(torch.tensor(3).item())]


def takes_a_tensor_from_outside(x: Tensor, _: Tensor) -> Tensor:
    return x * SHIFTS[0] + torch.ones(4, device="cpu")[:, None, None]


def is_other_code_in_an_export(x: Tensor, _: Tensor) -> Tensor:
    large = x.shape[2] > 20  # which decides nothing
    return x.relu() if torch.compiler.is_exporting() else x.clamp(min=0) + 0 * large


@pytest.mark.parametrize("then", [looks_at_a_number, takes_a_tensor_from_outside, is_other_code_in_an_export])
def test_what_cannot_be_tried_without_numbers_is_no_less_free(then: Any) -> None:
    module = Layer(then).eval()
    network = from_torch(module, torch.randn(1, 3, 12, 12))
    assert network.meta["free"] == {"x": [0, 2, 3]}
    assert_outputs_equal(network, module, (torch.randn(2, 3, 17, 9),), 1e-6)


class Fading(nn.Module):
    """Whose weight is half as large after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.mul_(0.5)
        return x * self.weight


def test_each_run_begins_with_the_weights_as_they_are() -> None:
    module, x = Fading().eval(), torch.randn(2, 3)
    before, twin = module.weight.detach().clone(), Twin(module, False)
    outputs = [twin.outputs([x], []) for _ in range(3)]
    assert torch.equal(module.weight, before)
    assert all(torch.equal(y, 0.5 * x * before) for (y,) in outputs)


def handed_on(x: Tensor, _: Tensor) -> Tensor:
    height = x.shape[2]
    for _ in range(12):
        height = height + (4 - height % 4) % 4  # which has the height twice
    return F.pad(x, (0, 0, 0, height - x.shape[2])).relu().mean((2, 3))


def test_sizes_that_are_handed_on_and_padded_do_not_double_with_each_layer() -> None:
    exporter = Exporter(Twin(Layer(handed_on).eval(), False), [torch.randn(2, 3, 13, 12)], [], 1)
    nodes = exporter.static([(2, 3, 13, 12)]).graph.nodes
    noted = [formula for node in nodes for place in node.meta.get(FORMULAS, {}).values() for formula in place]
    assert all(len(list(itertools.islice(leaves_of(formula), 1000))) < 1000 for formula in noted)
