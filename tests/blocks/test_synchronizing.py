"""Batch normalization and dropout of a batch that processes share, against the whole batch in one block."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm1d, BatchNorm2d, Dropout
from blockprop.engine.block import Block
from blockprop.engine.shared_batch import SharedBatch
from blockprop.errors import ShapeError

SIZES = [(6,), (4, 2), (3, 0, 3), (1, 5)]


def together(make: Callable[[], Block], x: Tensor, sizes: tuple[int, ...], work: Callable[[Block, Tensor, slice], Any]):
    """What `work` gives in each of the processes, played by threads, that have so many rows of x."""
    barrier, places = Barrier(len(sizes), timeout=20), [torch.empty(0)] * len(sizes)

    def gather(rank: int, numbers: Tensor) -> Tensor:
        places[rank] = numbers
        barrier.wait()
        gathered = torch.stack(places)
        barrier.wait()
        return gathered

    def one(rank: int) -> Any:
        batch = SharedBatch(lambda numbers: gather(rank, numbers))
        batch.first, batch.rows, batch.total = sum(sizes[:rank]), sizes[rank], len(x)
        block = make()
        block.batch = batch
        rows = slice(batch.first, batch.first + batch.rows)
        return work(block, x[rows], rows)

    with ThreadPoolExecutor(len(sizes)) as pool:
        return list(pool.map(one, range(len(sizes))))


def norm(kind: type[Block] = BatchNorm2d, dtype: torch.dtype = torch.float64, **settings: Any) -> Block:
    block = kind(3, **settings)
    for i, tensor in enumerate((block.parameters | block.buffers).values()):
        if tensor.is_floating_point():
            tensor.copy_(torch.tensor([0.5, 2.0, -1.0]) if not i else torch.tensor([0.3, 0.1, 0.7]))
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(block, name, tensor.to(dtype) if tensor.is_floating_point() else tensor)
    return block


@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"momentum": None}], ids=str)
@pytest.mark.parametrize("sizes", SIZES)
def test_all_processes_together_do_what_one_does(sizes: tuple[int, ...], settings: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    x, d_y = (torch.randn(6, 3, 2, 2, generator=generator, dtype=torch.float64) + 3 for _ in range(2))

    def passes(block: Block, x: Tensor, rows: slice) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        y, saved = block.forward(x, training=True)
        block.remember(saved)
        (d_x,) = block.propagate(saved, d_y[rows])
        both = block.both(saved, d_y[rows])
        assert torch.equal(both[0][0], d_x)
        gradients = block.gradients(saved, d_y[rows])
        assert all(torch.equal(both[1][name], gradient) for name, gradient in gradients.items())
        return y, d_x, gradients, block.buffers

    y, d_x, gradients, buffers = passes(norm(**settings), x, slice(None))
    parts = together(lambda: norm(**settings), x, sizes, passes)
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), d_x, rtol=1e-12, atol=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(sum(part[2][name] for part in parts), gradient, rtol=1e-12, atol=1e-12)
    for part in parts:
        torch.testing.assert_close(part[3], buffers, rtol=1e-12, atol=1e-12)


def test_a_mean_far_from_0_leaves_the_deviation_its_digits() -> None:
    x = 1e4 + torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    parts = together(
        lambda: norm(BatchNorm1d, torch.float32), x, (2, 4), lambda b, x, _: b.forward(x, training=True)[0]
    )
    expected = norm(BatchNorm1d).forward(x.double(), training=True)[0]
    assert parts[0].dtype == torch.float32
    torch.testing.assert_close(torch.cat(parts).double(), expected, rtol=1e-5, atol=1e-5)


def test_one_value_in_all_is_too_few() -> None:
    with pytest.raises(ShapeError, match="two values or more per channel, came 1 in all processes"):
        together(lambda: norm(BatchNorm1d), torch.ones(1, 3), (1, 0), lambda b, x, _: b.forward(x, training=True))


def test_evaluation_asks_nobody() -> None:
    block = norm(BatchNorm1d)
    expected = block(torch.ones(2, 3, dtype=torch.float64))
    block.batch = SharedBatch(lambda _: pytest.fail("asked"))
    assert torch.equal(block(torch.ones(2, 3, dtype=torch.float64)), expected)


@pytest.mark.parametrize("settings", [{}, {"channels": True}, {"probability": 1.0}], ids=str)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_dropout_draws_the_masks_of_the_whole_batch(sizes: tuple[int, ...], times: int, settings: dict) -> None:
    def dropped(block: Block, x: Tensor, _: object) -> Tensor:
        block.generator = torch.Generator().manual_seed(3)
        y = [block.forward(x.reshape(len(x) * times, -1, 5), training=True)[0] for _ in range(2)]
        return torch.stack(y, 1).reshape(len(x), -1)

    x = torch.ones(6, 2 * times * 5)
    expected = dropped(Dropout(**settings), x, None).reshape(6, -1)
    assert 0 <= float(expected.eq(0).double().mean()) <= 1
    parts = together(lambda: Dropout(**settings), x, tuple(size for size in sizes if size), dropped)
    assert torch.equal(torch.cat(parts), expected)


def test_another_first_axis_than_the_batchs_is_refused() -> None:
    with pytest.raises(ShapeError, match="a multiple of its 3 rows that are here"):
        together(Dropout, torch.ones(6, 3), (3, 3), lambda block, x, _: block.forward(x.new_ones(5, 3), training=True))
