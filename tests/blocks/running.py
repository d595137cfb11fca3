"""Both passes of one row's block, and of torch's own version of it under autograd."""

import copy

import torch
from torch import Tensor

from blockprop.engine.block import Block
from tests.cases import Case

# float64 leaves about 16 digits and float32 about 7; sums over some hundred terms and another order cost two of them.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}


def close(mine: Tensor, theirs: Tensor, dtype: torch.dtype = torch.float64) -> None:
    """The same values, shape and type of number."""
    torch.testing.assert_close(mine, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def made(case: Case, dtype: torch.dtype = torch.float64) -> Block:
    """The row's block in dtype, with every parameter away from its start (zeros hide errors)."""
    torch.manual_seed(0)
    block = case.make()
    for name, tensor in (block.parameters | block.buffers).items():
        moved = tensor + 0.3 * torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        setattr(block, name, moved.to(dtype) if tensor.is_floating_point() else tensor)
    if hasattr(block, "generator"):
        block.generator = torch.Generator()
    return block


def run(block: Block, case: Case, *inputs: Tensor) -> tuple:
    """(outputs as a tuple, saved)"""
    if getattr(block, "generator", None) is not None:
        block.generator.manual_seed(1)
    output, saved = block.forward(*inputs, **({"training": case.training} if block.has_training_mode else {}))
    return (output if block.output_count > 1 else (output,)), saved


def seeds_for(outputs: tuple) -> tuple[Tensor | None, ...]:
    """A derivative for each output of real numbers; None for integers and booleans, from which nothing comes back."""
    generator = torch.Generator().manual_seed(2)
    return tuple(
        torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device) if y.is_floating_point() else None
        for y in outputs
    )


def back(block: Block, saved: object, d_outputs: tuple) -> tuple[tuple, dict]:
    d_output = d_outputs if block.output_count > 1 else d_outputs[0]
    return block.propagate(saved, d_output), block.gradients(saved, d_output)


def by_autograd(
    block: Block, case: Case, inputs: tuple, seeds: tuple | None = None
) -> tuple[tuple, tuple, tuple, list, dict]:
    """(outputs, seeds, inputs, d_inputs, d_parameters) of torch's own version under autograd; seeds as of seeds_for."""
    block = copy.deepcopy(block)
    for name, tensor in block.parameters.items():
        setattr(block, name, tensor.requires_grad_())
    inputs = tuple(x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs)
    if getattr(block, "generator", None) is not None:
        block.generator.manual_seed(1)
    outputs = case.reference(block, *inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    seeds = seeds_for(tuple(y.detach() for y in outputs)) if seeds is None else seeds
    roots = [(y, seed.to(y.dtype)) for y, seed in zip(outputs, seeds, strict=True) if y.requires_grad]
    if roots:
        torch.autograd.backward(*zip(*roots, strict=True))
    d_inputs = [x.grad if x.is_floating_point() else None for x in inputs]
    return outputs, seeds, inputs, d_inputs, {name: p.grad for name, p in block.parameters.items()}
