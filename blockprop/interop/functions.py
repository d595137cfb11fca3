"""Functions with a backward pass of their own (torch.autograd.Function), which an import cannot read."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction


def recorded(
    call: Callable[[Sequence[Tensor]], Sequence[Tensor]], inputs: Sequence[Tensor]
) -> tuple[list[Tensor], Sequence[Tensor]]:
    """(copies of the inputs, what they give), under torch's autograd."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    with torch.enable_grad():
        return leaves, call(leaves)


def functions_behind(outputs: Sequence[Tensor]) -> list[str]:
    """The names of all such functions, but torch's own, that these were computed by."""
    remaining = [y.grad_fn for y in outputs if y.grad_fn is not None]
    seen, names = set(remaining), set[str]()
    while remaining:
        step = remaining.pop()
        if isinstance(step, BackwardCFunction):
            function = step._forward_cls
            if not function.__module__.startswith("torch."):
                names.add(function.__qualname__)
        before = [node for node, _ in step.next_functions if node is not None and node not in seen]
        seen.update(before)
        remaining += before
    return sorted(names)


def errors_at(
    leaves: Sequence[Tensor], outputs: Sequence[Tensor], seeds: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """∂(Σ seeds · outputs)/∂(each leaf); None where nothing comes back."""
    roots = [(y, d) for y, d in zip(outputs, seeds, strict=True) if d is not None and y.requires_grad]
    wanted = [x for x in leaves if x.requires_grad]
    if not roots or not wanted:
        return [None] * len(leaves)
    ends, directions = zip(*roots, strict=True)
    errors = iter(torch.autograd.grad(ends, wanted, directions, allow_unused=True))
    return [next(errors) if x.requires_grad else None for x in leaves]
