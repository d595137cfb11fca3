"""Rows of blocks that reshape and join."""

import torch
import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES = [
    # Reshaping
    Case(blocks.Flatten, ((3, 2, 4, 2),), lambda _, x: x.flatten(1), wrong=((3,),)),
    Case(lambda: blocks.Flatten(2), ((3, 2, 4, 2),), lambda _, x: x.flatten(2)),
    Case(lambda: blocks.Flatten(-2), ((3, 2, 4, 2),), lambda _, x: x.flatten(-2)),
    Case(lambda: blocks.Flatten(0), ((3, 2, 4),), lambda _, x: x.flatten(), batch=None),
    Case(lambda: blocks.Reshape((4, 3)), ((2, 6, 2),), lambda _, x: x.reshape(-1, 4, 3), wrong=((2, 6, 3),)),
    Case(lambda: blocks.Reshape([3, -1]), ((2, 6, 2),), lambda _, x: x.reshape(-1, 3, 4), wrong=((2, 4),)),
    Case(
        lambda: blocks.Reshape(("a1*2", -1)),
        ((2, 3, 4),),
        lambda _, x: x.reshape(2, 6, 2),
        wrong=((2, 3, 3),),
        batch=None,
    ),
    Case(lambda: blocks.Reshape(("a0*a1", -1), 0), ((2, 3, 4),), lambda _, x: x.reshape(6, 4), batch=None),
    Case(
        lambda: blocks.Reshape(("a0", "b1 // 2 + 1", "-(2 - b1)"), start_axis=0),
        ((2, 6), (1, 4)),
        lambda _, x, _y: x.reshape(2, 3, 2),
        batch=None,
    ),
    Case(lambda: blocks.Reshape((3, 4), 2), ((2, 3, 12),), lambda _, x: x.reshape(-1, 3, 3, 4), wrong=((2,),)),
    Case(
        lambda: blocks.Expand((2, -1, 4)), ((3, 1),), lambda _, x: x.expand(2, 3, 4), wrong=((2, 2, 3, 1),), batch=None
    ),
    Case(lambda: blocks.Expand([1, 3]), ((2, 1),), lambda _, x: x.expand(2, 3), wrong=((2, 2),), batch=None),
    Case(lambda: blocks.Expand(("b0", 1, "b1*2")), ((1, 3, 1), (2, 2)), lambda _, x, _y: x.expand(2, 3, 4), batch=None),
    Case(blocks.Detach, ((2, 3),), lambda _, x: x.detach() + 0 * x, differentiable=False),
    Case(lambda: blocks.Parameter((2, 3)), (), lambda b: b.value + 0, batch=None),
    Case(lambda: blocks.Constant([2, 3]), (), lambda b: b.value, batch=None, differentiable=False),
    Case(
        lambda: blocks.Filled(("a0", 3), 0.5, "float64"),
        ((2, 4),),
        lambda *_: torch.full((2, 3), 0.5, dtype=torch.float64),
        batch=None,
    ),
    Case(lambda: blocks.Range(1, "a0*a1", 2), ((2, 4),), lambda *_: torch.arange(1, 8, 2), batch=None),
    Case(lambda: blocks.Transpose((0, 2, 1)), ((2, 3, 4),), lambda _, x: x.permute(0, 2, 1), wrong=((2, 3),)),
    Case(lambda: blocks.Transpose([0, 2, 3, 1]), ((2, 3, 4, 2),), lambda _, x: x.permute(0, 2, 3, 1)),
    Case(lambda: blocks.Transpose((0, -1, 1, 2)), ((2, 3, 4, 2),), lambda _, x: x.permute(0, 3, 1, 2)),
    Case(lambda: blocks.Transpose((1, 2, 0)), ((2, 3, 4),), lambda _, x: x.permute(1, 2, 0), batch=None),
    Case(lambda: blocks.Slice(1, 1, 3), ((2, 5, 3),), lambda _, x: x[:, 1:3], wrong=((2,),)),
    Case(lambda: blocks.Slice(2, step=2), ((2, 5, 3),), lambda _, x: x[:, :, ::2]),
    Case(lambda: blocks.Slice(-1, -4, -1, 2), ((2, 3, 7),), lambda _, x: x[..., -4:-1:2]),
    Case(lambda: blocks.Slice(-2, 1), ((2, 5, 3),), lambda _, x: x[:, 1:]),
    Case(lambda: blocks.Slice(1, 4, 2), ((2, 5, 3),), lambda _, x: x[:, 4:2], title="Slice, empty"),
    Case(lambda: blocks.Slice(0, 1, 9), ((4, 3),), lambda _, x: x[1:9], batch=None),
    Case(lambda: blocks.Slice(1, "b0", "a1 - 1"), ((2, 5), (1, 3)), lambda _, x, _y: x[:, 1:4], batch=None),
    Case(
        lambda: blocks.Pad((0, "b0 - a1"), "replicate"),
        ((2, 3), (5,)),
        lambda _, x, _y: F.pad(x[None], (0, 2), "replicate")[0],
        batch=None,
    ),
    *[
        Case(
            lambda given=given: blocks.Pad(*given),
            ((2, 2, 4, 5),),
            lambda b, x: F.pad(x, b.pads, b.mode, b.value if b.mode == "constant" else None),
            wrong=wrong,
        )
        for given, wrong in (
            (((1, 2),), None),
            (((0, 0, 2, 1), "constant", 0.5), None),
            (((-1, 2, 1, -2),), ((2, 2, 0, 5),)),
            (((1, 0, 0, 2, 1, 1),), ((2, 2),)),
            (((1, 2, 3, 1), "reflect"), ((2, 2, 3, 5),)),
            (((4, 4, 3, 3), "reflect"), ((2, 2, 4, 4),)),
            (((0, 1, 0, 0), "reflect"), None),
            (((1, 2, 3, 1), "replicate"), ((2, 2, 0, 5),)),
            (((0, 6, 7, 0), "replicate"), None),
            (((1, 2, 3, 1), "circular"), ((2, 2, 2, 5),)),
            (((5, 5, 4, 0), "circular"), None),
        )
    ],
    Case(lambda: blocks.Pad((2, 1), "reflect"), ((2, 3, 4),), lambda _, x: F.pad(x, (2, 1), "reflect"), wrong=((),)),
    Case(
        lambda: blocks.Pad((1, 1, 1, 0, 0, 1), "replicate"),
        ((2, 2, 2, 3, 2),),
        lambda b, x: F.pad(x, b.pads, "replicate"),
    ),
    Case(lambda: blocks.Split((1, 3, 2)), ((2, 6, 3),), lambda _, x: x.split((1, 3, 2), 1), wrong=((2, 5, 3),)),
    Case(lambda: blocks.Split([2, 2], -1), ((3, 2, 4),), lambda _, x: x.split(2, -1)),
    Case(lambda: blocks.Split((2, 0, 1), axis=2), ((3, 2, 3),), lambda _, x: x.split((2, 0, 1), 2)),
    Case(lambda: blocks.Split((3,)), ((2, 3),), lambda _, x: x, title="Split, one part"),
    Case(lambda: blocks.Sum(1), ((2, 3, 4),), lambda _, x: x.sum(1), wrong=((2,),)),
    Case(lambda: blocks.Sum((1, -1)), ((2, 3, 4, 2),), lambda _, x: x.sum((1, -1)), wrong=((2, 3),)),
    Case(lambda: blocks.Sum([2, 1], keep=True), ((2, 3, 4),), lambda _, x: x.sum((1, 2), keepdim=True)),
    Case(lambda: blocks.Sum(0), ((2, 3, 4),), lambda _, x: x.sum(0), batch=None),
    Case(lambda: blocks.Mean(-1), ((2, 3, 4),), lambda _, x: x.mean(-1), wrong=((),)),
    Case(lambda: blocks.Mean((3, 2)), ((2, 3, 4, 2),), lambda _, x: x.mean((2, 3)), wrong=((2, 3, 4),)),
    Case(lambda: blocks.Mean([-1, 1], keep=True), ((2, 3, 4),), lambda _, x: x.mean((1, 2), keepdim=True)),
    # Joining
    Case(blocks.Concat, ((2, 3, 2), (2, 1, 2), (2, 2, 2)), lambda _, *x: torch.cat(x, 1), wrong=((2, 3, 2), (2, 1, 3))),
    Case(lambda: blocks.Concat(-1), ((2, 3), (2, 4)), lambda _, *x: torch.cat(x, -1), wrong=((2, 3), (3, 3))),
    Case(lambda: blocks.Concat(0), ((2, 3), (1, 3)), lambda _, *x: torch.cat(x), wrong=((2, 3), (2,)), batch=None),
    Case(blocks.Concat, ((2, 3),), lambda _, x: x, wrong=((2,),), title="Concat of one"),
    *[
        Case(
            block,
            (a, b),
            lambda _, *x, reference=reference: reference(*x),
            wrong=((2, 3), (2, 4)),
            batch=0 if len(a) == len(b) and a[0] == b[0] else None,
            title=f"{block.__name__}, {a} and {b}",
        )
        for block, reference in (
            (blocks.Add, torch.add),
            (blocks.Sub, torch.sub),
            (blocks.Mul, torch.mul),
            (blocks.Div, torch.div),
            (blocks.Max, torch.maximum),
            (blocks.Min, torch.minimum),
        )
        for a, b in (
            ((3, 4), (3, 4)),
            ((2, 3, 4), (2, 3, 1)),
            ((2, 1, 4), (2, 3, 1)),
            ((4,), (2, 3, 4)),
            ((3, 1), (2, 1, 4)),
            ((2, 3), ()),
            ((1,), (1, 1, 3)),
        )
    ],
    Case(
        blocks.Add, ((2, 3), (2, 3), (2, 3)), lambda _, *x: sum(x), wrong=((2, 3), (2, 3), (4,)), title="Add of three"
    ),
    Case(blocks.Add, ((2, 1), (2, 3), (1, 2, 1)), lambda _, *x: sum(x), title="Add of three, broadcast", batch=None),
    *[
        Case(
            blocks.MatMul,
            (a, b),
            lambda _, a, b: a @ b,
            wrong=((3, 4), (3, 4)),
            batch=0 if len(a) == len(b) > 2 and a[0] == b[0] else None,
            title=f"MatMul, {a} and {b}",
        )
        for a, b in (
            ((3, 4), (4, 2)),
            ((2, 3, 4), (2, 4, 2)),
            ((2, 3, 4), (4, 2)),
            ((3, 4), (2, 4, 2)),
            ((2, 3, 4), (1, 4, 2)),
            ((1, 3, 4), (2, 4, 2)),
            ((2, 1, 3, 2), (2, 3, 2, 4)),
            ((3, 3, 2), (2, 1, 2, 4)),
        )
    ],
    Case(
        blocks.MatMul,
        ((2, 3, 4), (2, 4, 2)),
        lambda _, x, y: x @ y,
        wrong=((2, 3, 4), (3, 4, 2)),
        title="MatMul, batches",
    ),
    Case(blocks.MatMul, ((2, 3, 4), (2, 4, 2)), lambda _, x, y: x @ y, wrong=((4,), (4, 2)), title="MatMul, a vector"),
]
