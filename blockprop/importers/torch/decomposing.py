"""Operators without a block of their own that torch can write as several: cosine_similarity, lstm_cell, logaddexp."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from blockprop.errors import UnsupportedError
from blockprop.importers.graph import Flow, Known, Value
from blockprop.importers.torch.explaining import Unexplained, explain_graphs
from blockprop.importers.torch.formulas import Formula


def decomposed(
    target: Any, given: Mapping[str, Any], node: fx.Node
) -> tuple[fx.Graph, list[Value], Mapping[tuple[str, int], Formula]] | None:
    """(operators in place of this one, the values that they start with, which numbers in them are sizes); None if torch
    has none.

    node: where the operator stands in its own graph: the new ones get its module and source line.
    Raises UnsupportedError if free sizes stand in them.
    """
    if given.get("scale_grad_by_freq"):
        return None  # whose derivative is not that of its parts
    leaves, structure = pytree.tree_flatten(dict(given))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Flow | Known)]

    def call(*tensors: Tensor) -> Any:
        filled = list(leaves)
        for i, tensor in zip(places, tensors, strict=True):
            filled[i] = tensor
        return target(**pytree.tree_unflatten(filled, structure))

    values = [leaves[i] for i in places]
    if not values or any(not isinstance(leaf, int | float | str | None | _TORCH | Flow | Known) for leaf in leaves):
        return None
    first, second = (_traced(call, target, [_shape(value, trial) for value in values]) for trial in range(2))
    if first is None or second is None or any(operator.target is target for operator in first.nodes):
        return None
    if any(torch.Tag.nondeterministic_seeded in getattr(operator.target, "tags", ()) for operator in first.nodes):
        return None  # what is drawn at random would become a constant
    try:
        formulas = explain_graphs(first, second).formulas
    except Unexplained as error:
        raise UnsupportedError("it has no block, and a free size stands in its parts") from error
    for operator in first.nodes:
        operator.meta |= {key: node.meta[key] for key in ("nn_module_stack", "stack_trace") if key in node.meta}
    return first, values, formulas


_TORCH = torch.dtype | torch.device | torch.layout | torch.memory_format


def _traced(call: Callable[..., Any], target: Any, like: list[Tensor]) -> fx.Graph | None:
    from torch._decomp import get_decompositions  # late, because they take long to import
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    table: Any = get_decompositions([target])
    with FakeTensorMode(), torch.no_grad():
        tensors = [torch.empty(x.shape, dtype=x.dtype) for x in like]
        try:
            return make_fx(call, decomposition_table=table)(*tensors).graph
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None


def _shape(value: Value, trial: int) -> Tensor:
    return value.trials[trial] if isinstance(value, Flow) else value.tensor
