"""All that an import could leave behind: in the module, in what hooks write to, and in torch."""

import logging
import random
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SEEN: list[Any] = []
"""What hooks see, kept outside of the module."""


def state_of(module: nn.Module) -> list[Any]:
    """All that an import could change: of the module, and of torch."""
    found: list[Any] = []
    for name, part in module.named_modules():
        hooks = [list(value.items()) for key, value in vars(part).items() if key.endswith("_hooks")]
        plain = {key: value for key, value in vars(part).items() if isinstance(value, bool | int | float | str)}
        found.append((name, id(part), list(vars(part)), hooks, plain))
        found += [(name, id(value), *map(id, value)) for value in vars(part).values() if isinstance(value, list)]
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad._version, tensor.grad.clone())
        found.append((name, tensor._version, torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).clone()))
        found.append((name, id(tensor), tensor.data_ptr(), tensor.requires_grad, tensor.clone(), gradient))
    found += [
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        list(SEEN),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    ]
    found += [torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled(), logging.getLogger("torch").level]
    found += [torch.is_autocast_enabled("cpu"), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()]
    return [*found, logging.root.level, list(warnings.filters)]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
