"""Rows of elements put elsewhere."""

import torch

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    Case(lambda: blocks.Roll(2, 1), ((2, 5, 3),), lambda _, x: x.roll(2, 1), wrong=((3,),)),
    Case(lambda: blocks.Roll((1, -4), (1, -1)), ((2, 4, 3),), lambda _, x: x.roll((1, -4), (1, 2))),
    Case(lambda: blocks.Roll([-1], [2]), ((2, 4, 3),), lambda _, x: x.roll(-1, 2)),
    Case(lambda: blocks.Roll(1, 0), ((4, 3),), lambda _, x: x.roll(1, 0), batch=None),
    Case(lambda: blocks.Flip(1), ((2, 5, 3),), lambda _, x: x.flip(1), wrong=((3,),)),
    Case(lambda: blocks.Flip([-1, 1]), ((2, 4, 3),), lambda _, x: x.flip(1, 2), wrong=((2, 4),)),
    Case(lambda: blocks.Repeat((1, 3)), ((2, 4),), lambda _, x: x.repeat(1, 3), wrong=((2, 3, 4),)),
    Case(lambda: blocks.Repeat((1, 2, 1, 3)), ((2, 4, 3, 2),), lambda _, x: x.repeat(1, 2, 1, 3)),
    Case(lambda: blocks.Repeat((1, 1)), ((2, 4),), lambda _, x: x.repeat(1, 1)),
    Case(lambda: blocks.Repeat([3, 1, 2]), ((2, 4),), lambda _, x: x.repeat(3, 1, 2), batch=None),
    Case(lambda: blocks.Repeat((1, 1, 1)), ((2, 4),), lambda _, x: x.repeat(1, 1, 1), batch=None),
    Case(lambda: blocks.Repeat((2, 0)), ((2, 4),), lambda _, x: x.repeat(2, 0), batch=None),
    Case(lambda: blocks.Repeat((3,)), ((),), lambda _, x: x.repeat(3), batch=None, title="Repeat of a number"),
    Case(lambda: blocks.RepeatInterleave(3, 1), ((2, 4, 3),), lambda _, x: x.repeat_interleave(3, 1), wrong=((2,),)),
    Case(lambda: blocks.RepeatInterleave(2, -1), ((2, 4, 3),), lambda _, x: x.repeat_interleave(2, -1)),
    Case(lambda: blocks.RepeatInterleave(17, 1), ((2, 3),), lambda _, x: x.repeat_interleave(17, 1)),
    Case(lambda: blocks.Repeat((1, 17)), ((2, 3),), lambda _, x: x.repeat(1, 17)),
    Case(lambda: blocks.RepeatInterleave(1, 0), ((2, 4),), lambda _, x: x, batch=None),
    *[
        Case(
            lambda lower=lower, diagonal=diagonal: blocks.Triangle(lower, diagonal),
            ((2, 4, 5),),
            lambda b, x: (torch.tril if b.lower else torch.triu)(x, b.diagonal),
            wrong=((4,),),
        )
        for lower in (True, False)
        for diagonal in (0, -2, 1)
    ],
    Case(lambda: blocks.Triangle(), ((4, 3),), lambda _, x: x.tril(), batch=None, title="Triangle of one matrix"),
    Case(lambda: blocks.Squeeze(1), ((2, 1, 3),), lambda _, x: x.squeeze(1), wrong=((2, 3, 1),)),
    Case(lambda: blocks.Squeeze((-1, 1)), ((2, 1, 3, 1),), lambda _, x: x.squeeze((1, 3)), wrong=((1, 1),)),
    Case(lambda: blocks.Squeeze([2]), ((2, 3, 1),), lambda _, x: x.squeeze(2), wrong=((2, 3),)),
    Case(lambda: blocks.Unsqueeze(1), ((2, 3),), lambda _, x: x.unsqueeze(1), wrong=((),)),
    Case(lambda: blocks.Unsqueeze(-1), ((2, 3),), lambda _, x: x.unsqueeze(-1)),
    Case(lambda: blocks.Unsqueeze((1, 3)), ((2, 3),), lambda _, x: x[:, None, :, None], wrong=((2,),)),
    Case(lambda: blocks.Unsqueeze([-1, 1]), ((2, 3),), lambda _, x: x[:, None, :, None], wrong=((),)),
    Case(lambda: blocks.Unsqueeze(0), ((2, 3),), lambda _, x: x[None], batch=None),
    Case(lambda: blocks.ChannelOrder((2, 1, 0)), ((2, 3, 4, 2),), lambda _, x: x.flip(1), wrong=((2, 4, 3, 2),)),
    Case(lambda: blocks.ChannelOrder([1, 2, 0]), ((2, 3),), lambda _, x: x[:, [1, 2, 0]], wrong=((3,),)),
    Case(blocks.Diagonal, ((2, 4, 5),), lambda _, x: x.diagonal(0, 1, 2), wrong=((4,),)),
    Case(lambda: blocks.Diagonal(-1, 2, 1), ((2, 4, 3, 2),), lambda _, x: x.diagonal(-1, 2, 1), wrong=((4, 3),)),
    Case(lambda: blocks.Diagonal(2, -1, 1), ((2, 5, 3, 2),), lambda _, x: x.diagonal(2, -1, 1)),
    Case(lambda: blocks.Diagonal(9), ((2, 4, 5),), lambda _, x: x.diagonal(9, 1, 2), title="Diagonal, empty"),
    Case(lambda: blocks.Diagonal(1, 0, 1), ((4, 5),), lambda _, x: x.diagonal(1), batch=None),
]
