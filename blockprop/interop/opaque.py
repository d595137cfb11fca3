"""Torch's operators as blocks: a node whose backward pass is torch's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError, shape
from blockprop.interop.extent import require_bounded
from blockprop.interop.operators import (
    as_tuples,
    check_call,
    count_inputs,
    filled,
    operator_named,
    random_numbers,
    random_state,
    result_count,
)


class Opaque(Block):
    """An operator of torch that has no block of its own:  y = operator(*arguments, **keywords).

    d_x by torch's autograd: propagate runs the operator once more, recorded, and goes back through it. None for inputs
    that are not of real or complex numbers, and those on which y does not depend differentiably.

    operator: its full name, "aten.cumsum.default"; only what computes tensors from tensors and numbers is allowed
    arguments, keywords: as the operator takes them; {"input": 0} stands for the first input, {"size": "a0"} for the
        size of its first axis (see blocks/sizes.py), {"dtype": "float32"} and {"memory_format": …} for torch's own
    output_count: how many tensors the operator returns
    Raises SettingError for an operator that is refused and arguments that it does not take, ShapeError if it fails.
    """

    def __init__(
        self,
        operator: str,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
        output_count: int = 1,
    ):
        if not isinstance(arguments, list | tuple) or not isinstance(keywords or {}, dict):
            raise SettingError(f"expected a list of arguments and a dict of keywords, came {arguments!r}, {keywords!r}")
        self.operator, self.arguments, self.output_count = operator, as_tuples(arguments), output_count
        self.keywords = {name: as_tuples(value) for name, value in keywords.items()} if keywords else None
        called = operator_named(operator)
        check_call(called, self.arguments, self.keywords or {})
        self._input_count = count_inputs((self.arguments, *(self.keywords or {}).values()))
        if self._input_count == 0:
            raise SettingError(f"expected at least one input for {operator}: {{'input': 0}}")
        count = result_count(called)
        if isinstance(output_count, bool) or not isinstance(output_count, int) or output_count < 1:
            raise SettingError(f"output_count must be a whole number from 1 on, came {output_count!r}")
        if count not in (None, output_count):
            raise SettingError(f"{operator} returns {count} tensors, but output_count is {output_count}")

    def forward(self, *inputs: Tensor) -> tuple[Any, Any]:
        if len(inputs) != self._input_count:
            raise ShapeError(f"expected {self._input_count} inputs for {self.operator}, came {len(inputs)}")
        inputs = tuple([x.detach() for x in inputs])
        state = random_state(operator_named(self.operator), inputs[0].device)
        try:
            with torch.no_grad():
                outputs = self._run(inputs)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            shapes = " and ".join(f"{shape(x)} {x.dtype}" for x in inputs)
            raise ShapeError(f"{self.operator} cannot use {shapes} ({str(error).splitlines()[0]})") from error
        if any(size < 0 for y in outputs for size in y.shape):  # as aten.expand makes of (0, -3)
            raise ShapeError(f"{self.operator} would give a tensor of {' and '.join(shape(y) for y in outputs)}")
        if len(outputs) != self.output_count:
            raise ShapeError(f"expected {self.output_count} outputs of {self.operator}, came {len(outputs)}")
        return (outputs if self.output_count > 1 else outputs[0]), (inputs, state)

    def propagate(self, saved: Any, d_output: Any) -> tuple[Tensor | None, ...]:
        inputs, state = saved
        d_outputs = d_output if self.output_count > 1 else (d_output,)
        with torch.inference_mode(False), torch.enable_grad():
            leaves = [_leaf(x) for x in inputs]
            with random_numbers(state, inputs[0].device):
                outputs = self._run(leaves)
            pairs = [(y, _ordinary(d)) for y, d in zip(outputs, d_outputs, strict=True) if d is not None]
            pairs = [(y, d) for y, d in pairs if y.requires_grad]
            if not pairs:
                return (None,) * len(inputs)
            wanted = [x for x in leaves if x.requires_grad]
            ends, seeds = zip(*pairs, strict=True)
            derivatives = iter(torch.autograd.grad(ends, wanted, seeds, allow_unused=True))
        return tuple([next(derivatives) if x.requires_grad else None for x in leaves])

    def _run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        called, arguments = operator_named(self.operator), filled(self.arguments, inputs)
        keywords = {name: filled(value, inputs) for name, value in (self.keywords or {}).items()}
        require_bounded(called, arguments, keywords)
        outputs = called(*arguments, **keywords)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _leaf(x: Tensor) -> Tensor:
    """The same numbers at the root of a recording; x itself knows nothing of it."""
    return _ordinary(x).detach().requires_grad_(x.is_floating_point() or x.is_complex())


def _ordinary(x: Tensor) -> Tensor:
    """Autograd cannot record a tensor that was made in inference mode."""
    return x.clone() if x.is_inference() else x
