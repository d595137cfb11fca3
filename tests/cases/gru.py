"""Rows of the gated recurrent unit."""

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case
from tests.cases.recurrent import first_states, of_each_kind


def gru_of_2014(block: blocks.GRU, x: Tensor, *states: Tensor) -> tuple[Tensor, Tensor]:
    """Cho et al. 2014, eqs. 5 to 8, written out for one step after the other."""
    (first,), last = first_states(block, x, states), []
    for layer in range(block.layers):
        outputs = []
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 1 + block.bidirectional]:
            w, u = getattr(block, f"weight_ih{suffix}").chunk(3), getattr(block, f"weight_hh{suffix}").chunk(3)
            b = (getattr(block, f"bias_ih{suffix}") + getattr(block, f"bias_hh{suffix}")).chunk(3)
            h, found = first[len(last)], []
            for row in reversed(x) if suffix.endswith("reverse") else x:
                r = (row @ w[0].T + h @ u[0].T + b[0]).sigmoid()
                z = (row @ w[1].T + h @ u[1].T + b[1]).sigmoid()
                candidate = (row @ w[2].T + (r * h) @ u[2].T + b[2]).tanh()
                h = z * h + (1 - z) * candidate
                found.append(h)
            last.append(h)
            outputs.append(torch.stack(found[::-1] if suffix.endswith("reverse") else found))
        x = torch.cat(outputs, -1)
    return x, torch.stack(last)


CASES: list[Case] = [
    *of_each_kind(blocks.GRU),
    Case(lambda: blocks.GRU(3, 2, reset_after=False), ((4, 2, 3), (1, 2, 2)), gru_of_2014, ((4, 2),), batch=1),
    Case(
        lambda: blocks.GRU(3, 2, 2, True, reset_after=False), ((3, 2, 3),), gru_of_2014, ((3, 2, 3), (2, 2, 2)), batch=1
    ),
]
