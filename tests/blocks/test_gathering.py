"""Taking from named places and putting there: by hand, with numbers outside, and with no numbers to look at."""

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Gather, GatherElements, GatherND, ScatterElements, ScatterND, Select
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

X = torch.arange(6.0).view(2, 3)


def indices(*numbers: object) -> Tensor:
    return torch.tensor(numbers)


def test_slices_taken_twice_get_both_derivatives() -> None:
    y, saved = Gather(1).forward(X, indices(2, 0, -1))
    assert y.tolist() == [[2, 0, 2], [5, 3, 5]]
    d_x, none = Gather(1).propagate(saved, torch.tensor([[1.0, 10, 100], [2, 20, 200]]))
    assert d_x.tolist() == [[10, 0, 101], [20, 0, 202]]
    assert none is None


def test_what_is_replaced_gets_no_derivative_and_what_replaces_it_does() -> None:
    d_y = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    for block, index, updates, y, d_updates in (
        (ScatterElements(1), indices([-1], [0]), [[7.0], [8]], [[0, 1, 7], [8, 4, 5]], [[3], [4]]),
        (ScatterND(), indices([0, 2], [-1, 0]), [7.0, 8], [[0, 1, 7], [8, 4, 5]], [3, 4]),
    ):
        found, saved = block.forward(X, index, torch.tensor(updates))
        assert found.tolist() == y
        d_x, none, d = block.propagate(saved, d_y)
        assert d_x.tolist() == [[1, 2, 0], [0, 5, 6]]
        assert d.tolist() == d_updates
        assert none is None


def test_updates_of_one_place_are_added() -> None:
    for block, index, updates in (
        (ScatterElements(0, "add"), indices([1, 0, 1], [1, 0, -1]), torch.ones(2, 3)),
        (ScatterND("add"), indices([[1, 0]] * 2, [[0, 1]] * 2, [[1, 2]] * 2), torch.ones(3, 2)),
    ):
        assert block(X, index, updates).tolist() == [[0, 3, 2], [5, 4, 7]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_integers_of_any_type(dtype: torch.dtype) -> None:
    assert Gather(0)(X, indices(1).to(dtype)).tolist() == [[3, 4, 5]]
    assert GatherND()(X, indices([1, 2]).to(dtype)).tolist() == [5]


@pytest.mark.parametrize(
    ("block", "inputs"),
    [
        (Gather(1), (X, indices(-1, 2))),
        (GatherElements(1), (X, indices([-1], [2]))),
        (ScatterElements(1), (X, indices([-1], [2]), X[:, :1])),
        (GatherND(), (X, indices([1, -1]))),
        (GatherND(1), (X, indices([1], [-1]))),
        (ScatterND("add"), (X, indices([-1]), X[:1])),
        (Select(0, 1), (X,)),
    ],
    ids=repr,
)
def test_shapes_are_found_without_numbers(block: Block, inputs: tuple[Tensor, ...]) -> None:
    y = block(*(x.to("meta") for x in inputs))
    assert y.is_meta
    assert y.shape == block(*inputs).shape


@pytest.mark.parametrize(
    ("block", "inputs", "says"),
    [
        (Gather(1), (X, indices(0, 3)), r"an index within -3…2, came 0…3"),
        (Gather(0), (X, indices(-3)), r"an index within -2…1, came -3…-3"),
        (Gather(2), (X, indices(0)), "expected an axis 2"),
        (Gather(1), (X, torch.tensor([True])), "integers, came torch.bool"),
        (GatherElements(1), (X, indices([0, 3], [0, 0])), "within -3…2"),
        (GatherElements(1), (X, indices([0], [0], [0])), r"fits \(2, 3\) but for axis 1, came \(3, 1\)"),
        (GatherElements(1), (X, indices(0)), r"came \(1,\)"),
        (ScatterElements(0), (X, indices([0, 2]), X[:1, :2]), "within -2…1"),
        (ScatterElements(0), (X, indices([0, 1]), X[:1]), r"updates of \(1, 2\) as index, came \(1, 3\)"),
        (GatherND(), (X, indices([0, 3])), "within -3…2"),
        (GatherND(), (X, indices([0, 1, 2])), "for x of"),
        (GatherND(1), (X, indices([0])), "1 batch axes"),
        (ScatterND(), (X, indices([0, 1]), X[0, :2]), r"updates of \(1,\), came \(2,\)"),
        (ScatterND(), (X, indices([2]), X[:1]), "within -2…1"),
        (Select(1, 3), (X,), "an element 3 along axis 1"),
        (Select(1, -4), (X,), "an element -4 along axis 1"),
    ],
)
def test_inputs_that_do_not_fit(block: Block, inputs: tuple[Tensor, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(*inputs)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ScatterElements(0, "mul"), "reduction must be one of none, add, came 'mul'"),
        (lambda: ScatterND("max"), "reduction must be one of none, add, came 'max'"),
        (lambda: GatherND(-1), "batch_axes must be at least 0"),
    ],
)
def test_settings_that_make_no_sense(make: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()
