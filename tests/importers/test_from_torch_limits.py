"""Operators without a block, ways in and out, and what is refused."""

import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop.errors import BlockpropError, SettingError, ShapeError, UnsupportedError
from blockprop.importers import from_torch
from blockprop.interop.opaque import Opaque
from blockprop.saving.storage import load, save
from tests.architectures import SPELLINGS
from tests.importers import small_modules
from tests.importers.against_torch import (
    assert_gradients_equal,
    assert_outputs_equal,
    autograd,
    directions,
    inputs_of,
    ours,
)
from tests.importers.small_modules import Unsupported, X, small


def test_all_operators_without_a_block_are_listed_at_once() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(Unsupported().eval(), X)
    text = str(caught.value)
    assert "Unsupported uses 2 operators that cannot be imported (aten.cumprod.default, aten.hypot.default)" in text
    here = re.escape(str(small_modules.__file__))
    assert re.search(rf"hypot: aten.hypot.default: it has no block at {here}:\d+ `x = torch.hypot\(self", text)
    assert re.search(rf"cumprod: aten.cumprod.default: it has no block at {here}:\d+ `x = self.second\(x\).cum", text)
    assert re.search(rf"hypot: aten.hypot.default: it has no block at {here}:\d+ `return torch.hypot", text)
    assert "CONTRIBUTING.md says how to add one" in text
    assert "opaque=True" in text


def test_opaque_operators_have_torchs_own_backward_pass(tmp_path: Path) -> None:
    module = Unsupported().double().eval()
    with pytest.warns(UserWarning, match="opaque, with torch's own backward pass: hypot, cumprod, hypot") as caught:
        network = from_torch(module, X.double(), opaque=True)
    assert len(caught) == 1
    assert sum(isinstance(block, Opaque) for block in network.blocks.values()) == 3
    assert network.meta["free"]["x"] == [0, 2]
    for size in ((2, 3, 8, 8), (3, 3, 11, 8)):
        x = torch.randn(size, dtype=torch.float64)
        assert_outputs_equal(network, module, (x,), 1e-9)
        assert_gradients_equal(network, module, (x,), 1e-9)
    save(network, tmp_path / "net")
    assert torch.equal(load(tmp_path / "net", opaque=True)(X.double()), network(X.double()))


class SeveralOutputs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, place = torch.kthvalue(x, 2, dim=1)
        return value + torch.median(x, 1)[0] * place


def test_opaque_operators_with_several_outputs() -> None:
    module, x = SeveralOutputs().eval(), torch.randn(3, 5, dtype=torch.float64)
    with pytest.warns(UserWarning, match="kthvalue, median"):
        network = from_torch(module, x, opaque=True)
    assert_gradients_equal(network, module, (x,), 1e-9)


Pair = namedtuple("Pair", ["low", "high"])


class Anything(nn.Module):
    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.fc, self.run = nn.Linear(4, 4), forward

    def forward(self, x: Tensor, y: Tensor | None = None, *, scale: Tensor | None = None) -> Any:
        return self.run(self.fc(x), x, y, scale)


class SpelledOut(nn.Module):
    def forward(self, first: Tensor, second: Tensor, *, scale: Tensor) -> Tensor:
        return first * scale - second


def test_several_inputs_and_keywords() -> None:
    a, b, scale = torch.randn(2, 4), torch.randn(2, 4), torch.randn(4)
    network = from_torch(SpelledOut(), (a, b), {"scale": scale})
    assert network.inputs == ("first", "second", "scale")
    assert torch.equal(network(a, b, scale), a * scale - b)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.equal(network(a, b, scale), a * scale - b)


OUTPUTS: dict[str, tuple[Callable[..., Any], int]] = {
    "nested": (lambda h, *_: {"a": [h, h * 2], "b": Pair(h + 1, (h - 1,)), "c": OrderedDict(d=-h)}, 5),
    "same twice": (lambda h, *_: (h, h), 2),
    "input": (lambda h, x, *_: (x, h), 2),
    "constant": (lambda h, *_: (h, torch.arange(3.0)), 2),
    "made inside": (lambda h, *_: (h, torch.ones(2) * 3), 2),
    "with numbers": (lambda h, *_: (h, 3, None, "text"), 1),
    "not floating": (lambda h, *_: (h, h > 0, h.argmax(1)), 3),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_of_all_kinds(name: str) -> None:
    function, count = OUTPUTS[name]
    module, x = Anything(function).eval(), torch.randn(2, 4)
    network = from_torch(module, x)
    assert len(network.outputs) == count
    assert_outputs_equal(network, module, (x,), 1e-6)
    if name != "not floating":
        assert_gradients_equal(network, module, (x,), 1e-4)


def refused() -> Iterator[Any]:
    module = Anything(lambda h, *_: h).eval()
    x = torch.randn(2, 4)
    yield "not a module", (lambda x: x), x, SettingError, "expected a torch.nn.Module, came a function"
    yield "no example", module, [], SettingError, "expected an example input"
    yield "number", module, 3, SettingError, "expected a tensor or several as the example, came a int"
    yield "list of numbers", module, [1.0], SettingError, "came a float"
    yield "shape", module, x[:, :3], ShapeError, "refuses the example of 2 x 3 float32 .*RuntimeError"
    yield "type", module, x.long(), ShapeError, "refuses the example of 2 x 4 int64"
    yield "too many", module, [x, x, x], ShapeError, "takes from 2 to 3 positional"
    yield "no tensor", Anything(lambda *_: 3).eval(), x, SettingError, "gives no tensor, but a int"
    yield "nothing", Anything(lambda *_: None).eval(), x, SettingError, "gives no tensor, but a NoneType"
    branch = Anything(lambda h, *_: h if h.sum() > 0 else -h).eval()
    yield (
        "branch",
        branch,
        x,
        SettingError,
        "torch.export cannot read it .* at .*test_from_torch_limits.py:.*torch.where",
    )
    number = Anything(lambda h, *_: h if h.sum().item() != 3 else -h).eval()
    yield "number inside", number, x, SettingError, "cannot read it .* at .*test_from_torch_limits.py:"
    mapped = Anything(lambda h, *_: h * torch.vmap(lambda row: row > 3)(torch.arange(len(h)))[:, None]).eval()
    yield "vmap", mapped, x, UnsupportedError, "torch.vmap adds an axis that cannot be followed"
    mask = Anything(lambda h, *_: h[h > 0]).eval()
    yield "mask", mask, x, BlockpropError, None
    yield "random", Anything(lambda h, *_: h + torch.randn_like(h)).eval(), x, UnsupportedError, "random"


@pytest.mark.parametrize("row", list(refused()), ids=lambda row: row[0])
def test_what_cannot_be_imported_is_refused_in_words(row: Any) -> None:
    _, module, example, error, text = row
    with pytest.raises(error, match=text):
        from_torch(module, example)


def test_an_unused_parameter_and_an_unused_result_are_left_out() -> None:
    network = from_torch(SPELLINGS["unused"].make(), inputs_of("unused", torch.float32))
    assert set(network.parameters) == {"conv1.weight", "conv1.bias"}


def test_an_example_of_one_leaves_the_batch_free() -> None:
    network = from_torch(small(nn.ReLU()), X[:1])
    assert network.meta["free"] == {"input": [0, 2, 3]}
    assert network(X).shape == (2, 2, 4, 4)


def test_directions_are_no_zeros() -> None:
    module = small(nn.ReLU())
    seeds = directions(module, (X,))
    found = ours(from_torch(module, X), (X,), seeds)
    assert found.keys() == autograd(module, (X,), seeds).keys()
    assert all(d.any() for d in found.values())
