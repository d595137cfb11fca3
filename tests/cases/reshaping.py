"""Rows of elements moved, cut, repeated, added up."""

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
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
]
