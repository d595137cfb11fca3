"""Rows of elementary functions and the softmaxes."""

import torch

from blockprop import blocks
from tests.cases.case import Case, of_x, positive

CASES: list[Case] = [
    Case(blocks.Exp, ((3, 4),), of_x(torch.exp)),
    Case(blocks.Log, positive(3, 4), of_x(torch.log)),
    Case(blocks.Sqrt, positive(3, 4), of_x(torch.sqrt)),
    Case(lambda: blocks.Pow(3), ((3, 4),), of_x(torch.pow, 3)),
    Case(lambda: blocks.Pow(-0.7), positive(3, 4), of_x(torch.pow, -0.7)),
    Case(lambda: blocks.Pow(0), ((3, 4),), of_x(torch.pow, 0)),
    Case(blocks.Abs, ((3, 4),), of_x(torch.abs)),
    Case(blocks.Softmax, ((3, 4),), of_x(torch.softmax, 1), wrong=((3,),)),
    Case(blocks.Softmax, ((2, 3, 2, 2),), of_x(torch.softmax, 1), wrong=((3,),), title="Softmax, 4 axes"),
    Case(lambda: blocks.Softmax(-1), ((2, 3, 2, 2),), of_x(torch.softmax, -1)),
    Case(blocks.LogSoftmax, ((3, 4),), of_x(torch.log_softmax, 1), wrong=((3,),)),
    Case(lambda: blocks.LogSoftmax(-1), ((2, 3, 4),), of_x(torch.log_softmax, -1)),
    Case(lambda: blocks.Affine(2.0, -1.0), ((5, 4),), of_x(lambda x: 2 * x - 1)),
    Case(
        lambda: blocks.Affine((0.5, 2.0, 3.0), (1.0, 0.0, -1.0)),
        ((2, 3, 4, 2),),
        of_x(lambda x: x * x.new_tensor([0.5, 2, 3]).view(-1, 1, 1) + x.new_tensor([1.0, 0, -1]).view(-1, 1, 1)),
        wrong=((2, 4, 4, 2),),
    ),
    Case(blocks.Detach, ((2, 3),), lambda _, x: x.detach() + 0 * x, differentiable=False),
]
